"""When the event of each row happened (UTC), computed from its columns as its source declares."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.spec.event_time import EventTime
from pipelines.spec.partitions import first_instant
from pipelines.tables.column_types import UTC_TIMESTAMP

MICROSECONDS_PER_MINUTE = 60_000_000
EPOCH = date(1970, 1, 1)
FIRST_DAY, LAST_DAY = (date.min - EPOCH).days, (date.max - EPOCH).days
"""Days since 1970-01-01 of the first and the last that Python has."""
MOST_MINUTES = 10_000 * 366 * 1440
"""As many as all years that a time can have; a time moved by more would have no such year."""


def event_instants(rows: pl.DataFrame, event_time: EventTime, timezone: str) -> pl.Series:
    """One instant per row of typed columns; null where one of the columns is null, and outside of the years 1 to 9999.

    A date is the last microsecond of its day in ``timezone``, or of the year 9999.
    """
    times = rows[event_time.column].alias("event_time")
    if times.dtype == pl.Date:
        zone = ZoneInfo(timezone)
        ends = {day: _last_instant(day, zone) for day in times.drop_nulls().unique()}
        return times.replace_strict(ends, default=None, return_dtype=UTC_TIMESTAMP)
    total = pl.sum_horizontal(pl.lit(0), *map(_microseconds, event_time.minutes), ignore_nulls=False)
    instants = (pl.lit(times) + total.cast(pl.Duration("us"))).cast(UTC_TIMESTAMP)
    has_year = instants.dt.epoch("d").is_between(FIRST_DAY, LAST_DAY)
    return rows.select(pl.when(has_year).then(instants).alias("event_time")).to_series()


def _microseconds(column: str) -> pl.Expr:
    minutes = pl.col(column).cast(pl.Float64)
    return (pl.when(minutes.abs() <= MOST_MINUTES).then(minutes) * MICROSECONDS_PER_MINUTE).round().cast(pl.Int64)


def _last_instant(day: date, zone: ZoneInfo) -> datetime:
    last = datetime.max.replace(tzinfo=UTC)
    return (
        last if day == date.max else min(first_instant(day + timedelta(days=1), zone) - timedelta(microseconds=1), last)
    )
