"""A row whose windows reach a partition that is not held is not trained on, unless its view says that it may be."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import store_paths
from pipelines.messages.training import SnapshotRequest, SnapshotResult
from pipelines.rules.training_snapshot import judge_snapshot
from pipelines.steps import take_snapshot
from pipelines.steps.features.incomplete_days import incomplete_days
from pipelines.testing.ports import FakePorts
from tests.steps import flights_by_hand
from tests.steps.built_features import build_view
from tests.steps.panel.shop import MODEL, PURCHASES, RETURNS, START, VIEW, WEEKLY, all_days, hold, ports, purchases

DAY = timedelta(days=1)
MONDAYS = [START + number * 7 * DAY for number in range(18)]
LOST = MONDAYS[6] + 2 * DAY
OF_TWO_WEEKS: dict[str, Any] = {
    **WEEKLY,
    "rows": {**WEEKLY["rows"], "active_within": "14d"},
    "features": {"customer_purchase_count_14d": {"aggregate": "count", "of": "purchases", "window": "14d"}},
}


def world(folder: Path, view: dict[str, Any], days: list[date]) -> FakePorts:
    """A shop of which these days were delivered, one after the other."""
    made = ports(folder, view=view, model={**RETURNS, "training": {"minimum_rows": 10}})
    hold(made, purchases(), days)
    for day in days:
        build_view(made, VIEW, day)
    return made


def snapshot(made: FakePorts) -> tuple[SnapshotResult, set[date]]:
    """The snapshot after all days, and the weeks that it has rows of."""
    request = SnapshotRequest(model=MODEL, as_of=datetime(2024, 4, 29, 7, tzinfo=UTC))
    taken = take_snapshot.run(request, made)
    return taken, set(take_snapshot.read_snapshot(made.store, MODEL, taken.digest)["period"])


@pytest.mark.parametrize("allowed", [False, True])
def test_weeks_that_read_a_lost_day_are_left_out_unless_missing_days_are_allowed(tmp_path: Path, allowed: bool) -> None:
    view = {**OF_TWO_WEEKS, "rows": {**OF_TWO_WEEKS["rows"], **({"allow_missing": True} if allowed else {})}}
    made = world(tmp_path, view, [day for day in all_days() if day != LOST])
    taken, weeks = snapshot(made)
    reading = {MONDAYS[7], MONDAYS[8]}
    assert taken.incomplete_days == dict.fromkeys(sorted(reading), f"{PURCHASES} does not hold {LOST}")
    assert weeks & reading == (reading if allowed else set())
    assert {MONDAYS[4], MONDAYS[9]} <= weeks
    verdict = judge_snapshot(taken, made.catalog.model(MODEL))
    assert any(f"{PURCHASES} does not hold {LOST}" in finding for finding in verdict.findings)
    assert set(verdict.facts["incomplete_days"]) == {f"{week}" for week in reading}  # type: ignore[call-overload]


def test_once_the_lost_day_is_delivered_its_weeks_are_trained_on(tmp_path: Path) -> None:
    made = world(tmp_path, OF_TWO_WEEKS, [day for day in all_days() if day != LOST])
    hold(made, purchases(), [LOST])
    build_view(made, VIEW, LOST)
    taken, weeks = snapshot(made)
    assert taken.incomplete_days == {}
    assert {MONDAYS[7], MONDAYS[8]} <= weeks


def test_a_day_that_was_delivered_without_a_row_is_held(tmp_path: Path) -> None:
    made = world(tmp_path, OF_TWO_WEEKS, [day for day in all_days() if day != LOST])
    hold(made, purchases().clear(), [LOST])
    view, dataset = made.catalog.view(VIEW), made.catalog.dataset("shop")
    assert incomplete_days(made.store, view, dataset, MONDAYS) == {}


def test_what_lies_before_the_first_delivery_is_no_lost_day(tmp_path: Path) -> None:
    made = world(tmp_path, OF_TWO_WEEKS, all_days()[10:])
    view, dataset = made.catalog.view(VIEW), made.catalog.dataset("shop")
    assert incomplete_days(made.store, view, dataset, MONDAYS) == {}


def test_rows_of_events_are_left_out_as_far_as_their_windows_reach() -> None:
    """The widest window of the flights, with the longest delay, reaches into the second day before."""
    made = FakePorts.make(Path("unused"), catalog=flights_by_hand.catalog(flights_by_hand.model()))
    days = [date(2013, 6, number) for number in (3, 4, 6, 7, 8, 9, 10)]
    for day in days:
        made.store.put(store_paths.profile("validated/flights.flights", day), b"{}")
    lacking = incomplete_days(made.store, flights_by_hand.VIEW, flights_by_hand.DATASET, days)
    assert lacking == dict.fromkeys(
        [date(2013, 6, 6), date(2013, 6, 7)], "validated/flights.flights does not hold 2013-06-05"
    )
