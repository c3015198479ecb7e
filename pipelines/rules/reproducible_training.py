"""A training must name every digest needed to repeat it and have finite scores; a repetition gives the same digest."""

from __future__ import annotations

import math

from pipelines.messages.training import ReproduceResult, TrainResult
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "reproducible_training"
DIGEST_LENGTH = 64
"""Hex digits of a sha256."""


def judge_training(result: TrainResult, spec: ModelSpec) -> Verdict:
    """PASS if the result names everything needed to train it again, and its scores are finite numbers.

    FAIL: more rounds than declared, a best round outside them, or a score that is not finite. UNKNOWN: a digest or the
    validation score of the comparison's metric is missing.
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
    facts: dict[str, object] = {
        **digests,
        "rounds": result.rounds,
        "best_round": result.best_round,
        "resumed_from_round": result.resumed_from_round,
        "seconds": result.seconds,
        compared: result.metrics.get(compared),
    }
    best = "" if result.best_round is None else f", the best is {result.best_round}"
    findings = [f"{result.rounds} rounds{best}, in {result.seconds:g} s on {result.device}"]
    findings += [f"{name} {value:.4f}" for name, value in sorted(result.metrics.items()) if name == compared]
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def judge_reproduction(result: ReproduceResult) -> Verdict:
    """PASS if the digests are equal, else FAIL with every known difference as a possible cause."""
    facts: dict[str, object] = result.model_dump(include={"registered_digest", "reproduced_digest", "snapshot"})
    facts["differences"] = list(result.differences)
    missing = [
        f"{name} {value!r} is not a sha256"
        for name, value in (("registered", result.registered_digest), ("reproduced", result.reproduced_digest))
        if not _is_digest(value)
    ]
    failures = []
    if not missing and result.registered_digest != result.reproduced_digest:
        failures.append(f"reproduced {result.reproduced_digest[:12]} != registered {result.registered_digest[:12]}")
        failures += [f"differs: {difference}" for difference in result.differences]
    return Verdict.of(RULE, failures=failures, unknowns=missing, facts=facts)


def _is_digest(value: str) -> bool:
    return len(value) == DIGEST_LENGTH and all(letter in "0123456789abcdef" for letter in value)
