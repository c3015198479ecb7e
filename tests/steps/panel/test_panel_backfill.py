"""Whatever the order in which days arrive, a panel ends with the same rows, and each day builds what it completes."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipelines import store_paths
from tests.steps.built_features import build_view
from tests.steps.panel.shop import START, VIEW, WEEKLY, all_days, hold, ports, purchases

DAY = timedelta(days=1)
DAYS, ROWS = all_days()[:35], purchases(6)
MONDAYS = [START + number * 7 * DAY for number in range(6)]
WINDOWS = {"customer_purchase_count_{window}": {"aggregate": "count", "of": "purchases", "windows": ["7d", "14d"]}}
VIEW_OF_TWO_WEEKS = {**WEEKLY, "features": WINDOWS, "rows": {**WEEKLY["rows"], "active_within": "14d"}}


def backfill(folder: Path, days: list[date]) -> tuple[pl.DataFrame, Counter[date]]:
    """The feature table after all days, and how often each week was built."""
    world, builds = ports(folder, view=VIEW_OF_TWO_WEEKS), Counter[date]()
    for day in days:
        hold(world, ROWS, [day])
        built = build_view(world, VIEW, day)
        assert all(verdict.passed for verdict in built.verdicts.values())
        builds.update(list(built.partitions))
    table = world.store.read(store_paths.features(VIEW))
    return table.sort("period", "customer_id"), builds


@pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
def test_every_order_of_days_ends_with_the_same_rows(tmp_path: Path, order: str) -> None:
    life, _ = backfill(tmp_path / "life", DAYS)
    days = {"forwards": DAYS, "backwards": DAYS[::-1], "shuffled": random.Random(7).sample(DAYS, len(DAYS))}[order]
    table, builds = backfill(tmp_path / order, days)
    assert table.equals(life)
    assert sorted(table["period"].unique()) == MONDAYS[1:]
    # A week reads fourteen days and a part of the fifteenth; each of them builds it at most once.
    assert max(builds.values()) <= 15


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
