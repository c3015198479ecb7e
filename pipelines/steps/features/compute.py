"""Computes a view's features: what was known of each row at its moment, by the meaning that the view declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.event_time import EventTime
from pipelines.spec.features import (
    EVENT,
    MOMENT,
    CalendarPart,
    DirectColumn,
    Feature,
    FeatureView,
    Lookup,
    RowExpression,
)
from pipelines.spec.partitions import FIRST_DATE, first_instant
from pipelines.spec.row_expression import parsed
from pipelines.steps.features.aggregate_features import aggregate_features
from pipelines.steps.features.aggregates.compute import ROW
from pipelines.steps.features.lookups import LookedUp
from pipelines.steps.features.python_features import python_features
from pipelines.steps.features.row_expression import calendar_part, row_expression
from pipelines.steps.panel.rows import panel_rows
from pipelines.tables.column_types import UTC_TIMESTAMP
from pipelines.tables.event_instants import event_instants

Frames = Mapping[str, pl.DataFrame]
HAPPENS = "__happens"
"""Column of the rows that holds their event time."""


def compute_features(view: FeatureView, frames: Frames, days: Sequence[date], dataset: DatasetSpec) -> pl.DataFrame:
    """Features of every row of ``days``: one row per entity, ordered by day and key.

    ``frames`` holds, per source, its rows with their ``day``; of the rows' own source every row that could be known in
    a window, not only those of ``days``. Columns: key, ``prediction_time``, the features (categorical: String,
    numeric: Float64), the label (null where it is not known), ``day``.

    ``prediction_time`` is ``t``, the row's event time minus the view's lead, or of a panel the moment of its period,
    whose first date is then the ``day``; its label is known later and no column. Rows within the view's ``warm_up``
    after the start of the first partition are left out.
    """
    timezone = dataset.partition.timezone
    if view.event_time is None:
        rows = _table_rows(view, frames, timezone)
    elif view.panel is None:
        frames, rows = _event_rows(view, view.event_time, frames, days, timezone)
    else:
        rows = panel_rows(view, view.panel, frames[view.entity_source], days, dataset)
    if view.warm_up is not None:
        start = first_instant(dataset.partition.first_date, ZoneInfo(timezone))
        rows = rows.filter(pl.col("prediction_time") >= start + view.warm_up)
    looked_up = LookedUp(view, rows, frames, dataset)
    columns: dict[str, pl.Series] = {}
    columns |= _row_features(view, rows, timezone)
    columns |= {
        name: looked_up.of(how)
        for name, feature in view.features.items()
        if isinstance(how := feature.transformation, Lookup)
    }
    columns |= aggregate_features(view, rows, frames, dataset)
    columns |= python_features(view, rows, frames, dataset)
    columns |= _expression_features(view, rows, columns, looked_up, timezone)
    table = rows.select(*view.key, "prediction_time").with_columns(
        _typed(columns[name], feature).alias(name) for name, feature in view.features.items()
    )
    if view.label is not None and not view.label_follows:
        label = row_expression(parsed(view.label.expression), rows.schema, timezone)
        table = table.hstack(rows.select(label.alias(view.label.name)))
    return table.hstack(rows.select("day")).sort("day", *view.key)


def _table_rows(view: FeatureView, frames: Frames, timezone: str) -> pl.DataFrame:
    """The rows of a table by key, with the first instant of its only day as ``t``."""
    moment = first_instant(FIRST_DATE, ZoneInfo(timezone))
    rows = frames[view.entity_source].sort(view.key)
    return rows.with_columns(pl.lit(moment, UTC_TIMESTAMP).alias("prediction_time"))


def _event_rows(
    view: FeatureView, event_time: EventTime, frames: Frames, days: Sequence[date], timezone: str
) -> tuple[Frames, pl.DataFrame]:
    """The frames with a number for each row of the rows' own source, and the rows of the days, by ``t`` and key."""
    events = frames[view.entity_source]
    entities = events.with_columns(event_instants(events, event_time, timezone).alias(HAPPENS)).with_row_index(ROW)
    rows = (
        entities.filter(pl.col("day").is_in(list(days)))
        .with_columns((pl.col(HAPPENS) - view.lead).alias("prediction_time"))
        .sort("prediction_time", *view.key)
    )
    return {**frames, view.entity_source: entities}, rows


def _expression_features(
    view: FeatureView, rows: pl.DataFrame, computed: dict[str, pl.Series], looked_up: LookedUp, timezone: str
) -> dict[str, pl.Series]:
    """Expressions over the features ``computed`` before, as they are stored, columns of the row, lookups, and ``t``."""
    columns: dict[str, pl.Series] = {}
    features = {name: _typed(values, view.features[name]) for name, values in computed.items()}
    for name in view.expressions_in_order():
        how = view.features[name].transformation
        assert isinstance(how, RowExpression)
        named: dict[str, pl.Series] = {}
        for other in how.names():
            if other != name and other in features:
                named[other] = features[other]
            elif other in rows.columns:
                named[other] = rows[other]
            else:
                named[other] = rows["prediction_time"] if other == MOMENT else looked_up.of(how.lookups[other])
        frame = pl.DataFrame({"__row": pl.repeat(0, rows.height, eager=True)} | named)
        expression = row_expression(parsed(how.expression), frame.schema, timezone)
        columns[name] = frame.with_columns(expression.alias("__value"))["__value"]
        features[name] = _typed(columns[name], view.features[name])
    return columns


def _typed(series: pl.Series, feature: Feature) -> pl.Series:
    """As it is stored; what is not finite is null."""
    if feature.type == "categorical":
        return series.cast(pl.String)
    numbers = series.cast(pl.Float64)
    return pl.select(pl.when(numbers.is_finite()).then(numbers)).to_series().alias(series.name)


def _row_features(view: FeatureView, rows: pl.DataFrame, timezone: str) -> dict[str, pl.Series]:
    """Columns of the row itself, and parts of its times as the clocks of the zone show them."""
    times = {EVENT: HAPPENS, MOMENT: "prediction_time"}
    columns = {}
    for name, feature in view.features.items():
        how = feature.transformation
        if isinstance(how, DirectColumn):
            columns[name] = rows[how.column]
        elif isinstance(how, CalendarPart):
            moment = times.get(how.of, how.of)
            zone = None if rows.schema[moment] == pl.Date else timezone
            columns[name] = rows.select(calendar_part(how.part, pl.col(moment), zone)).to_series()
    return columns
