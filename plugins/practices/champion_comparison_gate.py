"""A candidate replaces the champion only on evidence: the interval of its gain, not a lucky number, decides."""

from __future__ import annotations

from typing import ClassVar

from pipelines.messages.evaluation import EvaluateResult
from pipelines.rules.champion_comparison_gate import judge_candidate
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict
from practices._operators.gate import Gate


class ChampionComparisonGate(Gate):
    """Let a candidate on only if the paired-bootstrap interval of its gain over the champion lies above the margin.

    Metric, margin, confidence and resamples are declared in ``evaluation.comparison``. The first model has no
    champion to beat.
    """

    stem: ClassVar[str] = "champion_comparison_gate"

    def judge(self, result: EvaluateResult, spec: ModelSpec) -> Verdict:
        return judge_candidate(result, spec)
