"""Rejects a candidate whose test metrics miss a declared floor or ceiling, regardless of the champion."""

from __future__ import annotations

from pipelines.rules.minimum_metrics_gate import judge_minimum_metrics
from practices._operators.gate import Gate


class MinimumMetricsGate(Gate):
    """Compare each test metric in ``evaluation.minimum_metrics`` with its floor or ceiling."""

    stem, rule = "minimum_metrics_gate", staticmethod(judge_minimum_metrics)
