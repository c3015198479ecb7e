"""Stops a candidate that loses more than declared against the champion on any slice of enough rows."""

from __future__ import annotations

from typing import ClassVar

from pipelines.messages.evaluation import EvaluateResult
from pipelines.rules.slice_gate import judge_slices
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict
from practices._operators.gate import Gate


class SliceGate(Gate):
    """Hold every slice that is large enough against the loss declared in ``evaluation.slices``."""

    stem: ClassVar[str] = "slice_gate"

    def judge(self, result: EvaluateResult, spec: ModelSpec) -> Verdict:
        return judge_slices(result, spec)
