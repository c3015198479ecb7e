"""Says which events a question sees: two positions in sorted events, and so differences of running sums, are enough.

With ``opens = max(known, event)`` an event is visible to a question at ``t`` while ``opens <= t < event + window``. Of
an entity's events those with ``opens <= t`` are a prefix in the order of opening, those with ``event <= t - window``
a prefix in the order of events, and once the events that are never visible (``opens - event >= window``) are left out,
the second set lies in the first. What is visible is the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
NONE = -1
"""Stands for no entity, and for no event of its own."""
MAX_KEY = 1 << 62


@dataclass(frozen=True)
class Questions:
    """One entry per question: its entity's number, its moment in microseconds, and the number of its own event."""

    entity: Integers
    time: Integers
    own: Integers
    """Position of the question's own event among the events given, which it never sees; -1: it has none."""

    def __len__(self) -> int:
        return len(self.time)


class Timeline:
    """Events by entity, then event time, then whatever breaks ties: position ``i`` is the same in every array."""

    def __init__(self, entity: Integers, event: Integers, opens: Integers, rows: Integers) -> None:
        """``rows``: where each event lies among the events given. Times are in microseconds."""
        self.entity, self.event, self.opens, self.rows = entity, event, opens, rows

    def __len__(self) -> int:
        return len(self.event)

    @cached_property
    def by_opening(self) -> Integers | None:
        """Positions of the events by entity and opening; None where that is the order of events."""
        if np.array_equal(self.opens, self.event):
            return None
        return np.lexsort((self.opens, self.entity)).astype(np.int64)

    @cached_property
    def place_in_opening(self) -> Integers | None:
        """Of each event its place in the order of opening; None where that is the order of events."""
        if self.by_opening is None:
            return None
        places = np.empty_like(self.by_opening)
        places[self.by_opening] = np.arange(len(self), dtype=np.int64)
        return places

    @cached_property
    def largest_entity(self) -> int:
        """Events of the entity that has most."""
        return int(np.bincount(self.entity).max()) if len(self) else 0

    def in_opening_order(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values if self.by_opening is None else values[self.by_opening]

    def select(self, keep: Flags) -> Timeline:
        """The timeline of these events alone."""
        part = Timeline(self.entity[keep], self.event[keep], self.opens[keep], self.rows[keep])
        if self.by_opening is not None and not np.array_equal(part.opens, part.event):
            order = self.by_opening[keep[self.by_opening]]
            part.by_opening = (np.cumsum(keep) - 1)[order]
        return part

    @cached_property
    def _keys(self) -> _Keys:
        return _Keys(self)

    def events_until(self, entity: Integers, time: Integers | None) -> Integers:
        """Number of events of all entities before, and of this one with ``event <= time``; None: of those before."""
        return np.searchsorted(self._keys.events, self._keys.of(entity, time), side="right")

    def opened_until(self, entity: Integers, time: Integers | None) -> Integers:
        """The same of those with ``opens <= time``."""
        keys = self._keys.events if self.by_opening is None else self._keys.openings
        return np.searchsorted(keys, self._keys.of(entity, time), side="right")


class _Keys:
    """Entity and time as one integer that ascends with both, so that one search finds a place for each question.

    Where a product of entities and microseconds is beyond 64 bits, the time is its rank among those of the events.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._first = int(timeline.event.min()) - 1 if len(timeline) else 0
        last = int(timeline.opens.max()) if len(timeline) else 0
        self._width = last - self._first + 1
        self._ranks: Integers | None = None
        if len(timeline) and (int(timeline.entity[-1]) + 2) * self._width >= MAX_KEY:
            self._ranks = np.unique(np.concatenate([timeline.event, timeline.opens]))
            self._width = len(self._ranks) + 1

    @cached_property
    def events(self) -> Integers:
        return self.of(self._timeline.entity, self._timeline.event)

    @cached_property
    def openings(self) -> Integers:
        keys = self.of(self._timeline.entity, self._timeline.opens)
        return keys if self._timeline.by_opening is None else keys[self._timeline.by_opening]

    def of(self, entity: Integers, time: Integers | None) -> Integers:
        if time is None:
            return entity * self._width
        if self._ranks is not None:
            return entity * self._width + np.searchsorted(self._ranks, time, side="right")
        return entity * self._width + np.clip(time - self._first, 0, self._width - 1)


class Visible:
    """What each question sees of a timeline in one window ``(t - window, t]``, its own event aside."""

    def __init__(self, timeline: Timeline, questions: Questions, window: int | None) -> None:
        """``window`` in microseconds; None reaches back without end."""
        self.window, self.questions = window, questions
        self.event_mask: Flags | None = None
        """The events of the whole timeline that are visible at any moment; None: all."""
        if window is not None and timeline.by_opening is not None:
            is_visible = timeline.opens - timeline.event < window
            if not is_visible.all():
                self.event_mask, timeline = is_visible, timeline.select(is_visible)
        self.timeline = timeline
        start = None if window is None else questions.time - window
        self.opened = timeline.opened_until(questions.entity, questions.time)
        self.closed = timeline.events_until(questions.entity, start)
        self._start = start
        self.own = self._own_positions()
        """Position of the own event in the timeline where it would be visible; -1 elsewhere."""

    def _own_positions(self) -> Integers | None:
        questions = self.questions
        if not (questions.own != NONE).any():
            return None
        positions = np.full(
            max(int(questions.own.max()), int(self.timeline.rows.max(initial=0))) + 1, NONE, dtype=np.int64
        )
        positions[self.timeline.rows] = np.arange(len(self.timeline))
        own = np.where(questions.own == NONE, NONE, positions[questions.own])
        at = np.flatnonzero(own != NONE)
        mine, time = own[at], questions.time[at]
        is_visible = (self.timeline.opens[mine] <= time) & (self.timeline.entity[mine] == questions.entity[at])
        if self.window is not None:
            is_visible &= self.timeline.event[mine] > time - self.window
        own[at[~is_visible]] = NONE
        return own if is_visible.any() else None

    @cached_property
    def opened_before(self) -> Integers:
        """Number of events that opened before the window: every visible one opened later."""
        if self.timeline.by_opening is None:
            return self.closed
        return self.timeline.opened_until(self.questions.entity, self._start)

    @cached_property
    def count_with_own(self) -> Integers:
        return self.opened - self.closed

    @cached_property
    def count(self) -> Integers:
        """Number of visible events."""
        return self.count_with_own if self.own is None else self.count_with_own - (self.own != NONE)

    def of_timeline(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of the whole timeline, of those events that this window keeps."""
        return values if self.event_mask is None else values[self.event_mask]


class RunningSums:
    """Sums of integers over what each question sees, as the difference of two running sums.

    Sums may wrap around on their way: the difference is right as long as it fits 64 bits itself.
    """

    def __init__(self, timeline: Timeline, values: Integers) -> None:
        """``values``: one of each event of the timeline."""
        self._values = values
        self._until_event = _running(values)
        same = timeline.by_opening is None
        self._until_opening = self._until_event if same else _running(timeline.in_opening_order(values))

    def of(self, visible: Visible, part: slice = slice(None)) -> Integers:
        """Of these questions, in a window over the same timeline."""
        sums = self._until_opening[visible.opened[part]] - self._until_event[visible.closed[part]]
        if visible.own is not None:
            own = visible.own[part]
            sums -= np.where(own == NONE, 0, self._values[own])
        return sums


def _running(values: npt.NDArray[Any]) -> Integers:
    """Sums of the first 0, 1, 2, … values."""
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return sums
