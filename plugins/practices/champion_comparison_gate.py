"""Passes a candidate if the confidence interval of its gain over the champion begins at or above ``-margin``."""

from __future__ import annotations

from pipelines.rules.champion_comparison_gate import judge_candidate
from practices._operators.gate import Gate


class ChampionComparisonGate(Gate):
    """Pass a candidate only if the paired-bootstrap interval of its gain begins at or above ``-margin``.

    With ``require_improvement`` it must begin above zero. Metric, margin, confidence and resamples are declared in
    ``evaluation.comparison``. The first version has no champion to compare with and passes.
    """

    stem, rule = "champion_comparison_gate", staticmethod(judge_candidate)
