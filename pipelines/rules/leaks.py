"""Asks about columns that give the label away; it forbids none, because only a person knows when a value is known."""

from __future__ import annotations

from dataclasses import dataclass

COPY = 0.98
"""Of the area under the ROC curve, or of the rank correlation, of a column alone, from which it is asked about.

A column that is only good stays below: of the measurements of tumours that scikit-learn ships the best has 0.975.
"""
LATER = 0.01
"""Share of the rows whose time lies after the moment at which they are asked about."""
CONTAINED = 0.5
"""How often a text holds the outcome of its own row, beyond chance."""


@dataclass(frozen=True)
class ColumnFacts:
    """How well one column alone tells the label. ``separation``: between 0.5 or 0 (not at all) and 1.

    None: too few rows have a value and a label.
    """

    name: str
    separation: float | None = None
    separation_by_nulls: float | None = None
    nulls_alike: bool = False
    """It has no value exactly where the label has none."""
    nulls_within: bool = False
    """It has no value in some of the rows without a label, and in no other."""
    later_share: float = 0.0
    contains: float = 0.0


def leak_reasons(facts: ColumnFacts) -> list[str]:
    """Every reason to ask whether the values of a column are known when the question is put; empty: there is none."""
    reasons = []
    if facts.separation is not None and facts.separation >= COPY:
        reasons.append(f"it alone tells the label ({facts.separation:.3f} of 1)")
    if facts.separation_by_nulls is not None and facts.separation_by_nulls >= COPY:
        reasons.append(f"whether it has a value tells the label ({facts.separation_by_nulls:.3f} of 1)")
    if facts.nulls_alike:
        reasons.append("it has no value exactly where the label has none")
    elif facts.nulls_within:
        reasons.append("it lacks a value only where the label does")
    if facts.later_share >= LATER:
        reasons.append(f"in {facts.later_share:.0%} of the rows its time is after the moment of the row")
    if facts.contains >= CONTAINED:
        reasons.append("its texts hold the outcome of their row")
    return reasons
