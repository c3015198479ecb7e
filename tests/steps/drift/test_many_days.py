"""What is found on each of many days at once is what is found on that day alone, to the last word."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from pipelines.steps.drift.findings import READ_DAYS, Profiles, find_moved_columns
from pipelines.steps.drift.many_days import find_moved_by_day
from pipelines.tables.profile import TableProfile, profile_frame
from tests.steps.drift.test_findings import BROKEN, CALM, FIRST, day_rows

DAYS, FIRST_JUDGED = 140, 119
INFLUENCE = {"value": 0.1, "origin": 0.05}


def profile(number: int, changes: list[str]) -> TableProfile:
    rows = day_rows(number)
    for name in changes:
        rows = BROKEN[name][0](rows)
    rare = pl.when(pl.int_range(pl.len()) < number % 7).then(pl.lit(1.0)).otherwise(0.0)
    rows = rows.with_columns(rare=rare, creeping=pl.col("value") + max(number - 100, 0) * 0.4)
    return profile_frame(rows, categorical=["origin"], numeric=["value", "rare", "creeping"])


def stream(seed: int) -> Profiles:
    """Faults of random kinds that begin and end on random days, some at the same time, and two days without a file."""
    rng = np.random.default_rng(seed)
    begins = {95: 32, 120: 2, 123: 5, 130: 9, 134: 1}
    spans = [(kind, *span) for kind, span in zip(rng.choice(sorted(BROKEN), 5), begins.items(), strict=True)]
    missing = set(rng.integers(100, DAYS, 2).tolist())
    days = []
    for number in range(DAYS):
        changes = [name for name, first, length in spans if first <= number < first + length]
        days.append((FIRST + timedelta(days=number), None if number in missing else profile(number, changes)))
    return days


@pytest.mark.parametrize("seed", [0, 2])
def test_each_day_of_many_is_judged_as_if_it_were_looked_at_alone(seed: int) -> None:
    days, columns = stream(seed), ["origin", "value", "rare", "creeping"]
    reference = profile(0, []) if seed else CALM[0]  # one that does not know every column
    together = find_moved_by_day(days, FIRST_JUDGED, columns, reference, INFLUENCE)
    alone = [
        find_moved_columns(days[max(row + 1 - READ_DAYS, 0) : row + 1], columns, reference, INFLUENCE)
        for row in range(FIRST_JUDGED, DAYS)
    ]
    assert together == alone
    assert any(finding.lane == "fault" for findings in together for finding in findings)
    assert any(finding.lane == "watch" for findings in together for finding in findings)


def test_few_days_and_no_columns_find_nothing() -> None:
    days: Profiles = [(FIRST, CALM[0]), (FIRST + timedelta(days=1), CALM[1])]
    assert find_moved_by_day(days, 0, ["value"], CALM[0], {}) == [[], []]
    assert find_moved_by_day(days, 1, [], CALM[0], {}) == [[]]
    assert find_moved_by_day(days, 2, ["value"], CALM[0], {}) == []
