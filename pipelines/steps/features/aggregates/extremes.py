"""Lowest and highest value of what each question sees: a doubling range table in the order of opening.

What opened within the window is a range of that order. It holds every visible event, and beside them only stragglers:
events before the window's start that opened within it. Questions with such an event are answered event by event.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.steps.features.aggregates.exact_sum import Numbers
from pipelines.steps.features.aggregates.timeline import NONE, Flags, Integers, Visible

PAIRS = 1 << 22
"""Pairs of a question and an event looked at together, which bounds the memory."""


class OpenedRanges:
    """What opened within each question's window, as ranges of the order of opening; the same for all columns."""

    def __init__(self, visible: Visible) -> None:
        self.visible = visible
        first, last = visible.opened_before, visible.opened
        stragglers = last - first != visible.count_with_own
        self.stragglers = np.flatnonzero(stragglers & (visible.count > 0)) if stragglers.any() else None
        """Questions that are answered event by event; None: none is."""
        if self.stragglers is not None:
            first, last = np.where(stragglers, 0, first), np.where(stragglers, 0, last)
        self._ranges = [_Ranges(first, last)] if visible.own is None else self._without_own(visible.own, first, last)

    def _without_own(self, own: Integers, first: Integers, last: Integers) -> list[_Ranges]:
        """What lies before the own event, and what lies after it."""
        places = self.visible.timeline.place_in_opening
        own = own if places is None else np.where(own == NONE, NONE, places[own])
        split = np.where(own == NONE, last, np.clip(own, first, last))
        rest = np.where(own == NONE, last, np.clip(own + 1, first, last))
        return [_Ranges(first, split), _Ranges(rest, last)]

    def best(self, table: Numbers, better: np.ufunc, nothing: Any) -> Numbers:
        """Best of each range of the table; ``nothing`` where it is empty."""
        best, *more = (ranges.best(table, better, nothing) for ranges in self._ranges)
        return better(best, more[0]) if more else best


def extremes(opened: OpenedRanges, values: Numbers, present: Flags, *, highest: bool) -> Numbers:
    """The highest (or lowest) present value that each question sees; arbitrary where it sees none.

    ``values`` and ``present``: one entry per event of the questions' timeline.
    """
    better = np.maximum if highest else np.minimum
    nothing = _nothing(values, highest=highest)
    values = np.where(present, values, nothing).astype(values.dtype)
    best = opened.best(opened.visible.timeline.in_opening_order(values), better, nothing)
    if opened.stragglers is not None:
        _look_at_each(opened.visible, opened.stragglers, values, best, better, nothing)
    return best


def _nothing(values: Numbers, *, highest: bool) -> Any:
    """The value that every other one is better than."""
    if values.dtype == np.int64:
        return np.iinfo(np.int64).min if highest else np.iinfo(np.int64).max
    return -np.inf if highest else np.inf


class _Ranges:
    """Ranges ``[first, last)`` of a table, each as two of 1, 2, 4, … entries that overlap."""

    def __init__(self, first: Integers, last: Integers) -> None:
        self._count = len(first)
        level = np.frexp(np.maximum(last - first, 0).astype(np.float64))[1] - 1
        self._levels: list[tuple[Integers, Integers, Integers]] = []
        for power in range(int(level.max(initial=-1)) + 1):
            at = np.flatnonzero(level == power)
            self._levels.append((at, first[at], last[at] - (1 << power)))

    def best(self, table: Numbers, better: np.ufunc, nothing: Any) -> Numbers:
        best = np.full(self._count, nothing, dtype=table.dtype)
        for power, (at, first, last) in enumerate(self._levels):
            if power:
                half = 1 << (power - 1)
                table = better(table[:-half], table[half:])
            best[at] = better(table[first], table[last])
        return best


def _look_at_each(
    visible: Visible, at: Integers, values: Numbers, best: Numbers, better: np.ufunc, nothing: Any
) -> None:
    """Answer these questions, each of which sees something, from every event that opened in their window."""
    timeline, window = visible.timeline, visible.window
    order = timeline.by_opening
    assert order is not None
    assert window is not None
    lengths = visible.opened[at] - visible.opened_before[at]
    ends = np.cumsum(lengths)
    start = 0
    while start < len(at):
        before = ends[start] - lengths[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + PAIRS, side="right")))
        question, count = at[start:stop], lengths[start:stop]
        begins = np.cumsum(count) - count
        places = np.arange(count.sum()) + np.repeat(visible.opened_before[question] - begins, count)
        events = order[places]
        is_visible = timeline.event[events] > np.repeat(visible.questions.time[question] - window, count)
        if visible.own is not None:
            is_visible &= events != np.repeat(visible.own[question], count)
        best[question] = better.reduceat(np.where(is_visible, values[events], nothing), begins)
        start = stop
