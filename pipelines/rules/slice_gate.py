"""No slice may be shown to lose more than ``max_loss`` against the champion, however much the average gains."""

from __future__ import annotations

from pipelines.messages.evaluation import EvaluateResult, SliceMetric
from pipelines.rules.minimum_metrics_gate import ROUNDING_TOLERANCE, bound_text, is_measured
from pipelines.spec.model import ModelSpec, Slices
from pipelines.verdict import Verdict

RULE = "slice_gate"
MINIMUM_SLICE_UNITS = 5
"""Days or entities below which the standard error of a slice is not believed."""


def judge_slices(result: EvaluateResult, spec: ModelSpec) -> Verdict:
    """FAIL for each slice that loses more than ``max_loss`` where so large a loss is no chance.

    It is no chance where its probability is at most ``false_refusals``, shared by all judged slices (Bonferroni): a
    candidate that loses nowhere is refused no more often than declared. A slice of fewer than ``min_rows`` rows or five
    units is not judged; where the declaration lets the gain alone decide, one of few units is judged by it. UNKNOWN for
    a slice whose gain was not measured, and for a declared column without a judged slice. PASS if no slices are
    declared or there is no champion; the facts say so.
    """
    declared = spec.evaluation.slices
    if declared is None:
        nothing: dict[str, object] = {"version": result.version, "slices": "none declared"}
        return Verdict.of(RULE, findings=["no slices are declared"], facts=nothing)
    if result.champion is None:
        first: dict[str, object] = {"version": result.version, "champion": "no champion"}
        return Verdict.of(RULE, findings=["there is no champion to compare with"], facts=first)
    by_gain_alone = spec.evaluation.comparison.too_few_units == "point_estimate"
    judged = [group for group in result.slices if _is_judged(group, declared, by_gain_alone)]
    level = declared.false_refusals / max(1, sum(_has_error(group) for group in judged))
    failures = [_describe_loss(group, declared, level) for group in judged if _is_shown_loss(group, declared, level)]
    unknowns = [
        f"{group.column}={group.value}: gain of {group.metric} not measured ({group.rows} rows)"
        for group in judged
        if not is_measured(group.gain)
    ]
    unknowns += [
        _describe_column(column, result.slices, declared)
        for column in declared.columns
        if not any(group.column == column for group in judged)
    ]
    findings = _findings(judged, declared, len(result.slices) - len(judged), level)
    facts: dict[str, object] = {
        "version": result.version,
        "champion": result.champion,
        "metric": declared.metric,
        "max_loss": declared.max_loss,
        "false_refusals": declared.false_refusals,
        "gains": {f"{group.column}={group.value}": group.gain for group in judged},
        "chances": {f"{group.column}={group.value}": group.loss_p for group in judged},
        "too_small_to_judge": len(result.slices) - len(judged),
    }
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def _has_error(group: SliceMetric) -> bool:
    return group.units >= MINIMUM_SLICE_UNITS and is_measured(group.loss_p)


def _is_judged(group: SliceMetric, declared: Slices, by_gain_alone: bool) -> bool:
    if group.rows < declared.min_rows or group.metric != declared.metric:
        return False
    return by_gain_alone or not is_measured(group.gain) or _has_error(group)


def _is_shown_loss(group: SliceMetric, declared: Slices, level: float) -> bool:
    exceeds = is_measured(group.gain) and group.gain < -declared.max_loss - ROUNDING_TOLERANCE
    chance = group.loss_p if _has_error(group) else None
    return exceeds and (chance is None or chance <= level)


def _findings(judged: list[SliceMetric], declared: Slices, small: int, level: float) -> list[str]:
    """``smallest gain of roc_auc: carrier=HA -0.0123 (by chance with 0.21), limit -0.05; 14 slices judged, …``"""
    alone = sum(is_measured(group.gain) and not _has_error(group) for group in judged)
    counted = f"{len(judged)} slices judged, each loss at {level:.2%}; {small} have too few rows or units"
    if alone:
        counted += f"; {alone} by the gain alone, as declared"
    measured = [(group.gain, f"{group.column}={group.value}", group) for group in judged if is_measured(group.gain)]
    if not measured:
        return [counted]
    gain, name, group = min(measured, key=lambda item: item[:2])
    limit = f"limit {-declared.max_loss:g}"
    return [f"smallest gain of {declared.metric}: {name} {gain:+.4f}{_chance_text(group)}, {limit}; {counted}"]


def _chance_text(group: SliceMetric) -> str:
    return f" (by chance with {group.loss_p:.2g})" if _has_error(group) else ""


def _describe_loss(group: SliceMetric, declared: Slices, level: float) -> str:
    loss = f"{group.column}={group.value} loses {group.metric}"
    lost = bound_text(loss, -(group.gain or 0.0), ">", declared.max_loss)
    values = f"candidate {group.candidate:.4f}, champion {group.champion:.4f}, {group.rows} rows"
    if not _has_error(group):
        return f"{lost} ({values}; by the gain alone, in {group.units} units)"
    return f"{lost} ({values}, {group.units} units; by chance with {group.loss_p:.2g} ≤ {level:.2g})"


def _describe_column(column: str, groups: list[SliceMetric], declared: Slices) -> str:
    own = [group for group in groups if group.column == column and group.metric == declared.metric]
    largest = max(own, key=lambda group: group.rows, default=None)
    if largest is None or largest.rows < declared.min_rows:
        rows = largest.rows if largest else 0
        return f"{column}: no slice has {declared.min_rows} rows (the largest has {rows})"
    units = max(group.units for group in own if group.rows >= declared.min_rows)
    return f"{column}: no slice can be judged, each needs {MINIMUM_SLICE_UNITS} days or entities (the most are {units})"
