"""When the event of each row happened (UTC), computed from its columns as its source declares."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.spec.event_time import EventTime
from pipelines.spec.partitions import first_instant
from pipelines.tables.column_types import UTC_TIMESTAMP

MICROSECONDS_PER_MINUTE = 60_000_000


def event_instants(rows: pl.DataFrame, event_time: EventTime, timezone: str) -> pl.Series:
    """One instant per row of typed columns; null where one of the columns is null.

    A date is the last microsecond of its day in ``timezone``.
    """
    times = rows[event_time.column].alias("event_time")
    if times.dtype == pl.Date:
        zone = ZoneInfo(timezone)
        ends = {day: _last_instant(day, zone) for day in times.drop_nulls().unique()}
        return times.replace_strict(ends, default=None, return_dtype=UTC_TIMESTAMP)
    offsets = [
        (pl.col(name).cast(pl.Float64) * MICROSECONDS_PER_MINUTE).round().cast(pl.Int64) for name in event_time.minutes
    ]
    total = pl.sum_horizontal(pl.lit(0), *offsets, ignore_nulls=False).cast(pl.Duration("us"))
    return rows.select((pl.lit(times) + total).cast(UTC_TIMESTAMP).alias("event_time")).to_series()


def _last_instant(day: date, zone: ZoneInfo) -> datetime:
    return first_instant(day + timedelta(days=1), zone) - timedelta(microseconds=1)
