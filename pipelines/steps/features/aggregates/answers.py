"""Answers aggregations in groups of the same events, column and window, so that sums and searches are made once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from pipelines.steps.features.aggregates.distinct import DistinctValues
from pipelines.steps.features.aggregates.exact_sum import Digits, Numbers, digits_of, squares_of
from pipelines.steps.features.aggregates.extremes import extremes
from pipelines.steps.features.aggregates.moments import Sums, moments, sums_of
from pipelines.steps.features.aggregates.newest import newest
from pipelines.steps.features.aggregates.timeline import (
    NONE,
    Flags,
    Integers,
    Questions,
    RunningSums,
    Timeline,
    Visible,
)

Function = Literal[
    "count", "sum", "mean", "min", "max", "std", "first", "last", "count_distinct", "share", "exists", "since_last"
]
MOMENTS = ("sum", "mean", "std")


@dataclass(frozen=True)
class Aggregation:
    """One column of the answer.

    ``column``: what is aggregated; for ``count`` none counts events, else the values that are there. ``where``: a
    Boolean column; null counts as false. ``share`` is the part of all visible events where it is true.
    """

    name: str
    function: Function
    column: str | None = None
    window: timedelta | None = None
    where: str | None = None

    @property
    def selection(self) -> str | None:
        """The column that selects the events; a share is over all of them."""
        return None if self.function == "share" else self.where


@dataclass(frozen=True)
class OrderedEvents:
    """Events by entity and time, and their columns in that order."""

    timeline: Timeline
    columns: pl.DataFrame

    def select(self, keep: Flags) -> OrderedEvents:
        return OrderedEvents(self.timeline.select(keep), self.columns.filter(pl.Series(keep)))

    def true(self, column: str) -> Flags:
        """Where a Boolean column is true; null is false."""
        return self.columns[column].fill_null(False).to_numpy()


def answers(events: OrderedEvents, questions: Questions, aggregations: Sequence[Aggregation]) -> list[pl.Series]:
    """One series per aggregation, with one value per question."""
    results: dict[str, pl.Series] = {}
    for selection in dict.fromkeys(item.selection for item in aggregations):
        same = [item for item in aggregations if item.selection == selection]
        selected = events if selection is None else events.select(events.true(selection))
        windows = dict.fromkeys(item.window for item in same)
        views = {window: _View(selected, questions, window) for window in windows}
        for column in dict.fromkeys(item.column for item in same):
            values = _Values(selected.timeline, selected.columns[column]) if column else None
            functions = {item.function for item in same if item.column == column}
            for window in windows:
                of_window = [item for item in same if (item.column, item.window) == (column, window)]
                answer = _Answer(views[window], values, functions)
                results |= {item.name: answer.of(item).alias(item.name) for item in of_window}
    return [results[item.name] for item in aggregations]


class _View:
    """What the questions see in one window, and what does not depend on a column."""

    def __init__(self, events: OrderedEvents, questions: Questions, window: timedelta | None) -> None:
        length = None if window is None else window // timedelta(microseconds=1)
        self.events, self.visible = events, Visible(events.timeline, questions, length)

    @cached_property
    def newest(self) -> Integers:
        return newest(self.visible)


class _Values:
    """A column of the events: what is there, and as numbers where it is numeric or Boolean."""

    def __init__(self, timeline: Timeline, series: pl.Series) -> None:
        if series.dtype.is_float():
            series = pl.select(pl.when(series.is_finite()).then(series)).to_series()
        self._timeline, self.series = timeline, series
        self.present: Flags = series.is_not_null().to_numpy()
        self._all_sums: Sums | None = None

    @cached_property
    def numbers(self) -> Numbers:
        """Int64 of integers and Booleans, else Float64; 0 where there is none."""
        kind = pl.Int64 if self.series.dtype.is_integer() or self.series.dtype == pl.Boolean else pl.Float64
        return self.series.cast(kind).fill_null(0).to_numpy()

    @cached_property
    def digits(self) -> Digits:
        return digits_of(self.numbers, self.present, self._timeline.largest_entity)

    @cached_property
    def squares(self) -> Digits:
        return squares_of(self.numbers, self.present, self._timeline.largest_entity, self.digits.lowest)

    def sums(self, visible: Visible, *, squares: bool) -> Sums:
        """Running sums over the events that a window keeps; those over all events are made once."""
        if visible.event_mask is None and self._all_sums is not None:
            return self._all_sums
        keep = visible.event_mask
        whole = self.numbers.dtype == np.int64
        square = self.squares.select(keep) if squares else None
        sums = sums_of(visible.timeline, self.digits.select(keep), square, whole=whole)
        if keep is None:
            self._all_sums = sums
        return sums

    @cached_property
    def distinct(self) -> DistinctValues:
        codes = self.series.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
        return DistinctValues(self._timeline, codes, self.present)


class _Answer:
    """Answers about one column in one window."""

    def __init__(self, view: _View, values: _Values | None, functions: Collection[Function]) -> None:
        self._view, self._visible, self._all_values = view, view.visible, values
        self._functions = functions

    def of(self, item: Aggregation) -> pl.Series:
        """One value per question."""
        if item.function in MOMENTS:
            return self._moments[item.function]
        if item.function == "share":
            return self._share(item.where)
        plain: dict[str, Callable[[], pl.Series]] = {
            "count": lambda: pl.Series(self._count),
            "exists": lambda: pl.Series(self._count > 0),
            "min": lambda: self._extreme(highest=False),
            "max": lambda: self._extreme(highest=True),
            "first": self._first,
            "last": lambda: self._values_at(self._view.newest),
            "count_distinct": self._distinct,
            "since_last": self._since_last,
        }
        return plain[item.function]()

    @property
    def _values(self) -> _Values:
        assert self._all_values is not None
        return self._all_values

    @cached_property
    def _present(self) -> Flags:
        return self._visible.of_timeline(self._values.present)

    @cached_property
    def _numbers(self) -> Numbers:
        return self._visible.of_timeline(self._values.numbers)

    @cached_property
    def _count(self) -> Integers:
        """Visible events, or those of them that have a value."""
        if self._all_values is None or self._all_values.present.all():
            return self._visible.count
        return RunningSums(self._visible.timeline, self._present.astype(np.int64)).of(self._visible)

    @cached_property
    def _moments(self) -> dict[str, pl.Series]:
        moment_names = [name for name in MOMENTS if name in self._functions]
        sums = self._values.sums(self._visible, squares="std" in moment_names)
        return moments(self._visible, sums, self._count, moment_names)

    def _extreme(self, *, highest: bool) -> pl.Series:
        best = extremes(self._visible, self._numbers, self._present, highest=highest)
        return pl.select(pl.when(pl.Series(self._count > 0)).then(pl.Series(best))).to_series()

    def _share(self, where: str | None) -> pl.Series:
        assert where is not None
        true = self._visible.of_timeline(self._view.events.true(where)).astype(np.int64)
        count = self._visible.count
        share = RunningSums(self._visible.timeline, true).of(self._visible) / np.maximum(count, 1)
        return pl.select(pl.when(pl.Series(count > 0)).then(pl.Series(share))).to_series()

    def _first(self) -> pl.Series:
        positions = np.arange(len(self._visible.timeline), dtype=np.int64)
        oldest = extremes(self._visible, positions, np.ones(len(positions), dtype=np.bool_), highest=False)
        return self._values_at(np.where(self._visible.count > 0, oldest, NONE))

    def _values_at(self, positions: Integers) -> pl.Series:
        """Of each question the column's value of the event at its position; null for -1."""
        series = self._values.series
        if self._visible.event_mask is not None:
            series = series.filter(pl.Series(self._visible.event_mask))
        places = pl.Series(positions).cast(pl.Int64)
        return series.gather(pl.select(pl.when(places >= 0).then(places)).to_series())

    def _distinct(self) -> pl.Series:
        return pl.Series(self._values.distinct.count(self._visible))

    def _since_last(self) -> pl.Series:
        """The time since the newest event; null where there is none."""
        at = self._view.newest
        if not len(self._visible.timeline):
            return pl.repeat(None, len(at), dtype=pl.Duration("us"), eager=True)
        since = self._visible.questions.time - self._visible.timeline.event[at]
        return pl.select(pl.when(pl.Series(at != NONE)).then(pl.Series(since).cast(pl.Duration("us")))).to_series()
