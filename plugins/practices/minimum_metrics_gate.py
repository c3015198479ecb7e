"""No model flies below its declared minimum metrics, whatever the champion does."""

from __future__ import annotations

from pipelines.rules.minimum_metrics_gate import judge_minimum_metrics
from practices._operators.gate import Gate


class MinimumMetricsGate(Gate):
    """Hold every test metric of a candidate against its declared floor or ceiling (``evaluation.minimum_metrics``)."""

    stem, rule = "minimum_metrics_gate", staticmethod(judge_minimum_metrics)
