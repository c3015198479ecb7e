"""Passes a candidate if the intervals of its gain over champion and anchor begin at or above ``-margin``."""

from __future__ import annotations

from pipelines.rules.champion_comparison_gate import judge_candidate
from practices._operators.gate import Gate


class ChampionComparisonGate(Gate):
    """Pass a candidate only if the interval of its gain, by days or entities, begins at or above ``-margin``.

    With ``require_improvement`` it must begin above zero. The anchor, an earlier version that was not yet shown to be
    beaten, is held to the same margin. Declared in ``evaluation.comparison``. Fewer than 20 days are UNKNOWN, unless
    ``too_few_units`` lets the gain alone decide. The first version has no champion to compare with and passes.
    """

    stem, rule = "champion_comparison_gate", staticmethod(judge_candidate)
