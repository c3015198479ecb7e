"""Lets a candidate on if the confidence interval of its gain over the champion begins at or above ``-margin``."""

from __future__ import annotations

from typing import ClassVar

from pipelines.messages.evaluation import EvaluateResult
from pipelines.rules.champion_comparison_gate import judge_candidate
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict
from practices._operators.gate import Gate


class ChampionComparisonGate(Gate):
    """Let a candidate on only if the paired-bootstrap interval of its gain begins at or above ``-margin``.

    With ``require_improvement`` it must begin above zero. Metric, margin, confidence and resamples are declared in
    ``evaluation.comparison``. The first model has no champion to beat.
    """

    stem: ClassVar[str] = "champion_comparison_gate"

    def judge(self, result: EvaluateResult, spec: ModelSpec) -> Verdict:
        return judge_candidate(result, spec)
