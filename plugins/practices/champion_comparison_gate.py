"""A candidate replaces the champion only on evidence: the interval of its gain, not a lucky number, decides."""

from __future__ import annotations

from pipelines.rules.champion_comparison_gate import judge_candidate
from practices._operators.gate import Gate


class ChampionComparisonGate(Gate):
    """Let a candidate on only if the paired-bootstrap interval of its gain over the champion lies above the margin.

    Metric, margin, confidence and resamples are declared in ``evaluation.comparison``. The first model has no
    champion to beat.
    """

    stem, rule = "champion_comparison_gate", staticmethod(judge_candidate)
