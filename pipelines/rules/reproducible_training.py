"""A training names all digests needed to repeat it, has finite scores and a sane refit; repeated, it gives the same."""

from __future__ import annotations

import math

from pipelines.messages.training import ReproduceResult, TrainResult
from pipelines.rules.refit_check import refit_faults, refit_findings, unmeasured_refit
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "reproducible_training"
DIGEST_LENGTH = 64
"""Hex digits of a sha256."""


def judge_training(result: TrainResult, spec: ModelSpec) -> Verdict:
    """PASS if the result names everything needed to train it again, and its scores are finite numbers.

    FAIL: more rounds than declared, a best round outside them, a score that is not finite, or a refitted model that is
    worse on the newest rows than the judged one by more than the margin of the comparison, answers nothing about a row,
    or moved away from the targets' mean. UNKNOWN: a digest, the validation score of the comparison's metric, or the
    check of a declared refit is missing.
    """
    declared = spec.training.estimator.rounds
    searched = spec.training.search is not None and "rounds" in spec.training.search.space
    failures = []
    if spec.training.estimator.kind == "xgboost" and not searched and result.rounds > declared:
        failures.append(f"rounds {result.rounds} > {declared} declared")
    if result.rounds < 1:
        failures.append(f"rounds {result.rounds} < 1: the model was not trained")
    if result.best_round is not None and not 0 <= result.best_round < result.rounds:
        failures.append(f"best round {result.best_round} is outside the {result.rounds} rounds")
    failures += [f"{name} is {value}" for name, value in result.metrics.items() if not math.isfinite(value)]

    digests = {
        "model_digest": result.model_digest,
        "snapshot": result.snapshot,
        "request_digest": result.request_digest,
        "environment_digest": result.environment_digest,
    }
    unknowns = [f"{name} {value!r} is not a sha256" for name, value in digests.items() if not _is_digest(value)]
    compared = f"validation_{spec.evaluation.comparison.metric}"
    if compared not in result.metrics:
        unknowns.append(f"{compared} was not measured")
    if result.judged_digest is not None and not _is_digest(result.judged_digest):
        unknowns.append(f"judged_digest {result.judged_digest!r} is not a sha256")
    failures += refit_faults(result.refit, spec)
    unknowns += unmeasured_refit(result, spec)
    facts: dict[str, object] = {
        **digests,
        **({} if result.judged_digest is None else {"judged_digest": result.judged_digest}),
        "rounds": result.rounds,
        "best_round": result.best_round,
        "resumed_from_round": result.resumed_from_round,
        "seconds": result.seconds,
        compared: result.metrics.get(compared),
    }
    best = "" if result.best_round is None else f", the best is {result.best_round}"
    findings = [f"{result.rounds} rounds{best}, in {result.seconds:g} s on {result.device}"]
    findings += [f"{name} {value:.4f}" for name, value in sorted(result.metrics.items()) if name == compared]
    findings += refit_findings(result.refit)
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def judge_reproduction(result: ReproduceResult) -> Verdict:
    """PASS if the digests are equal, else FAIL with every known difference as a possible cause.

    Where what is deployed was trained again on all rows, both models are compared.
    """
    facts: dict[str, object] = result.model_dump(include={"registered_digest", "reproduced_digest", "snapshot"})
    facts["differences"] = list(result.differences)
    pairs = [("", result.registered_digest, result.reproduced_digest)]
    if (result.registered_judged_digest, result.reproduced_judged_digest) != (None, None):
        pairs.append(("judged ", result.registered_judged_digest or "", result.reproduced_judged_digest or ""))
    missing = [
        f"{which}{name} {value!r} is not a sha256"
        for which, registered, reproduced in pairs
        for name, value in (("registered", registered), ("reproduced", reproduced))
        if not _is_digest(value)
    ]
    failures = [
        f"{which}reproduced {reproduced[:12]} != registered {registered[:12]}"
        for which, registered, reproduced in pairs
        if not missing and registered != reproduced
    ]
    if failures:
        failures += [f"differs: {difference}" for difference in result.differences]
    return Verdict.of(RULE, failures=failures, unknowns=missing, facts=facts)


def _is_digest(value: str) -> bool:
    return len(value) == DIGEST_LENGTH and all(letter in "0123456789abcdef" for letter in value)
