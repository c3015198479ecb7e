"""When the values of each row were known (UTC), computed from its columns and its day as its source declares."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.spec.known_time import KnownTime
from pipelines.spec.partitions import first_instant
from pipelines.tables.column_types import UTC_TIMESTAMP
from pipelines.tables.event_instants import MICROSECONDS_PER_MINUTE


def known_instants(rows: pl.DataFrame, known: Sequence[KnownTime], events: pl.Series, timezone: str) -> pl.Series:
    """One instant per row: the latest of all ``known``; null where one of them is not known yet.

    ``events``: the event time of each row. ``rows`` have their ``day``, the date of their partition.
    """
    latest = [_instants(rows, time, events, timezone) for time in dict.fromkeys(known)]
    if not latest:
        return events
    columns = [instants.alias(str(number)) for number, instants in enumerate(latest)]
    all_known = pl.all_horizontal(pl.all().is_not_null())
    return pl.DataFrame(columns).select(pl.when(all_known).then(pl.max_horizontal(pl.all()))).to_series()


def _instants(rows: pl.DataFrame, known: KnownTime, events: pl.Series, timezone: str) -> pl.Series:
    if known.anchor == "event":
        anchor = events
    else:
        later = timedelta(days=known.anchor == "partition_end")
        zone = ZoneInfo(timezone)
        begins = {day: first_instant(day + later, zone) for day in rows["day"].unique()}
        anchor = rows["day"].replace_strict(begins, return_dtype=UTC_TIMESTAMP)
    minutes = [
        (pl.col(name).cast(pl.Float64) * MICROSECONDS_PER_MINUTE).round().cast(pl.Int64) for name in known.minutes
    ]
    delay = pl.sum_horizontal(pl.lit(0), *minutes, ignore_nulls=False).cast(pl.Duration("us"))
    return rows.select((pl.lit(anchor) + delay + known.offset).cast(UTC_TIMESTAMP).alias("known")).to_series()
