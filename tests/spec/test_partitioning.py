"""The declared partitions are a calendar, or refused with what to write."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.spec.fault_text import fault_texts
from pipelines.spec.partitioning import Partitioning
from pipelines.spec.partitions import PartitionCalendar
from pipelines.spec.plain_yaml import load


def test_the_calendar_is_what_is_declared() -> None:
    declared = load("{every: day, start: 2013-01-01, end: 2013-12-31, timezone: America/New_York, due: 3h, wait: 30m}")
    partition = Partitioning.model_validate(declared)
    assert partition.calendar == PartitionCalendar("day", date(2013, 1, 1), date(2013, 12, 31), "America/New_York")
    assert (partition.due, partition.wait) == (timedelta(hours=3), timedelta(minutes=30))


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        ("{start: 2013-01-01}", "every: is required"),
        ("{every: day}", "start is required; write the first date"),
        ("{every: day, start: 2013-01-01, end: 2012-12-31}", "end 2012-12-31 is before start 2013-01-01"),
        ("{every: day, start: 2013-01-01, timezone: New York}", "timezone: unknown timezone; use a name such as"),
        ("{every: day, start: 2013-01-01, timezone: Europe}", "timezone: unknown timezone"),
        ("{every: day, start: 2013-01-01, timezone: localtime}", "timezone: unknown timezone"),
        ("{every: day, start: 2013-01-01, timezone: right/UTC}", "timezone: unknown timezone"),
        ("{every: day, start: 2013-01-01, timezone: ../UTC}", "timezone: unknown timezone"),
        (
            "{every: day, start: 0024-01-01}",
            "start: must be of the years 1800 to 2999; write the year with four digits",
        ),
        ("{every: month, start: 2013-01-01, end: 9999-12-31}", "2999; leave `end` out where there is none"),
        ("{every: day, start: 2013-01-01, due: \u0663h}", "due: is no duration"),
        ("{every: day, start: yesterday}", "start: must be a date, as in 2013-01-31"),
        ("{every: day, start: 2013-01-01, wait: 0m}", "wait: must be longer than nothing; write 1m at least"),
        ("{every: day, start: 2013-01-01, due: 6}", "due: a duration needs its unit; write 6m, 6h or 6d"),
        ("{every: fortnight, start: 2013-01-01}", "every: must be one of 'hour', 'day', 'week', 'month' or 'once'"),
        ("{every: '0 * * * *', start: 2013-01-01}", "every: must be one of"),
        ("{every: '@hourly', start: 2013-01-01}", "every: must be one of"),
        ("{every: hello, start: 2013-01-01}", "every: must be one of"),
        ("{every: day, start: 2013-01-01, schedule: 0 6 * * *}", "schedule: unknown field"),
    ],
)
def test_partitions_that_there_cannot_be_are_refused(declared: str, fault: str) -> None:
    fields: Any = load(declared)
    with pytest.raises(ValidationError) as error:
        Partitioning.model_validate(fields)
    assert any(fault in text for text in fault_texts(error.value)), fault_texts(error.value)


@pytest.mark.parametrize("every", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "Pacific/Kiritimati"])
@pytest.mark.parametrize("day", [date(1800, 1, 1), date(2999, 12, 31)])
def test_a_calendar_of_the_first_or_the_last_year_has_its_partitions(every: str, zone: str, day: date) -> None:
    partition = Partitioning.model_validate({"every": every, "start": day, "end": day, "timezone": zone})
    partitions = list(partition.calendar.partitions(day))
    assert len(partitions) == (24 if every == "hour" else 1)
    assert all(partition.calendar.partition_of(each.begin) == each for each in partitions)
