"""Each day builds the weeks that it completes, and again those that were built and read it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from tests.steps.built_features import build_view
from tests.steps.panel.shop import START, VIEW, WEEKLY, all_days, hold, ports, purchases

DAY = timedelta(days=1)
DAYS, ROWS = all_days()[:35], purchases(6)
MONDAYS = [START + number * 7 * DAY for number in range(6)]
WINDOWS = {"customer_purchase_count_{window}": {"aggregate": "count", "of": "purchases", "windows": ["7d", "14d"]}}
VIEW_OF_TWO_WEEKS = {**WEEKLY, "features": WINDOWS, "rows": {**WEEKLY["rows"], "active_within": "14d"}}


def test_in_life_each_week_is_built_once_and_by_its_sunday(tmp_path: Path) -> None:
    world = ports(tmp_path, view=VIEW_OF_TWO_WEEKS)
    built = {}
    for day in DAYS:
        hold(world, ROWS, [day])
        if partitions := build_view(world, VIEW, day).partitions:
            built[day] = list(partitions)
    assert built == {monday - DAY: [monday] for monday in MONDAYS[1:]}


def test_a_day_that_is_corrected_builds_the_weeks_that_read_it_again(tmp_path: Path) -> None:
    world = ports(tmp_path, view=VIEW_OF_TWO_WEEKS)
    for day in DAYS:
        hold(world, ROWS, [day])
        build_view(world, VIEW, day)
    corrected = MONDAYS[1] + 2 * DAY
    hold(world, ROWS.filter(pl.col("customer_id") == "c00"), [corrected])
    built = build_view(world, VIEW, corrected)
    assert sorted(built.partitions) == MONDAYS[2:4]
    assert built.changed == set(MONDAYS[2:4])
    assert built.appeared == set()


def test_a_week_without_active_customers_is_built_and_has_no_rows(tmp_path: Path) -> None:
    world = ports(tmp_path, view=VIEW_OF_TWO_WEEKS)
    hold(world, ROWS.clear(), DAYS[:7])
    built = build_view(world, VIEW, DAYS[6])
    assert built.partitions[MONDAYS[1]].without_entities
    assert built.verdicts[MONDAYS[1]].passed
