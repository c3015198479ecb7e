"""Reads the labels of a view's rows from the store, each with the time from which it is known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from pipelines import store_paths
from pipelines.ports import Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.label import Label
from pipelines.spec.row_expression import columns_of, parsed
from pipelines.spec.window_label import WindowExpression
from pipelines.steps.features.aggregates.answers import Aggregation
from pipelines.steps.features.aggregates.compute import TIME
from pipelines.steps.features.row_expression import row_expression
from pipelines.steps.features.validated_table import ValidatedTable
from pipelines.steps.labels.row_labels import label_times, row_labels
from pipelines.steps.panel.events import source_events
from pipelines.steps.panel.future_window import LABEL_TIME, HeldPartitions, future_window
from pipelines.tables.column_types import no_rows

Versions = Mapping[str, int]
"""Table to the version that is read; of a table that is not named, the newest."""
WHERE = "__where"


def label_tables(view: FeatureView) -> list[str]:
    """The tables from which the labels are read: the rows' own, or those whose events a window tells of."""
    sources = view.label.window.sources if view.label and view.label.within else [view.entity_source]
    return [store_paths.validated(view.dataset, source) for source in sources]


def read_labels(
    store: Store,
    view: FeatureView,
    dataset: DatasetSpec,
    expression: str,
    days: Sequence[date] | None,
    versions: Versions | None = None,
) -> pl.DataFrame:
    """Key, ``day``, ``label_time`` and ``label`` (Float64) of the rows of these days (None: all).

    ``expression``: the target, over the columns of a row, or over a label that follows. Both are null where the label
    is not known. Rows whose label follows are those of the feature table.
    """
    versions = versions or {}
    if not view.label_follows:
        source = ValidatedTable(store, view, view.entity_source)
        columns = _columns_read(view, dataset, expression)
        rows = source.read(days, columns, versions.get(source.name))
        times, values = label_times(rows, expression, view, dataset), row_labels(rows, expression, dataset)
        return rows.select(*view.key, "day").with_columns(times, values)
    assert view.label is not None
    table = store_paths.features(view.view)
    rows = store.read(table, days=days, columns=[*view.key, "prediction_time"], version=versions.get(table))
    labels = _window_labels(rows.rename({"prediction_time": TIME}), view, view.label, dataset, store, versions)
    target = row_labels(labels, expression, dataset)
    is_known = pl.col(LABEL_TIME).is_not_null() & pl.col("label").is_not_null()
    known = rows.select(*view.key, "day").with_columns(labels[LABEL_TIME], target)
    return known.with_columns(pl.when(is_known).then(pl.col(name)).alias(name) for name in (LABEL_TIME, "label"))


def _columns_read(view: FeatureView, dataset: DatasetSpec, expression: str) -> list[str]:
    """Those of a row that say its label and when it is known."""
    target = columns_of(parsed(expression))
    if view.event_time is None:
        return list(dict.fromkeys([*view.key, *target]))
    known = [dataset.known_time(view.entity_source, column).columns for column in target]
    return list(
        dict.fromkeys([*view.key, *target, *view.event_time.columns, *(name for names in known for name in names)])
    )


def _window_labels(
    rows: pl.DataFrame, view: FeatureView, label: Label, dataset: DatasetSpec, store: Store, versions: Versions
) -> pl.DataFrame:
    """``label_time``, and the label under its name; ``rows`` have the entity's columns and ``TIME``."""
    assert label.within is not None
    window = label.window
    parts = [
        _of_source(rows, source, window, view, label, label.within, dataset, store, versions)
        for source in window.sources
    ]
    times = [part[LABEL_TIME] for part in parts]
    values = pl.DataFrame([column for part in parts for column in part.drop(LABEL_TIME)])
    value = row_expression(parsed(window.expression), values.schema, dataset.partition.timezone)
    all_known = pl.all_horizontal(pl.all().is_not_null())
    label_time = pl.DataFrame([time.alias(f"{number}") for number, time in enumerate(times)]).select(
        pl.when(all_known).then(pl.max_horizontal(pl.all())).alias(LABEL_TIME)
    )
    return values.select(value.alias(label.name)).hstack(label_time)


def _of_source(
    rows: pl.DataFrame,
    source: str,
    window: WindowExpression,
    view: FeatureView,
    label: Label,
    within: timedelta,
    dataset: DatasetSpec,
    store: Store,
    versions: Versions,
) -> pl.DataFrame:
    """The aggregates of one source over the window of each row, and ``label_time``."""
    table, zone = store_paths.validated(dataset.dataset, source), ZoneInfo(dataset.partition.timezone)
    calls = [call for call in window.calls if call.source == source]
    read = [*view.label_on, *(call.column for call in calls if call.column)]
    read += columns_of(parsed(label.where)) if label.where else []
    held = held_days(store, table)
    first, last = (value for value in (rows[TIME].min(), rows[TIME].max()))
    days: list[date] = []
    if first is not None and last is not None:
        begin, end = first.astimezone(zone).date(), (last + within).astimezone(zone).date()  # type: ignore[union-attr,operator]
        days = [day for day in store.days(table) if begin <= day <= end]
    frame = store.read(table, days=days, version=versions.get(table)) if days else no_rows(dataset.sources[source])
    events = source_events(frame, source, read, dataset)
    where = WHERE if label.where else None
    if label.where:
        condition = row_expression(parsed(label.where), events.schema, dataset.partition.timezone)
        events = events.with_columns(condition.alias(WHERE))
    aggregations = [Aggregation(call.name, call.function, call.column, within, where) for call in calls]  # type: ignore[arg-type]
    keys = HeldPartitions(dataset.partition_calendar, dataset.partition.due, held)
    ties = dataset.sources[source].stored_key
    answers = future_window(rows, events, view.label_on, aggregations, within, keys, ties=ties)
    return answers.with_columns(
        pl.col(call.name).dt.total_microseconds().cast(pl.Float64) / 86_400e6
        for call in calls
        if call.function == "since_last"
    )


def held_days(store: Store, table: str) -> Collection[str]:
    """Keys of the partitions of a validated table that are held, those without a row among them."""
    paths = store.list(store_paths.profiles_of(table))
    return {*store.partitions(table), *map(store_paths.partition_of_file, paths)}
