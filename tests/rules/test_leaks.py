"""A column is asked about where it alone tells the label, by its values, nulls, time or text; none is refused."""

from __future__ import annotations

import pytest

from pipelines.rules.leaks import ColumnFacts, leak_reasons


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        (ColumnFacts("a"), []),
        (ColumnFacts("a", separation=0.979, separation_by_nulls=0.97, later_share=0.009, contains=0.49), []),
        (ColumnFacts("a", separation=0.98), ["it alone tells the label (0.980 of 1)"]),
        (ColumnFacts("a", separation_by_nulls=1.0), ["whether it has a value tells the label (1.000 of 1)"]),
        (ColumnFacts("a", nulls_alike=True), ["it has no value exactly where the label has none"]),
        (ColumnFacts("a", nulls_alike=True, nulls_within=True), ["it has no value exactly where the label has none"]),
        (ColumnFacts("a", nulls_within=True), ["it lacks a value only where the label does"]),
        (ColumnFacts("a", later_share=0.25), ["in 25% of the rows its time is after the moment of the row"]),
        (ColumnFacts("a", contains=0.5), ["its texts hold the outcome of their row"]),
    ],
)
def test_every_reason_is_given(facts: ColumnFacts, reasons: list[str]) -> None:
    assert leak_reasons(facts) == reasons
