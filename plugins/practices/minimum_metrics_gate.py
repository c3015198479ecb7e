"""No model flies below its declared minimum metrics, whatever the champion does."""

from __future__ import annotations

from typing import ClassVar

from pipelines.messages.evaluation import EvaluateResult
from pipelines.rules.minimum_metrics_gate import judge_minimum_metrics
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict
from practices._operators.gate import Gate


class MinimumMetricsGate(Gate):
    """Hold every test metric of a candidate against its declared floor or ceiling (``evaluation.minimum_metrics``)."""

    stem: ClassVar[str] = "minimum_metrics_gate"

    def judge(self, result: EvaluateResult, spec: ModelSpec) -> Verdict:
        return judge_minimum_metrics(result, spec)
