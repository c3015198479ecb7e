"""The newest event that each question sees: a running maximum of the events' order, in the order of opening."""

from __future__ import annotations

import numpy as np

from pipelines.steps.features.aggregates.timeline import NONE, Integers, Visible


def newest(visible: Visible) -> Integers:
    """Position in ``visible.timeline`` of the newest visible event by its time and what breaks ties; -1: none.

    Of all that have opened it is the newest: if any is visible, that one is, as its window ends last.
    """
    timeline, opened = visible.timeline, visible.opened
    has_visible = visible.count > 0
    if not len(timeline):
        return np.full(len(opened), NONE, dtype=np.int64)
    order = timeline.by_opening
    if order is None:
        position = opened - 1
        if visible.own is not None:
            position = position - (position == visible.own)
        return np.where(has_visible, position, NONE)
    running = np.maximum.accumulate(order)
    last = np.maximum(opened - 1, 0)
    position = running[last]
    if visible.own is not None:
        displaced = np.concatenate([[NONE], np.minimum(order[1:], running[:-1])])
        second = np.maximum.accumulate(displaced)
        position = np.where(position == visible.own, second[last], position)
    return np.where(has_visible, position, NONE)
