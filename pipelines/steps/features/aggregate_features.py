"""Computes the declared aggregates of a view, each event known once all that the aggregate reads of it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from pipelines.spec.aggregate import Aggregate
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.row_expression import parsed
from pipelines.steps.features.aggregates.answers import Aggregation
from pipelines.steps.features.aggregates.compute import EVENT, KNOWN, ROW, TIME, aggregate
from pipelines.steps.features.row_expression import row_expression
from pipelines.tables.event_instants import event_instants
from pipelines.tables.known_instants import known_instants

MICROSECONDS = {"minutes": 60e6, "hours": 3_600e6, "days": 86_400e6}
Group = tuple[str, tuple[str, ...], str, timedelta | None, tuple[object, ...]]


def aggregate_features(
    view: FeatureView, rows: pl.DataFrame, frames: Mapping[str, pl.DataFrame], dataset: DatasetSpec
) -> dict[str, pl.Series]:
    """Each aggregate of the ``rows``, which have a ``prediction_time`` and their own ``ROW`` among the entities.

    Aggregates of one source, group, clock and known time are computed together.
    """
    groups: dict[Group, dict[str, Aggregate]] = {}
    for name, how in view.aggregates().items():
        known = dict.fromkeys(dataset.known_time(how.of, column) for column in how.columns_read())
        groups.setdefault((how.of, tuple(how.by), how.clock, how.max_delay, tuple(known)), {})[name] = how
    columns: dict[str, pl.Series] = {}
    for (source, by, clock, _, _), members in groups.items():
        events = _events(view, next(iter(members.values())), frames[source], dataset)
        conditions = {how.where: f"__where_{number}" for number, how in enumerate(members.values()) if how.where}
        zone = dataset.partition.timezone
        events = events.with_columns(
            row_expression(parsed(where), events.schema, zone).alias(name) for where, name in conditions.items()
        )
        items = [
            Aggregation(name, how.function, how.column, how.window, conditions.get(how.where) if how.where else None)
            for name, how in members.items()
        ]
        own = [pl.col(ROW)] if source == view.entity_source and view.panel is None else []
        questions = rows.select(*by, pl.col("prediction_time").alias(TIME), *own)
        ties = dataset.sources[source].stored_key
        answers = aggregate(questions, events, by, items, clock="known" if clock == "known" else "event", ties=ties)
        columns |= {name: _in_unit(answers[name], how) for name, how in members.items()}
    return columns


def _events(view: FeatureView, how: Aggregate, frame: pl.DataFrame, dataset: DatasetSpec) -> pl.DataFrame:
    """The rows of a source with both of their times.

    With the clock ``known`` those that are known the row's lead or more before their event, or more than ``max_delay``
    after it, are left out: they would lie in days that no window reaches.
    """
    event_time, timezone = dataset.sources[how.of].stored_time, dataset.partition.timezone
    assert event_time is not None, "a source without event time is refused when the view is read"
    event = event_instants(frame, event_time, timezone)
    known = [dataset.known_time(how.of, column) for column in how.columns_read()]
    events = frame.with_columns(event.alias(EVENT), known_instants(frame, known, event, timezone).alias(KNOWN))
    if how.clock == "event":
        return events
    delay = pl.col(KNOWN) - pl.col(EVENT)
    return events.filter((delay > -view.lead) & (delay <= how.max_delay))


def _in_unit(answers: pl.Series, how: Aggregate) -> pl.Series:
    if how.unit is None:
        return answers
    return answers.dt.total_microseconds().cast(pl.Float64) / MICROSECONDS[how.unit]
