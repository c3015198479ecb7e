"""An estimate may say "watch" and never more; where it cannot be made it says why, and turns nothing red."""

from __future__ import annotations

from pipelines.messages.estimated_performance import EstimatedPerformanceResult
from pipelines.rules.monitoring_gap import MAY_STAY_UNMEASURED, TOO_LITTLE_DATA
from pipelines.spec.model import LOWER_IS_BETTER, ModelSpec
from pipelines.verdict import Verdict

RULE = "estimated_performance"
SMALLEST_CALIBRATION_DAYS = 20
SMALLEST_WINDOW_DAYS = 5
SMALLEST_ERRORS = 8


def judge_estimate(result: EstimatedPerformanceResult, spec: ModelSpec) -> Verdict:
    """PASS with ``facts["state"]`` "fine", or "watch" where even the better end of the band is worse than the
    certificate by more than ``monitoring.performance.max_drop``.

    UNKNOWN, which is skipped however long it lasts, where the estimate or its band cannot be trusted: each reason says
    what is missing. It fails nothing and asks for no retraining: an estimate does not see that the same rows end
    differently than before.
    """
    performance = spec.monitoring.performance
    unknowns = _obstacles(result)
    estimate, reference, band = result.estimate, result.reference, result.half_width
    facts: dict[str, object] = {
        "version": result.version,
        "metric": result.metric,
        "estimate": estimate,
        "certificate": reference,
        "half_width": band,
        "past_errors": result.past_errors,
        "state": "cannot estimate",
        "drop": None,
        TOO_LITTLE_DATA: True,
        MAY_STAY_UNMEASURED: True,
    }
    findings: list[str] = []
    if estimate is not None:
        width = f" ± {band:.4f} ({result.past_errors} past windows)" if band is not None else ""
        findings.append(
            f"version {result.version}: estimated {result.metric} {estimate:.4f}{width} over {result.rows} answers of "
            f"{result.answered_days} days, calibrated on {result.calibration_days} days"
            + (f"; its certificate's days {reference:.4f}" if reference is not None else "")
        )
    if not unknowns and estimate is not None and reference is not None and band is not None:
        sign = -1.0 if result.metric in LOWER_IS_BETTER else 1.0
        drop = sign * (reference - estimate)
        watch = drop - band > performance.max_drop
        facts |= {"state": "watch" if watch else "fine", "drop": drop}
        least, word = abs(drop - band), "at least {:.4f} worse" if drop > band else "perhaps {:.4f} better"
        comparison = f"{word.format(least)} than its certificate"
        limit = f"max_drop {performance.max_drop:g}"
        findings.append(f"watch: {comparison} > {limit}" if watch else f"fine: {comparison}, {limit}")
    return Verdict.of(RULE, unknowns=unknowns, findings=[*findings, *result.notes], facts=facts)


def _obstacles(result: EstimatedPerformanceResult) -> list[str]:
    """Why there is no estimate to trust; every reason."""
    if result.version is None:
        return ["no version is live: there is nothing to estimate"]
    if not result.is_estimable:
        return [f"cannot estimate {result.metric}: the answers of a regression are no probabilities"]
    reasons = []
    if result.calibration_days < SMALLEST_CALIBRATION_DAYS:
        reasons.append(f"{result.calibration_days} labelled days (needs {SMALLEST_CALIBRATION_DAYS})")
    needed_days = min(SMALLEST_WINDOW_DAYS, len(result.window))
    if result.answered_days < needed_days:
        reasons.append(f"answers on {result.answered_days} days of the window (needs {needed_days})")
    if result.past_errors < SMALLEST_ERRORS:
        reasons.append(f"the truth of {result.past_errors} past estimates is known (needs {SMALLEST_ERRORS})")
    if result.reference is None:
        reasons.append(f"the certificate of version {result.version} has no day values of {result.metric}")
    if result.faulty_columns:
        reasons.append(f"columns that move the answers broke: {', '.join(result.faulty_columns)}")
    if result.loses:
        reasons.append("labels show that the version loses: its probabilities are off")
    if result.estimate is None and not reasons:
        reasons.append(f"{result.metric} is not defined over the window's answers")
    return [f"cannot estimate {result.metric}: {reason}" for reason in reasons]
