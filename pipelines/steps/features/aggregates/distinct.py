"""How many different values each question sees: where a value begins to be visible, less where it ceases to be.

The intervals in which the events of one value are visible are merged; a question sees as many values as merged
intervals have begun by then and not ended.
"""

from __future__ import annotations

import numpy as np

from pipelines.steps.features.aggregates.timeline import NONE, Flags, Integers, Timeline, Visible


class DistinctValues:
    """Events of a timeline by value: ``codes`` numbers the values, ``present`` says where there is one."""

    def __init__(self, timeline: Timeline, codes: Integers, present: Flags) -> None:
        self._timeline = timeline
        groups = timeline.entity * (int(codes.max(initial=0)) + 1) + codes
        self._groups = np.where(present, groups, NONE)
        """One number for an entity's events of one value; -1 where there is none."""
        self._by_event = self._by_value(np.arange(len(timeline)))
        self._by_opening = self._by_event if timeline.by_opening is None else self._by_value(timeline.by_opening)

    def _by_value(self, order: Integers) -> Integers:
        """The events that have a value, by entity and value, then in the given order."""
        rows = order[self._groups[order] != NONE]
        sorted_rows: Integers = rows[np.argsort(self._groups[rows], kind="stable")]
        return sorted_rows

    def count(self, visible: Visible) -> Integers:
        """Number of different values that each question sees. ``visible``: a window over the same timeline."""
        timeline, keep = self._timeline, visible.event_mask
        by_event, rows = (order if keep is None else order[keep[order]] for order in (self._by_event, self._by_opening))
        begins, ends = np.zeros(len(timeline), dtype=np.int64), np.zeros(len(timeline), dtype=np.int64)
        if len(rows):
            group = self._groups[rows]
            starts = np.concatenate([[True], group[1:] != group[:-1]])
            # Of the events of a value so far, the one that closes last, by its place among all events of the values.
            place = np.empty(len(timeline), dtype=np.int64)
            place[by_event] = np.arange(len(rows))
            closing = by_event[np.maximum.accumulate(place[rows])]
            if visible.window is not None:
                starts[1:] |= timeline.opens[rows[1:]] - timeline.event[closing[:-1]] >= visible.window
            begins[rows[starts]] = 1
            ends[closing[np.concatenate([starts[1:], [True]])]] = 1
        distinct = self._difference(visible, visible.of_timeline(begins), visible.of_timeline(ends))
        return distinct if visible.own is None else distinct - self._seen_by_own_alone(visible, by_event)

    @staticmethod
    def _difference(visible: Visible, begins: Integers, ends: Integers) -> Integers:
        begun = np.concatenate([[0], np.cumsum(visible.timeline.in_opening_order(begins), dtype=np.int64)])
        ended = np.concatenate([[0], np.cumsum(ends)])
        return begun[visible.opened] - ended[visible.closed]  # type: ignore[no-any-return]

    def _seen_by_own_alone(self, visible: Visible, by_event: Integers) -> Integers:
        """1 where the own event is the only visible one with its value."""
        assert visible.own is not None
        groups = visible.of_timeline(self._groups)
        at = np.flatnonzero((visible.own != NONE) & (groups[visible.own] != NONE))
        alone = np.zeros(len(visible.own), dtype=np.int64)
        if not len(at):
            return alone
        values, numbers = np.unique(self._groups[by_event], return_inverse=True)
        of_value = Timeline(numbers, self._timeline.event[by_event], self._timeline.opens[by_event], by_event)
        value, time = np.searchsorted(values, groups[visible.own[at]]), visible.questions.time[at]
        start = None if visible.window is None else time - visible.window
        alone[at] = of_value.opened_until(value, time) - of_value.events_until(value, start) == 1
        return alone
