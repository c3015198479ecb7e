"""No candidate passes with one metric beyond its declared bound, or with one that was not measured."""

from __future__ import annotations

import math
from typing import TypeGuard

from pipelines.messages.evaluation import EvaluateResult
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "minimum_metrics_gate"
ROUNDING_TOLERANCE = 1e-12
"""Smaller differences count as rounding; a value equal to the bound passes."""


def judge_minimum_metrics(result: EvaluateResult, spec: ModelSpec) -> Verdict:
    """FAIL for each metric below its ``min`` or above its ``max``; UNKNOWN for each that was not measured."""
    failures: list[str] = []
    unknowns: list[str] = []
    findings: list[str] = []
    for metric, bound in spec.evaluation.minimum_metrics.items():
        value = result.metrics.get(metric)
        if not is_measured(value):
            unknowns.append(f"{metric} not measured ({result.rows} rows)")
            continue
        if bound.min is not None and value < bound.min - ROUNDING_TOLERANCE:
            failures.append(bound_text(metric, value, "<", bound.min))
        elif bound.min is not None:
            findings.append(f"{metric} {value:.4f} ≥ {bound.min:g}")
        if bound.max is not None and value > bound.max + ROUNDING_TOLERANCE:
            failures.append(bound_text(metric, value, ">", bound.max))
        elif bound.max is not None:
            findings.append(f"{metric} {value:.4f} ≤ {bound.max:g}")
    facts: dict[str, object] = {
        "version": result.version,
        "rows": result.rows,
        **{metric: result.metrics.get(metric) for metric in spec.evaluation.minimum_metrics},
    }
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def is_measured(value: float | None) -> TypeGuard[float]:
    """True for a finite number; None, NaN and infinities were not measured."""
    return value is not None and math.isfinite(value)


def bound_text(what: str, value: float, sign: str, bound: float) -> str:
    """``roc_auc 0.681 < 0.700``, with as many decimals as it takes to tell the two apart."""
    for decimals in range(3, 16):
        shown = f"{value:.{decimals}f}", f"{bound:.{decimals}f}"
        if shown[0] != shown[1]:
            break
    return f"{what} {shown[0]} {sign} {shown[1]}"
