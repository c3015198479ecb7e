"""Says which entities were active at each of a panel's moments: those with an event that was known and not too old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from pipelines.steps.features.aggregates.compute import EVENT, KNOWN, TIME
from pipelines.tables.column_types import UTC_TIMESTAMP


def active_entities(
    events: pl.DataFrame, by: Sequence[str], moments: Sequence[datetime], span: timedelta
) -> pl.DataFrame:
    """One row per entity and moment ``t`` at which an event with event time in ``(t - span, t]`` was known.

    ``events``: the columns ``by``, which name the entity, ``EVENT`` and ``KNOWN``; one without a time, without a known
    time, or with a null among ``by`` makes nobody active. ``moments`` ascend. Returned are ``TIME`` and ``by``, in
    their order, each combination once; memory is that of the events and of the answer.
    """
    known = events.select(*by, EVENT, KNOWN).drop_nulls()
    opens, closes = pl.max_horizontal(EVENT, KNOWN), pl.col(EVENT) + span
    visible = known.select(*by, opens.alias("__opens"), closes.alias("__closes")).filter(
        pl.col("__opens") < pl.col("__closes")
    )
    times = pl.Series(TIME, list(moments), dtype=UTC_TIMESTAMP)
    # An event is visible from ``opens`` until just before ``closes``: at the moments of these places.
    places = visible.with_columns(
        __first=times.search_sorted(visible["__opens"], side="left").cast(pl.Int64),
        __after=times.search_sorted(visible["__closes"], side="left").cast(pl.Int64),
    ).filter(pl.col("__first") < pl.col("__after"))
    ranges = _merged(places.select(*by, "__first", "__after"), by)
    count = (ranges["__after"] - ranges["__first"]).to_numpy()
    row = np.repeat(np.arange(ranges.height), count)
    place = ranges["__first"].to_numpy()[row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return ranges.select(by)[row].with_columns(times.gather(place)).select(TIME, *by).sort(TIME, *by)


def _merged(ranges: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The ranges ``[first, after)`` of each entity, those that overlap or touch as one."""
    ordered = ranges.sort(*by, "__first")
    before = pl.col("__after").cum_max().shift(1).over(by)
    begins = pl.col("__first") > before.fill_null(-1)
    return (
        ordered.with_columns(__range=begins.cast(pl.Int64).cum_sum())
        .group_by("__range", maintain_order=True)
        .agg(*(pl.col(name).first() for name in by), pl.col("__first").first(), pl.col("__after").max())
    )
