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


def extremes(visible: Visible, values: Numbers, present: Flags, *, highest: bool) -> Numbers:
    """The highest (or lowest) present value that each question sees; arbitrary where it sees none.

    ``values`` and ``present``: one entry per event of ``visible.timeline``.
    """
    timeline = visible.timeline
    better = np.maximum if highest else np.minimum
    nothing = _nothing(values, highest=highest)
    values = np.where(present, values, nothing).astype(values.dtype)
    first, last = visible.opened_before, visible.opened
    stragglers = last - first != visible.count_with_own
    clean_first, clean_last = np.where(stragglers, 0, first), np.where(stragglers, 0, last)
    table = timeline.in_opening_order(values)
    if visible.own is None:
        best = _of_ranges(table, clean_first, clean_last, better, nothing)
    else:
        places = timeline.place_in_opening
        own = visible.own if places is None else np.where(visible.own == NONE, NONE, places[visible.own])
        split = np.where(own == NONE, clean_last, np.clip(own, clean_first, clean_last))
        best = _of_ranges(table, clean_first, split, better, nothing)
        rest = np.where(own == NONE, clean_last, np.clip(own + 1, clean_first, clean_last))
        best = better(best, _of_ranges(table, rest, clean_last, better, nothing))
    if stragglers.any():
        _look_at_each(visible, np.flatnonzero(stragglers & (visible.count > 0)), values, best, better, nothing)
    return best


def _nothing(values: Numbers, *, highest: bool) -> Any:
    """The value that every other one is better than."""
    if values.dtype == np.int64:
        return np.iinfo(np.int64).min if highest else np.iinfo(np.int64).max
    return -np.inf if highest else np.inf


def _of_ranges(table: Numbers, first: Integers, last: Integers, better: np.ufunc, nothing: Any) -> Numbers:
    """Best of ``table[first:last]`` for each pair, from ranges of 1, 2, 4, … entries; ``nothing`` where it is empty."""
    best = np.full(len(first), nothing, dtype=table.dtype)
    length = last - first
    level = np.frexp(np.maximum(length, 0).astype(np.float64))[1] - 1
    for power in range(int(level.max(initial=-1)) + 1):
        if power:
            half = 1 << (power - 1)
            table = better(table[:-half], table[half:])
        at = np.flatnonzero(level == power)
        best[at] = better(table[first[at]], table[last[at] - (1 << power)])
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
