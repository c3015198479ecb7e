"""The rows of a source as events, with the time at which each happened and that at which what is read was known."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from pipelines.spec.dataset import DatasetSpec
from pipelines.steps.features.aggregates.compute import EVENT, KNOWN
from pipelines.tables.event_instants import event_instants
from pipelines.tables.known_instants import known_instants


def source_events(frame: pl.DataFrame, source: str, columns: Iterable[str], dataset: DatasetSpec) -> pl.DataFrame:
    """``frame``, rows of the source with their ``day``, with ``EVENT`` and ``KNOWN``: once all ``columns`` are."""
    event_time, timezone = dataset.sources[source].stored_time, dataset.partition.timezone
    assert event_time is not None, "a source without event time is refused when the view is read"
    event = event_instants(frame, event_time, timezone)
    known = [dataset.known_time(source, column) for column in columns]
    return frame.with_columns(event.alias(EVENT), known_instants(frame, known, event, timezone).alias(KNOWN))
