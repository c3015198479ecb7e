"""Digests under which version 0.1 recorded the meaning that a feature still has, so that stored values stay its own.

Then a view declared the hour and the minute of its event, one column of delays, and one longest delay of all windows,
and had means and last values by known time. What it could not say has no former digest.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pipelines.spec.aggregate import Aggregate
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import (
    EVENT,
    CalendarPart,
    DirectColumn,
    FeatureView,
    LatestObservation,
    Lookup,
    RowExpression,
    Transformation,
)

PARTS = {"hour": "hour_local", "weekday": "day_of_week"}
WINDOWS = {"mean": "window_mean", "last": "last_value"}
HOUR = 3_600


def former_digests(view: FeatureView, dataset: DatasetSpec) -> dict[str, str]:
    """Feature to the sha256 that version 0.1 would have recorded, as far as it could say the same."""
    moment = _moment(view, dataset)
    digests = {}
    for name, feature in view.features.items():
        how = feature.transformation
        fields = _fields(how, view, dataset)
        if fields is None:
            continue
        digest = _sha256(f"{feature.type}|{json.dumps(fields, separators=(',', ':'))}")
        if isinstance(how, LatestObservation | Aggregate):
            if moment is None:
                continue
            digest = _sha256(f"{digest}|{moment}")
        digests[name] = digest
    return digests


def _moment(view: FeatureView, dataset: DatasetSpec) -> str | None:
    """What all features as of ``t`` had in common; None where the view could not be written so."""
    delays = {delay for how in view.aggregates().values() if (delay := _delay(how, view, dataset)) is not None}
    if len(delays) != 1 or view.event_time is None or len(view.event_time.minutes) != 1:
        return None
    [(column, hours)] = delays
    times = [view.event_time.column, *view.event_time.minutes]
    return "|".join([view.entity_source, *times, column, f"{view.lead.total_seconds() / HOUR:g}", f"{hours:g}"])


def _delay(how: Aggregate, view: FeatureView, dataset: DatasetSpec) -> tuple[str, float] | None:
    """The column of delays and the longest delay of a window by known time."""
    if how.clock != "known" or how.max_delay is None or how.of != view.entity_source:
        return None
    later = [time for column in how.columns_read() if (time := dataset.known_time(how.of, column)).minutes]
    if len(later) != 1 or later[0].offset or len(later[0].minutes) != 1:
        return None
    return later[0].minutes[0], how.max_delay.total_seconds() / HOUR


def _fields(how: Transformation, view: FeatureView, dataset: DatasetSpec) -> dict[str, Any] | None:
    """The transformation as it was declared then."""
    if isinstance(how, DirectColumn):
        return {"type": "column", "column": how.column}
    if isinstance(how, CalendarPart) and how.of == EVENT and how.part in PARTS:
        return {"type": "calendar", "part": PARTS[how.part]}
    if isinstance(how, Lookup):
        return _lookup(how, dataset, "value")
    if isinstance(how, RowExpression):
        names = list(how.lookups)
        if len(names) == 1 and how.expression == f"year(t) - {names[0]}":
            return _lookup(how.lookups[names[0]], dataset, "age_years")
        return None
    if isinstance(how, LatestObservation):
        time = dataset.sources[how.source].stored_time
        if time is None or time.minutes:
            return None
        head = {"type": "latest_observation", "source": how.source, "by": how.by, "time_column": time.column}
        return {**head, "column": how.column, "max_age_hours": how.max_age.total_seconds() / HOUR}
    if isinstance(how, Aggregate) and how.function in WINDOWS and _delay(how, view, dataset) and not how.where:
        hours = (how.window.total_seconds() if how.window else 0) / HOUR
        return {"type": WINDOWS[how.function], "by": how.by, "column": how.column, "window_hours": hours}
    return None


def _lookup(how: Lookup, dataset: DatasetSpec, value: str) -> dict[str, Any] | None:
    """Copies were taken by the day on which they landed: the same as known from the start of the partition."""
    if dataset.known_time(how.source, how.column).written() != "partition_start":
        return None
    if not all(isinstance(column, str) for column in how.on):
        return None
    return {"type": "lookup", "source": how.source, "on": how.on, "column": how.column, "as": value}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
