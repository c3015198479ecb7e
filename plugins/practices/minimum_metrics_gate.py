"""Stops a candidate that misses a declared minimum of a test metric, however the champion does."""

from __future__ import annotations

from typing import ClassVar

from pipelines.messages.evaluation import EvaluateResult
from pipelines.rules.minimum_metrics_gate import judge_minimum_metrics
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict
from practices._operators.gate import Gate


class MinimumMetricsGate(Gate):
    """Hold each test metric of a candidate that ``evaluation.minimum_metrics`` names against its floor or ceiling."""

    stem: ClassVar[str] = "minimum_metrics_gate"

    def judge(self, result: EvaluateResult, spec: ModelSpec) -> Verdict:
        return judge_minimum_metrics(result, spec)
