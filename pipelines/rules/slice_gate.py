"""No slice of at least ``min_rows`` rows may lose more than ``max_loss`` against the champion."""

from __future__ import annotations

from pipelines.messages.evaluation import EvaluateResult, SliceMetric
from pipelines.rules.minimum_metrics_gate import ROUNDING, broken, measured
from pipelines.spec.model import ModelSpec, Slices
from pipelines.verdict import Verdict

RULE = "slice_gate"


def judge_slices(result: EvaluateResult, spec: ModelSpec) -> Verdict:
    """FAIL for each slice of at least ``min_rows`` rows that loses more than ``max_loss`` against the champion.

    UNKNOWN for such a slice without a measured gain, and for a declared column without such a slice. PASS where no
    slices are declared or there is no champion to lose against; the facts say so.
    """
    declared = spec.evaluation.slices
    if declared is None:
        return Verdict.of(RULE, facts={"version": result.version, "slices": "none declared"})
    if result.champion is None:
        return Verdict.of(RULE, facts={"version": result.version, "champion": "no champion"})
    judged = [found for found in result.slices if found.rows >= declared.min_rows and found.metric == declared.metric]
    failures = [_lost(found, declared) for found in judged if _loses(found, declared)]
    unknowns = [
        f"{found.column}={found.value}: gain of {found.metric} not measured ({found.rows} rows)"
        for found in judged
        if not measured(found.gain)
    ]
    for column in declared.columns:
        if not any(found.column == column for found in judged):
            largest = max((found.rows for found in result.slices if found.column == column), default=0)
            unknowns.append(f"{column}: no slice has {declared.min_rows} rows (the largest has {largest})")
    gains = {f"{found.column}={found.value}": found.gain for found in judged}
    facts: dict[str, object] = {
        "version": result.version,
        "champion": result.champion,
        "metric": declared.metric,
        "max_loss": declared.max_loss,
        "gains": gains,
        "too_small_to_judge": len(result.slices) - len(judged),
    }
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, facts=facts)


def _loses(found: SliceMetric, declared: Slices) -> bool:
    return measured(found.gain) and found.gain < -declared.max_loss - ROUNDING


def _lost(found: SliceMetric, declared: Slices) -> str:
    lost = broken(f"{found.column}={found.value} loses {found.metric}", -(found.gain or 0.0), ">", declared.max_loss)
    return f"{lost} (candidate {found.candidate:.4f}, champion {found.champion:.4f}, {found.rows} rows)"
