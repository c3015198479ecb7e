"""How many different values each question sees: where a value begins to be visible, less where it ceases to be.

The intervals in which the events of one value are visible are merged; a question sees as many values as merged
intervals have begun by then and not ended.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pipelines.steps.features.aggregates.timeline import NONE, Flags, Integers, Timeline, Visible


class DistinctValues:
    """Events of a timeline by value: ``codes`` numbers the values, ``present`` says where there is one."""

    def __init__(self, timeline: Timeline, codes: Integers, present: Flags) -> None:
        rows = np.flatnonzero(present)
        self._timeline, self._present = timeline, present
        groups = timeline.entity[rows] * (int(codes.max(initial=0)) + 1) + codes[rows]
        self._groups = np.full(len(timeline), NONE, dtype=np.int64)
        self._groups[rows] = np.unique(groups, return_inverse=True)[1]
        opens = timeline.opens[rows]
        self._rows: Integers = rows[np.lexsort((opens, self._groups[rows]))]
        """Positions of the events by value of an entity, then opening."""

    @cached_property
    def _by_event(self) -> Integers:
        """The same by value, then event time."""
        return self._rows[np.argsort(self._groups[self._rows] * (len(self._timeline) + 1) + self._rows, kind="stable")]

    def count(self, visible: Visible) -> Integers:
        """Number of different values that each question sees. ``visible``: over the same timeline."""
        timeline, rows = self._timeline, self._rows
        begins, ends = np.zeros(len(timeline), dtype=np.int64), np.zeros(len(timeline), dtype=np.int64)
        if len(rows):
            group = self._groups[rows]
            starts = np.concatenate([[True], group[1:] != group[:-1]])
            # Of the events of a value so far, the one that closes last, by its place among all events of the values.
            place = np.empty(len(timeline), dtype=np.int64)
            place[self._by_event] = np.arange(len(rows))
            closing = self._by_event[np.maximum.accumulate(place[rows])]
            if visible.window is not None:
                gap = timeline.opens[rows[1:]] - timeline.event[closing[:-1]] >= visible.window
                starts[1:] |= gap
            begins[rows[starts]] = 1
            ends[closing[np.concatenate([starts[1:], [True]])]] = 1
        distinct = self._difference(visible, begins, ends)
        return distinct if visible.own is None else distinct - self._seen_by_own_alone(visible)

    @staticmethod
    def _difference(visible: Visible, begins: Integers, ends: Integers) -> Integers:
        begun = np.concatenate([[0], np.cumsum(visible.timeline.in_opening_order(begins), dtype=np.int64)])
        ended = np.concatenate([[0], np.cumsum(ends)])
        return begun[visible.opened] - ended[visible.closed]  # type: ignore[no-any-return]

    def _seen_by_own_alone(self, visible: Visible) -> Integers:
        """1 where the own event is the only visible one with its value."""
        assert visible.own is not None
        at = np.flatnonzero((visible.own != NONE) & (self._groups[visible.own] != NONE))
        alone = np.zeros(len(visible.own), dtype=np.int64)
        if not len(at):
            return alone
        group = self._groups[visible.own[at]]
        of_value = Timeline(
            self._groups[self._by_event],
            self._timeline.event[self._by_event],
            self._timeline.opens[self._by_event],
            self._by_event,
        )
        time = visible.questions.time[at]
        start = None if visible.window is None else time - visible.window
        seen = of_value.opened_until(group, time) - of_value.events_until(group, start)
        alone[at] = seen == 1
        return alone
