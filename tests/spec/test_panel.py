"""Periods of a panel cover the calendar once, and read exactly the days that can be known at their moment."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.spec.panel import Panel, PanelEvery, PerPeriod
from pipelines.spec.partitions import PartitionCalendar, first_instant

DAY, DUE = timedelta(days=1), timedelta(hours=6)
START, END = date(2024, 3, 6), date(2024, 6, 20)
ZONES = ["UTC", "Europe/Berlin", "America/Santiago", "Africa/Cairo"]  # the last two have days without midnight


def panel(every: PanelEvery, zone: str, at: timedelta = DUE, *, reads_own_day: bool = False) -> Panel:
    return Panel(PartitionCalendar(every, START, END, zone), at, 30 * DAY, DUE, reads_own_day)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("every", ["day", "week", "month"])
def test_the_last_day_of_a_period_is_the_last_whose_files_are_due_by_its_moment(every: PanelEvery, zone: str) -> None:
    for at in (timedelta(0), DUE, timedelta(hours=15)):
        weekly = panel(every, zone, at)
        for period in weekly.periods(START - 40 * DAY, END):
            moment = weekly.moment(period)
            around = [period + number * DAY for number in range(-4, 4)]
            known = [day for day in around if first_instant(day + DAY, weekly.calendar.zone) + DUE <= moment]
            assert weekly.last_day(period) == known[-1]
            assert weekly.period_due(known[-1]) == period


def test_a_day_on_which_no_period_can_be_built_has_none() -> None:
    weekly = panel("week", "UTC")
    assert [weekly.period_due(date(2024, 3, 4) + number * DAY) for number in range(8)] == [
        *[None] * 6,
        date(2024, 3, 11),
        None,
    ]


def test_a_panel_of_values_that_are_known_at_once_reads_the_day_of_its_moment() -> None:
    assert panel("week", "UTC", reads_own_day=True).last_day(date(2024, 3, 11)) == date(2024, 3, 11)
    assert panel("week", "UTC", reads_own_day=True).period_due(date(2024, 3, 11)) == date(2024, 3, 11)


def test_an_answer_belongs_to_the_newest_period_whose_moment_has_come() -> None:
    weekly = panel("week", "UTC")
    monday = datetime(2024, 3, 11, tzinfo=UTC)
    assert weekly.period_of(monday + DUE) == date(2024, 3, 11)
    assert weekly.period_of(monday + DUE - timedelta(microseconds=1)) == date(2024, 3, 4)
    assert weekly.period_of(monday - 30 * DAY) is None


def test_periods_are_named_by_their_first_date() -> None:
    weekly = panel("week", "UTC")
    assert weekly.periods(date(2024, 3, 5), date(2024, 3, 18)) == [date(2024, 3, 11), date(2024, 3, 18)]
    assert weekly.last_periods(date(2024, 3, 20), 2) == [date(2024, 3, 11), date(2024, 3, 18)]
    assert weekly.last_periods(date(2024, 3, 11), 9) == [date(2024, 3, 4), date(2024, 3, 11)]
    assert weekly.period(date(2024, 3, 12)) is None
    begins = weekly.period(date(2024, 3, 11))
    assert begins is not None
    assert begins.key == "2024-W11"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"each": "orders"}, "name a column of a source, as in orders.customer_id"),
        ({"each": ["orders.a", "returns.b"]}, "several of one source"),
        ({"active_within": "0m"}, "must be longer than nothing"),
        ({"every": "hour"}, "Input should be 'day', 'week' or 'month'"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], fault: str) -> None:
    declared = {"each": "orders.customer", "every": "week", "active_within": "30d"}
    with pytest.raises(ValidationError, match=fault):
        PerPeriod.model_validate(declared | change)


@pytest.mark.parametrize(
    ("every", "at", "is_within"), [("day", "19h", True), ("day", "20h", False), ("week", "6d", True)]
)
def test_the_moment_lies_within_its_period(every: str, at: str, is_within: bool) -> None:
    rows = PerPeriod.model_validate({"each": "orders.customer", "every": every, "active_within": "30d", "at": at})
    assert (rows.moment_faults(DUE) == []) is is_within
