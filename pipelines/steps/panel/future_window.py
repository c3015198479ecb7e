"""Answers what happened after a row's moment: null, not 0, until every partition that the window covers is held."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import polars as pl

from pipelines.spec.partitions import PartitionCalendar
from pipelines.steps.features.aggregates.answers import Aggregation
from pipelines.steps.features.aggregates.compute import EVENT, KNOWN, TIME, aggregate
from pipelines.tables.column_types import UTC_TIMESTAMP

LABEL_TIME = "label_time"
LATEST = "__latest"


@dataclass(frozen=True)
class HeldPartitions:
    """The partitions of a source that are held, and how long after its end each is known."""

    calendar: PartitionCalendar
    due: timedelta
    keys: Collection[str]
    _known: dict[tuple[datetime, timedelta], datetime | None] = field(default_factory=dict, compare=False)

    def known_time(self, moment: datetime, within: timedelta) -> datetime | None:
        """When all is known that happens in ``(moment, moment + within]``.

        None while a partition of that time is not held, and for ever where the calendar has none for a part of it.
        """
        question = (moment, within)
        if question not in self._known:
            self._known[question] = self._known_time(moment, within)
        return self._known[question]

    def _known_time(self, moment: datetime, within: timedelta) -> datetime | None:
        instant, last = moment + timedelta(microseconds=1), moment + within
        partition = self.calendar.partition_of(instant)
        while partition is not None and partition.key in self.keys:
            if last < partition.end:
                return max(last, partition.end + self.due)
            partition = self.calendar.partition_of(partition.end)
        return None


def future_window(
    rows: pl.DataFrame,
    events: pl.DataFrame,
    by: Sequence[str],
    aggregations: Sequence[Aggregation],
    within: timedelta,
    held: HeldPartitions,
    *,
    ties: Sequence[str] = (),
) -> pl.DataFrame:
    """One row per row of ``rows``, in their order: each aggregation over ``(t, t + within]``, and ``LABEL_TIME``.

    ``rows``: ``by`` and ``TIME``, which is ``t``. ``events``: ``by``, ``EVENT``, ``KNOWN`` and the columns that are
    aggregated; an event whose values are never known (null) does not count. ``LABEL_TIME`` is the latest of
    ``t + within``, of the known times of the events in the window, and of that of the last partition that covers it;
    it and all answers are null while one of these partitions is not held, and where the calendar ends before them.
    """
    moments = rows.select(pl.col(TIME).unique().drop_nulls()).to_series()
    known = pl.DataFrame(
        {TIME: moments, "__held": [held.known_time(moment, within) for moment in moments]},
        schema={TIME: UTC_TIMESTAMP, "__held": UTC_TIMESTAMP},
    )
    questions = rows.select(*by, pl.col(TIME).cast(UTC_TIMESTAMP) + within)
    visible = events.with_columns(
        pl.col(KNOWN).cast(UTC_TIMESTAMP).to_physical().alias(LATEST),
        pl.when(pl.col(KNOWN).is_not_null()).then(pl.col(EVENT)).alias(KNOWN),
    )
    latest = Aggregation(LATEST, "max", LATEST, within)
    answers = aggregate(
        questions, visible, by, [*(replace(item, window=within) for item in aggregations), latest], ties=ties
    )
    times = rows.select(pl.col(TIME).cast(UTC_TIMESTAMP)).join(known, on=TIME, how="left", maintain_order="left")
    last = answers[LATEST].cast(pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    label_time = times.select(
        pl.when(pl.col("__held").is_not_null()).then(pl.max_horizontal("__held", pl.lit(last))).alias(LABEL_TIME)
    ).to_series()
    is_known = label_time.is_not_null()
    return answers.drop(LATEST).select(pl.when(is_known).then(pl.all())).with_columns(label_time)
