"""Answers questions about the events of their entity: counts, sums, extremes, newest and distinct values by window.

A question asks at ``t`` about one entity. It sees the events of that entity with event time in ``(t - window, t]`` that
were known at ``t``, but never its own. With the clock ``known`` it sees those with known time in ``(t - window, t]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl

from pipelines.steps.features.aggregates.answers import Aggregation, OrderedEvents, answers
from pipelines.steps.features.aggregates.timeline import NONE, Integers, Questions, Timeline

TIME, EVENT, KNOWN, ROW = "__time", "__event", "__known", "__row"
"""Columns of the frames: the question's moment; an event's two times; the number of a row, by which a question names
its own event."""
UTC_TIMESTAMP = pl.Datetime("us", "UTC")


def aggregate(
    questions: pl.DataFrame,
    events: pl.DataFrame,
    by: Sequence[str],
    aggregations: Sequence[Aggregation],
    *,
    clock: Literal["event", "known"] = "event",
    ties: Sequence[str] = (),
) -> pl.DataFrame:
    """One row per question, in their order, with a column per aggregation.

    ``questions``: ``by``, ``TIME``, and ``ROW`` where they have events of their own. ``events``: ``by``, ``EVENT``,
    ``KNOWN``, ``ROW`` likewise, and the columns that are aggregated. An event without a time, without a known time, or
    with a null among ``by`` is never seen; a question with a null sees nothing. Events of one instant are ordered by
    the columns ``ties``, then by the value.

    Of nothing, ``count``, ``sum`` and ``count_distinct`` are 0 and ``exists`` is false; all else is null, as is ``std``
    of one value. Values that are null, infinite or NaN are left out, but ``first`` and ``last`` give the value of their
    event, and null if it has none. ``since_last`` is a Duration.
    """
    used = [name for item in aggregations for name in (item.column, item.where) if name]
    numbered = _Entities(events, by)
    ordered = numbered.ordered(events, clock, ties, used)
    ordered_questions = numbered.questions(questions, events)
    order = _order(ordered_questions)
    if order is not None:
        ordered_questions = Questions(
            ordered_questions.entity[order], ordered_questions.time[order], ordered_questions.own[order]
        )
    frame = pl.DataFrame(answers(ordered, ordered_questions, aggregations))
    if order is None:
        return frame
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return frame[back]


def _order(ordered_questions: Questions) -> Integers | None:
    """The questions by entity and time, as searches in that order are quick; None if they are in it."""
    earlier = (ordered_questions.entity[1:] < ordered_questions.entity[:-1]) | (
        (ordered_questions.entity[1:] == ordered_questions.entity[:-1])
        & (ordered_questions.time[1:] < ordered_questions.time[:-1])
    )
    return np.lexsort((ordered_questions.time, ordered_questions.entity)).astype(np.int64) if earlier.any() else None


class _Entities:
    """Numbers the entities of events from 0, the same whatever the order of the rows."""

    def __init__(self, events: pl.DataFrame, by: Sequence[str]) -> None:
        self._by = list(by)
        self._numbers = (
            events.select(self._by).drop_nulls().unique().sort(self._by).with_row_index("__entity")
            if self._by
            else pl.DataFrame({"__entity": [0]})
        )

    def of(self, frame: pl.DataFrame) -> pl.Series:
        """Of each row its entity's number; -1 where it has none."""
        if not self._by:
            return pl.repeat(0, frame.height, dtype=pl.Int64, eager=True)
        joined = frame.select(self._by).join(self._numbers, on=self._by, how="left", maintain_order="left")
        return joined["__entity"].cast(pl.Int64).fill_null(NONE)

    def ordered(self, events: pl.DataFrame, clock: str, ties: Sequence[str], used: Sequence[str]) -> OrderedEvents:
        """The events that can be seen, by entity, the clock's time, ``ties``, then value."""
        event = EVENT if clock == "event" else KNOWN
        columns = list(dict.fromkeys([*ties, *used]))
        frame = (
            events.select(
                *columns,
                self.of(events).alias("__entity"),
                _microseconds(event).alias("__at"),
                _microseconds(KNOWN).alias("__opens"),
            )
            .with_row_index("__position")
            .filter((pl.col("__entity") >= 0) & pl.col("__at").is_not_null() & pl.col("__opens").is_not_null())
            .sort("__entity", "__at", *columns)
        )
        at = frame["__at"].to_numpy()
        opens = np.maximum(frame["__opens"].to_numpy(), at)
        timeline = Timeline(frame["__entity"].to_numpy(), at, opens, frame["__position"].cast(pl.Int64).to_numpy())
        return OrderedEvents(timeline, frame)

    def questions(self, questions: pl.DataFrame, events: pl.DataFrame) -> Questions:
        own = np.full(questions.height, NONE, dtype=np.int64)
        if ROW in questions.columns and ROW in events.columns:
            positions = events.select(ROW).with_row_index("__position")
            joined = questions.select(ROW).join(positions, on=ROW, how="left", maintain_order="left")
            own = joined["__position"].cast(pl.Int64).fill_null(NONE).to_numpy()
        time = questions.select(_microseconds(TIME)).to_series()
        entity = pl.select(pl.when(time.is_not_null()).then(self.of(questions)).otherwise(NONE)).to_series()
        return Questions(entity.to_numpy(), time.fill_null(0).to_numpy(), own)


def _microseconds(column: str) -> pl.Expr:
    return pl.col(column).cast(UTC_TIMESTAMP).to_physical()
