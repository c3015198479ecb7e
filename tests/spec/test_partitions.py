"""Every instant is in one partition, whatever the clocks of a zone do at its midnights."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import Refused
from pipelines.spec.partitions import (
    Every,
    PartitionCalendar,
    first_instant,
    hour_of_every_day,
    kind_of_key,
    named_partition,
    partition_name,
    recorded_partition,
)

ZONES = [
    "UTC",
    "America/New_York",
    "Africa/Cairo",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
]
zones = st.sampled_from(ZONES)
kinds = st.sampled_from(get_args(Every))
starts = st.dates(date(1980, 1, 1), date(2035, 1, 1))


@settings(max_examples=150, deadline=None)
@given(kinds, zones, starts, st.integers(0, 40))
def test_partitions_follow_each_other_without_a_gap_and_each_key_is_there_once(
    every: Every, zone: str, start: date, days: int
) -> None:
    end = start + timedelta(days=days)
    partitions = list(PartitionCalendar(every, start, end, zone).partitions(end))
    assert all(earlier.end == later.begin and earlier.key < later.key for earlier, later in pairwise(partitions))
    assert all(partition.begin < partition.end for partition in partitions)
    if partitions:
        assert partitions[0].begin <= first_instant(start, ZoneInfo(zone))
        assert partitions[-1].end >= first_instant(end + timedelta(days=1), ZoneInfo(zone))


@settings(max_examples=150, deadline=None)
@given(kinds, zones, starts, st.integers(0, 40), st.floats(-0.2, 1.2))
def test_an_instant_is_in_the_partition_that_is_listed_for_it_and_in_no_other(
    every: Every, zone: str, start: date, days: int, where: float
) -> None:
    end = start + timedelta(days=days)
    calendar = PartitionCalendar(every, start, end, zone)
    begin, stop = (first_instant(day, ZoneInfo(zone)) for day in (start, end + timedelta(days=1)))
    instant = begin + (stop - begin) * where
    holding = [item for item in calendar.partitions(end) if item.begin <= instant < item.end]
    found = calendar.partition_of(instant)
    if every == "once":
        assert found in calendar.partitions(end)
    else:
        assert ([] if found is None else [found]) == holding


@settings(max_examples=150, deadline=None)
@given(kinds, zones, starts, st.integers(0, 40))
def test_a_partition_is_read_back_from_its_key_and_from_its_record(
    every: Every, zone: str, start: date, days: int
) -> None:
    end = start + timedelta(days=days)
    calendar = PartitionCalendar(every, start, end, zone)
    for partition in calendar.partitions(end):
        assert calendar.partition(partition.key) == partition
        assert kind_of_key(partition.key) == every
        assert recorded_partition(named_partition(partition.key) | {"outcome": "pass"}) == partition.key
        run = calendar.run_time(partition)
        assert run is None if every == "once" else run is not None and run >= partition.end


@pytest.mark.parametrize(
    ("every", "key"),
    [
        ("day", "20130105"),
        ("day", "2013-1-5"),
        ("day", "2013-02-30"),
        ("day", "2012-12-31"),
        ("day", "2014-01-01"),
        ("day", "2013-W01"),
        ("week", "2013-W00"),
        ("week", "2013-W54"),
        ("week", "2013-W1"),
        ("week", "2013-01-05"),
        ("month", "2013-13"),
        ("month", "2013-1"),
        ("hour", "2013-01-05T10:30Z"),
        ("hour", "2013-01-05T10:00"),
        ("hour", "2013-01-05T24:00Z"),
        ("once", "2013-01-05"),
        ("once", ""),
    ],
    ids=[f"key {number}" for number in range(17)],
)
def test_a_text_that_is_no_key_of_the_calendar_is_refused_naming_the_form(every: Every, key: str) -> None:
    calendar = PartitionCalendar(every, date(2013, 1, 1), date(2013, 12, 31))
    assert calendar.partition(key) is None
    with pytest.raises(Refused, match="shop has no") as refused:
        calendar.require(key, "shop")
    assert refused.value.reasons[0].endswith(f"a key is written as {calendar.example}")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("2013-01-05", "day 2013-01-05"),
        ("2024-W07", "week 2024-W07"),
        ("2024-02", "month 2024-02"),
        ("2024-01-05T10:00Z", "hour 2024-01-05T10:00Z"),
        ("all", "partition all"),
    ],
    ids=["day", "week", "month", "hour", "once"],
)
def test_a_partition_is_called_by_its_kind_and_key(key: str, name: str) -> None:
    assert partition_name(key) == name


@pytest.mark.parametrize(
    ("every", "key", "since", "until", "touches"),
    [
        ("day", "2013-01-05", date(2013, 1, 5), date(2013, 1, 5), True),
        ("day", "2013-01-05", date(2013, 1, 6), None, False),
        ("day", "2013-01-05", None, date(2013, 1, 4), False),
        ("week", "2013-W02", date(2013, 1, 13), date(2013, 1, 20), True),
        ("week", "2013-W02", date(2013, 1, 14), None, False),
        ("once", "all", date(2040, 1, 1), None, True),
    ],
)
def test_a_partition_lies_among_days_if_it_has_an_instant_of_them(
    every: Every, key: str, since: date | None, until: date | None, touches: bool
) -> None:
    calendar = PartitionCalendar(every, date(2013, 1, 1), None, "America/New_York")
    assert calendar.touches(key, since, until) is touches


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("Africa/Cairo", date(2024, 4, 26), "2024-04-25T22:00:00+00:00"),
        ("America/Santiago", date(2024, 9, 8), "2024-09-08T04:00:00+00:00"),
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T03:00:00+00:00"),
        ("America/Havana", date(2024, 3, 10), "2024-03-10T05:00:00+00:00"),
        ("America/New_York", date(2013, 3, 10), "2013-03-10T05:00:00+00:00"),
    ],
)
def test_a_day_without_a_midnight_begins_where_the_clocks_jump(zone: str, day: date, first: str) -> None:
    begin = first_instant(day, ZoneInfo(zone))
    assert begin == datetime.fromisoformat(first)
    local = [(begin + step).astimezone(ZoneInfo(zone)).date() for step in (-timedelta(seconds=1), timedelta(0))]
    assert local == [day - timedelta(days=1), day]


def test_a_date_that_the_clocks_skip_is_no_day() -> None:
    calendar = PartitionCalendar("day", date(2011, 12, 29), date(2011, 12, 31), "Pacific/Apia")
    assert [day.key for day in calendar.partitions(date(2012, 1, 9))] == ["2011-12-29", "2011-12-31"]


@pytest.mark.parametrize(
    ("every", "keys"),
    [
        ("day", ["2013-12-30", "2013-12-31", "2014-01-01"]),
        ("week", ["2014-W01"]),
        ("month", ["2013-12", "2014-01"]),
        ("once", ["all"]),
    ],
)
def test_a_partition_is_named_by_its_time(every: Every, keys: list[str]) -> None:
    calendar = PartitionCalendar(every, date(2013, 12, 30), date(2014, 1, 1), "Europe/Berlin")
    assert [partition.key for partition in calendar.partitions(date(2030, 1, 1))] == keys


def test_an_hour_that_the_clocks_repeat_is_two_and_one_that_they_skip_is_none() -> None:
    def hours(day: date) -> int:
        return len(list(PartitionCalendar("hour", day, day, "America/New_York").partitions(day)))

    assert (hours(date(2013, 3, 9)), hours(date(2013, 3, 10)), hours(date(2013, 11, 3))) == (24, 23, 25)


def test_an_open_calendar_goes_on_and_holds_nothing_before_its_start() -> None:
    calendar = PartitionCalendar("day", date(2013, 1, 5), None, "America/New_York")
    assert len(list(calendar.partitions(date(2013, 1, 9)))) == 5
    assert calendar.partition_of(datetime(2013, 1, 5, 4, 59, 59, tzinfo=UTC)) is None
    found = calendar.partition_of(datetime(2099, 1, 5, 12, tzinfo=UTC))
    assert found is not None
    assert found.key == "2099-01-05"


def test_the_hour_of_every_day_is_midnight_where_no_midnight_is_missing() -> None:
    found = {zone: hour_of_every_day(zone, date(2010, 1, 1), date(2030, 12, 31)) for zone in ZONES}
    assert hour_of_every_day("Africa/Cairo", date(2024, 1, 1), date(2024, 3, 31)) == 0
    assert (found["UTC"], found["America/New_York"]) == (0, 0)
    assert all(found[zone] > 0 for zone in ("Africa/Cairo", "America/Santiago", "America/Sao_Paulo", "Asia/Beirut"))
