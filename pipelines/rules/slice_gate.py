"""No slice of at least ``min_rows`` rows may lose more than ``max_loss`` against the champion."""

from __future__ import annotations

from pipelines.messages.evaluation import EvaluateResult, SliceMetric
from pipelines.rules.minimum_metrics_gate import ROUNDING_TOLERANCE, bound_text, is_measured
from pipelines.spec.model import ModelSpec, Slices
from pipelines.verdict import Verdict

RULE = "slice_gate"


def judge_slices(result: EvaluateResult, spec: ModelSpec) -> Verdict:
    """FAIL for each slice of at least ``min_rows`` rows that loses more than ``max_loss`` against the champion.

    UNKNOWN for such a slice without a measured gain, and for a declared column without such a slice. PASS if no slices
    are declared or there is no champion; the facts say so.
    """
    declared = spec.evaluation.slices
    if declared is None:
        nothing: dict[str, object] = {"version": result.version, "slices": "none declared"}
        return Verdict.of(RULE, findings=["no slices are declared"], facts=nothing)
    if result.champion is None:
        first: dict[str, object] = {"version": result.version, "champion": "no champion"}
        return Verdict.of(RULE, findings=["there is no champion to compare with"], facts=first)
    judged = [group for group in result.slices if group.rows >= declared.min_rows and group.metric == declared.metric]
    failures = [_describe_loss(group, declared) for group in judged if _exceeds_max_loss(group, declared)]
    unknowns = [
        f"{group.column}={group.value}: gain of {group.metric} not measured ({group.rows} rows)"
        for group in judged
        if not is_measured(group.gain)
    ]
    for column in declared.columns:
        if not any(group.column == column for group in judged):
            largest = max((group.rows for group in result.slices if group.column == column), default=0)
            unknowns.append(f"{column}: no slice has {declared.min_rows} rows (the largest has {largest})")
    findings = _findings(judged, declared, len(result.slices) - len(judged))
    gains = {f"{group.column}={group.value}": group.gain for group in judged}
    facts: dict[str, object] = {
        "version": result.version,
        "champion": result.champion,
        "metric": declared.metric,
        "max_loss": declared.max_loss,
        "gains": gains,
        "too_small_to_judge": len(result.slices) - len(judged),
    }
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def _findings(judged: list[SliceMetric], declared: Slices, small: int) -> list[str]:
    """``smallest gain of roc_auc: carrier=HA -0.0123, limit -0.05; 14 slices judged, 3 have fewer than 300 rows``"""
    measured = [(group.gain, f"{group.column}={group.value}") for group in judged if is_measured(group.gain)]
    counted = f"{len(judged)} slices judged, {small} have fewer than {declared.min_rows} rows"
    if not measured:
        return [counted]
    gain, name = min(measured)
    return [f"smallest gain of {declared.metric}: {name} {gain:+.4f}, limit {-declared.max_loss:g}; {counted}"]


def _exceeds_max_loss(group: SliceMetric, declared: Slices) -> bool:
    return is_measured(group.gain) and group.gain < -declared.max_loss - ROUNDING_TOLERANCE


def _describe_loss(group: SliceMetric, declared: Slices) -> str:
    loss = f"{group.column}={group.value} loses {group.metric}"
    lost = bound_text(loss, -(group.gain or 0.0), ">", declared.max_loss)
    return f"{lost} (candidate {group.candidate:.4f}, champion {group.champion:.4f}, {group.rows} rows)"
