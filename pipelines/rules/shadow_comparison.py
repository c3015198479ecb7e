"""A shadow passes only if the candidate is shown to agree and to answer, on enough of the mirrored requests."""

from __future__ import annotations

import math

from pipelines.messages.comparison import PairedLabels, ShadowMeasure
from pipelines.rollout.decision import StageAction, StageDecision
from pipelines.rollout.error_budget import error_budget
from pipelines.rules.no_requests import no_requests_text
from pipelines.spec.deployment import Deployment
from pipelines.spec.strategy import Shadow
from pipelines.verdict import Outcome, Verdict

RULE = "shadow_comparison"
FAILURE_TEST_COUNT = 3
"""Too much disagreement, too many bad answers, wrong more often than the champion. They share the shadow's part of
alpha."""


def judge_shadow(measure: ShadowMeasure, declared: Deployment, *, consecutive_errors: int = 0) -> StageDecision:
    """FAIL if a limit is shown to be broken, UNKNOWN if a required limit is not shown to hold, else PASS.

    A candidate that passes goes on after ``duration``; an undecided one is observed until ``max_duration``, and refused
    then or after too many observations in a row with impossible counts (``consecutive_errors``, this one included).
    Labels are optional: they can only count against a candidate.
    """
    shadow, alpha = declared.shadow_plan or Shadow(), declared.analysis.alpha
    budget = error_budget(declared.model_copy(update={"shadow": shadow}))
    fail, enough = math.log(FAILURE_TEST_COUNT / budget.shadow), math.log(1.0 / alpha)
    failures, unknowns = [], list(measure.errors)
    if not measure.errors:
        failures = _exceeded_limits(measure, declared, shadow, fail)
        unknowns = _missing_evidence(measure, declared, shadow, enough)
    facts: dict[str, object] = {
        "answer": "error" if measure.errors else "fail" if failures else "inconclusive" if unknowns else "pass",
        **measure.model_dump(mode="json", exclude={"schema_", "errors", "model"}),
        "disagreement": measure.disagreed / measure.compared if measure.compared else None,
        "max_disagreement": shadow.max_disagreement,
        "tolerance": shadow.tolerance,
        "min_coverage": shadow.min_coverage,
        "error_threshold": declared.error_threshold,
        "needed_to_fail": fail,
        "needed_to_pass": enough,
    }
    differ = f"{measure.disagreed} of {measure.compared} answers differ by more than {shadow.tolerance:g}"
    findings = [f"{differ}, limit {shadow.max_disagreement:.3g}; {measure.elapsed:.0f} s in the shadow"]
    verdict = Verdict.of(RULE, failures=failures, unknowns=() if failures else unknowns, findings=findings, facts=facts)
    too_many_errors = consecutive_errors >= declared.analysis.consecutive_errors
    action = _next_action(verdict.outcome, measure.elapsed, shadow, too_many_errors=too_many_errors)
    return StageDecision(verdict=verdict, action=action)


def _next_action(outcome: Outcome, elapsed: float, shadow: Shadow, *, too_many_errors: bool) -> StageAction:
    if outcome is Outcome.FAIL:
        return "roll_back"
    if outcome is Outcome.PASS:
        return "look_again" if elapsed < shadow.duration else "go_on"
    return "look_again" if elapsed < max_shadow_seconds(shadow) and not too_many_errors else "refuse"


def seconds_left(elapsed: float, shadow: Shadow) -> float:
    """Seconds until the decision may change because of time alone."""
    return shadow.duration - elapsed if elapsed < shadow.duration else max_shadow_seconds(shadow) - elapsed


def max_shadow_seconds(shadow: Shadow) -> float:
    """Seconds after which an undecided candidate is refused."""
    return shadow.max_duration or 2 * shadow.duration


def _exceeded_limits(measure: ShadowMeasure, declared: Deployment, shadow: Shadow, needed: float) -> list[str]:
    failures = []
    if (evidence := measure.disagreement_above_log_e) >= needed:
        counts = f"{measure.disagreed} of {measure.compared} answers differ by more than {shadow.tolerance:g}"
        failures.append(f"{counts}: more than {shadow.max_disagreement:.3g} ({_evidence_text(evidence, '>=', needed)})")
    beyond = measure.bad_beyond_champion_log_e
    if (evidence := measure.bad_above_log_e) >= needed and (beyond is None or beyond >= needed):
        counts = f"{measure.failed} of {measure.requests} requests failed"
        failures.append(
            f"{counts}: more than {declared.error_threshold:.3g} ({_evidence_text(evidence, '>=', needed)})"
        )
    if measure.labels and (evidence := measure.labels.worse_log_e) >= needed:
        failures.append(f"{_labels_text(measure.labels)}: wrong more often ({_evidence_text(evidence, '>=', needed)})")
    return failures


def _missing_evidence(measure: ShadowMeasure, declared: Deployment, shadow: Shadow, needed: float) -> list[str]:
    requests = measure.callers or measure.sent or measure.dropped or measure.requests
    if not requests and measure.elapsed >= 1:
        when = f"in the {measure.elapsed:.0f} s of its shadow"
        return [no_requests_text(measure.model, declared.endpoint_name, when)]
    longer = "mirror longer (shadow.duration, max_duration) or more (sample_rate)"
    unknowns = []
    if measure.compared < shadow.minimum_compared:
        unknowns.append(f"{measure.compared} answers compared < {shadow.minimum_compared}: {longer}")
    elif (evidence := measure.disagreement_below_log_e) < needed:
        counts = f"{measure.disagreed} of {measure.compared} answers differ by more than {shadow.tolerance:g}"
        shown = f"not shown below {shadow.max_disagreement:.3g} ({_evidence_text(evidence, '<', needed)})"
        unknowns.append(f"{counts}, {shown}: {longer}")
    if (evidence := measure.bad_below_log_e) < needed:
        bad = f"{measure.failed} of {measure.requests} requests failed, not shown below {declared.error_threshold:.3g}"
        unknowns.append(f"{bad} ({_evidence_text(evidence, '<', needed)}): {longer}")
    if measure.coverage is None:
        unknowns.append(f"none of {measure.callers or 0} requests was mirrored; raise shadow.sample_rate")
    elif measure.coverage < shadow.min_coverage:
        offered = f"{measure.requests} of {measure.sent + measure.dropped} sampled requests"
        remedy = "the shadow worker does not keep up; lower shadow.sample_rate or give it a core"
        unknowns.append(f"coverage {measure.coverage:.3f} < {shadow.min_coverage:g} ({offered}): {remedy}")
    return unknowns


def _labels_text(labels: PairedLabels) -> str:
    return f"the candidate alone was wrong {labels.candidate_wrong} times, the champion {labels.champion_wrong} times"


def _evidence_text(log_e: float, sign: str, needed: float) -> str:
    return f"log evidence {log_e:.2f} {sign} {needed:.2f}"
