"""A model that was trained again on all rows is held to the one that was judged, on the newest rows."""

from __future__ import annotations

from pipelines.messages.training import RefitCheck, TrainResult
from pipelines.spec.model import LOWER_IS_BETTER, ModelSpec

MEAN_SHIFT, LEAST_SHIFT = 0.25, 0.01
"""How much farther from the newest targets' mean the refitted model's mean answer may lie than the judged one's: in
standard deviations of the judged answers, and at least in those of the targets (for a model that answers all alike)."""


def refit_faults(check: RefitCheck | None, spec: ModelSpec) -> list[str]:
    """What the refitted model may not do where the judged one does better without knowing the rows."""
    if check is None:
        return []
    faults = []
    if check.not_finite:
        faults.append(f"the refitted model answers no finite number about {check.not_finite} of {check.rows} rows")
    if check.judged is not None and check.refitted is not None:
        loss = check.judged - check.refitted
        loss = -loss if check.metric in LOWER_IS_BETTER else loss
        allowed = spec.evaluation.comparison.allowed_loss(check.judged)
        if not loss <= allowed:
            values = f"{check.metric} {check.refitted:.4f}, the judged model has {check.judged:.4f}"
            faults.append(f"the refitted model has {values}; it may lose {allowed:.4g}")
    moved = abs(check.refitted_mean - check.target_mean) - abs(check.judged_mean - check.target_mean)
    most = max(MEAN_SHIFT * check.judged_spread, LEAST_SHIFT * check.target_spread)
    if not moved <= most:
        means = f"{check.refitted_mean:.4g}, the judged model's is {check.judged_mean:.4g}"
        faults.append(
            f"the refitted model's mean answer is {means}, the targets' {check.target_mean:.4g}; it may lie {most:.4g} "
            "farther away"
        )
    return faults


def unmeasured_refit(result: TrainResult, spec: ModelSpec) -> list[str]:
    """What of a refit is not known, though it was declared or done."""
    check = result.refit
    if (result.judged_digest is None) != (check is None) or (spec.training.refits and check is None):
        return ["the refitted model was not held to the judged one on the newest rows"]
    if check is not None and None in (check.judged, check.refitted):
        return [f"{check.metric} of the refitted model is not defined on the {check.rows} test rows"]
    return []


def refit_findings(check: RefitCheck | None) -> list[str]:
    if check is None or check.judged is None or check.refitted is None:
        return []
    shown = f"{check.metric} {check.refitted:.4f}, judged model {check.judged:.4f}"
    return [f"trained again on all rows; on the newest {check.rows}, which it has learnt: {shown}"]
