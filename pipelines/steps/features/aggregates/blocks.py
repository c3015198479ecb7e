"""Cuts ordered events and questions into blocks of whole entities, so that what is computed of one stays in the cache.

An entity's answers rest on its own events alone, so the blocks change no answer. An entity is never cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from pipelines.steps.features.aggregates.answers import OrderedEvents
from pipelines.steps.features.aggregates.timeline import NONE, Integers, Questions, Timeline

BLOCK = 1 << 17
"""Events and questions of a block together, but for its last entity: an array of either is half a MiB, and some of them
fit into the cache of a core."""


def blocks(events: OrderedEvents, questions: Questions) -> Iterator[tuple[OrderedEvents, Questions]]:
    """All questions in their order, in at least one block. Both are by entity; questions without one (-1) come first.

    ``questions.own``: position of the own event in the timeline; -1: none.
    """
    timeline = events.timeline
    for first, last in _entity_ranges(timeline.entity, questions.entity):
        begin, end = np.searchsorted(timeline.entity, (first, last))
        part = slice(*np.searchsorted(questions.entity, (first, last)))
        entity, own = timeline.entity[begin:end], questions.own[part]
        own = np.where((own >= begin) & (own < end), own - begin, NONE)
        rows = np.arange(end - begin, dtype=np.int64)
        of_block = Timeline(entity - max(first, 0), timeline.event[begin:end], timeline.opens[begin:end], rows)
        asked_about = np.where(questions.entity[part] == NONE, NONE, questions.entity[part] - max(first, 0))
        yield (
            OrderedEvents(of_block, events.columns.slice(int(begin), int(end - begin))),
            Questions(asked_about, questions.time[part], own),
        )


def _entity_ranges(*entities: Integers) -> Iterator[tuple[int, int]]:
    """First entity of each block and that after its last, from -1 to the last entity of all."""
    last = max(int(numbers[-1]) if len(numbers) else NONE for numbers in entities)
    sizes = sum((np.bincount(numbers + 1, minlength=last + 2) for numbers in entities), np.zeros(1, dtype=np.int64))
    until = np.cumsum(sizes)
    cuts = np.searchsorted(until, np.arange(BLOCK, int(until[-1]), BLOCK), side="left") + 1
    edges = np.unique([0, *cuts[cuts < last + 2], last + 2]) + NONE
    return pairwise(map(int, edges))
