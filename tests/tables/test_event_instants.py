"""The instant of an event is that of its columns; a date is over with its last microsecond, in its own zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.spec.event_time import EventTime
from pipelines.spec.partitions import PartitionCalendar
from pipelines.tables.event_instants import event_instants

AT = datetime(2013, 1, 5, 10, tzinfo=UTC)
ZONES = ("UTC", "America/New_York", "Africa/Cairo", "America/Santiago", "Pacific/Apia", "Australia/Lord_Howe")


def test_minutes_are_added_and_what_is_null_makes_the_instant_null() -> None:
    rows = pl.DataFrame(
        {"hour": [AT, AT, None, AT], "minute": [7, None, 7, 0], "late": [0.5, 1.0, 1.0, -90.0]},
        schema={"hour": pl.Datetime("us", "UTC"), "minute": pl.Int64, "late": pl.Float64},
    )
    instants = event_instants(rows, EventTime("hour", ("minute", "late")), "America/New_York")
    assert instants.to_list() == [AT + timedelta(minutes=7.5), None, None, AT - timedelta(minutes=90)]


@pytest.mark.parametrize(
    ("zone", "day", "end"),
    [
        ("UTC", date(2013, 1, 5), datetime(2013, 1, 6, tzinfo=UTC)),
        ("America/New_York", date(2013, 1, 5), datetime(2013, 1, 6, 5, tzinfo=UTC)),
        ("Africa/Cairo", date(2024, 4, 25), datetime(2024, 4, 25, 22, tzinfo=UTC)),  # the clocks skip midnight
        ("America/Sao_Paulo", date(2018, 11, 3), datetime(2018, 11, 4, 3, tzinfo=UTC)),
    ],
)
def test_a_date_is_the_last_microsecond_of_its_local_day(zone: str, day: date, end: datetime) -> None:
    rows = pl.DataFrame({"day": [day, None]})
    assert event_instants(rows, EventTime("day"), zone).to_list() == [end - timedelta(microseconds=1), None]


@given(
    st.sampled_from(ZONES), st.dates(date(1990, 1, 1), date(2035, 1, 1)).filter(lambda day: day != date(2011, 12, 30))
)
def test_a_date_falls_into_the_partition_of_its_own_day(zone: str, day: date) -> None:
    [instant] = event_instants(pl.DataFrame({"day": [day]}), EventTime("day"), zone)
    partition = PartitionCalendar("day", date(1980, 1, 1), None, zone).partition_of(instant.astimezone(UTC))
    assert partition is not None
    assert partition.key == day.isoformat()
