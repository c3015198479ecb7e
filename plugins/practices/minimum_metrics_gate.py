"""Stops a candidate that misses a declared minimum of a test metric, however the champion does."""

from __future__ import annotations

from pipelines.rules.minimum_metrics_gate import judge_minimum_metrics
from practices._operators.gate import Gate


class MinimumMetricsGate(Gate):
    """Hold each test metric of a candidate that ``evaluation.minimum_metrics`` names against its floor or ceiling."""

    stem, rule = "minimum_metrics_gate", staticmethod(judge_minimum_metrics)
