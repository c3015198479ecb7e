"""Computes a view's features: observations and other rows as known at prediction time, lookups by the row's day."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date

import polars as pl

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import (
    CalendarPart,
    DirectColumn,
    Feature,
    FeatureView,
    LastValue,
    LatestObservation,
    Lookup,
    RowExpression,
    WindowMean,
)
from pipelines.spec.row_expression import parsed
from pipelines.steps.features.aggregate_features import aggregate_features
from pipelines.steps.features.aggregates.compute import ROW
from pipelines.steps.features.known_facts import KnownEvents
from pipelines.steps.features.row_expression import row_expression
from pipelines.tables.entity_id import duration_of, scheduled_time

Frames = Mapping[str, pl.DataFrame]
UTC_TIMESTAMP = pl.Datetime("us", "UTC")


def compute_features(view: FeatureView, frames: Frames, days: Sequence[date], dataset: DatasetSpec) -> pl.DataFrame:
    """Features of every entity row of ``days``: one row per entity, ordered by day and key.

    ``frames`` holds, per source, its rows with their ``day``; of the entity source every row that could be known in
    a window, not only those of ``days``. Columns: key, ``prediction_time``, the features (categorical: String,
    numeric: Float64), the label (Boolean, null where it is not known), ``day``.

    Scheduled event = event hour + minute. Prediction time ``t`` = scheduled - ``lead_hours``. A row's facts are
    known from its actual event = scheduled + delay; a null delay (it never happened) contributes nothing.
    """
    entities = frames[view.entity_source].with_columns(scheduled_time(view).alias("__scheduled")).with_row_index(ROW)
    lead = duration_of(pl.lit(view.lead_hours * 60))
    rows = (
        entities.filter(pl.col("day").is_in(list(days)))
        .with_columns((pl.col("__scheduled") - lead).alias("prediction_time"))
        .sort("prediction_time", *view.key)
    )
    timezone = dataset.partition.timezone
    columns: dict[str, pl.Series] = {}
    columns |= _row_features(view, rows, timezone)
    columns |= _lookup_features(view, rows, frames, timezone)
    columns |= _observation_features(view, rows, frames)
    columns |= _window_features(view, rows, entities)
    columns |= aggregate_features(view, rows, {**frames, view.entity_source: entities}, dataset)
    columns |= _expression_features(view, rows, columns)
    label = pl.col(view.label.column) >= view.label.at_least
    return (
        rows.select(*view.key, "prediction_time")
        .with_columns(_typed(columns[name], feature).alias(name) for name, feature in view.features.items())
        .hstack(rows.select(label.alias(view.label.name), "day"))
        .sort("day", *view.key)
    )


def _expression_features(view: FeatureView, rows: pl.DataFrame, computed: dict[str, pl.Series]) -> dict[str, pl.Series]:
    """Expressions over the features ``computed`` before, as they are stored, and over columns of the row."""
    columns: dict[str, pl.Series] = {}
    features = {name: _typed(values, view.features[name]) for name, values in computed.items()}
    for name in view.expressions_in_order():
        how = view.features[name].transformation
        assert isinstance(how, RowExpression)
        named = {other: features[other] if other in features else rows[other] for other in how.names()}
        frame = pl.DataFrame({"__row": pl.repeat(0, rows.height, eager=True)} | named)
        expression = row_expression(parsed(how.expression), frame.schema)
        columns[name] = frame.with_columns(expression.alias("__value"))["__value"]
        features[name] = _typed(columns[name], view.features[name])
    return columns


def _typed(series: pl.Series, feature: Feature) -> pl.Series:
    if feature.type == "categorical":
        return series.cast(pl.String)
    return series.cast(pl.Float64).fill_nan(None)


def _features_of_type(view: FeatureView, kind: type) -> dict[str, Feature]:
    return {name: feature for name, feature in view.features.items() if isinstance(feature.transformation, kind)}


def _row_features(view: FeatureView, rows: pl.DataFrame, timezone: str) -> dict[str, pl.Series]:
    """Columns of the row itself, and parts of its scheduled local time."""
    local = pl.col("__scheduled").dt.convert_time_zone(timezone)
    parts: dict[str, Callable[[], pl.Expr]] = {"hour_local": local.dt.hour, "day_of_week": local.dt.weekday}
    columns = {}
    for name, feature in view.features.items():
        if isinstance(feature.transformation, DirectColumn):
            columns[name] = rows[feature.transformation.column]
        elif isinstance(feature.transformation, CalendarPart):
            columns[name] = rows.select(parts[feature.transformation.part]()).to_series()
    return columns


def _lookup_features(view: FeatureView, rows: pl.DataFrame, frames: Frames, timezone: str) -> dict[str, pl.Series]:
    """Columns of the newest copy of a reference source that landed on or before the row's day."""
    columns: dict[str, pl.Series] = {}
    for name, feature in _features_of_type(view, Lookup).items():
        spec = feature.transformation
        assert isinstance(spec, Lookup)
        right = frames[spec.source]
        copies = right.select(pl.col("day").alias("__copy")).unique().sort("__copy")
        days = rows.select("day").unique().sort("day")
        newest = days.join_asof(copies, left_on="day", right_on="__copy", strategy="backward")
        value = right.select(*spec.on, pl.col("day").alias("__copy"), pl.col(spec.column).alias("__value"))
        joined = (
            rows.select(*spec.on, "day", "__scheduled")
            .join(newest, on="day", how="left", maintain_order="left")
            .join(value, on=[*spec.on, "__copy"], how="left", maintain_order="left", validate="m:1")
        )
        year = pl.col("__scheduled").dt.convert_time_zone(timezone).dt.year()
        answer = year - pl.col("__value") if spec.as_ == "age_years" else pl.col("__value")
        columns[name] = joined.select(answer).to_series()
    return columns


def _observation_features(view: FeatureView, rows: pl.DataFrame, frames: Frames) -> dict[str, pl.Series]:
    """Values of the newest observation known at ``t``; null where it is too old, or left the value empty."""
    columns: dict[str, pl.Series] = {}
    groups: dict[tuple[str, tuple[str, ...], str], dict[str, LatestObservation]] = {}
    for name, feature in _features_of_type(view, LatestObservation).items():
        spec = feature.transformation
        assert isinstance(spec, LatestObservation)
        groups.setdefault((spec.source, tuple(spec.by), spec.time_column), {})[name] = spec
    for (source, by, time_column), features in groups.items():
        observations = (
            frames[source]
            .select(
                *by,
                pl.col(time_column).cast(UTC_TIMESTAMP).alias("__observed"),
                "day",
                *(pl.col(spec.column).alias(f"__{name}") for name, spec in features.items()),
            )
            .drop_nulls([*by, "__observed"])
            .sort("__observed", "day")
            .unique([*by, "__observed"], keep="last", maintain_order=True)
        )
        joined = rows.select(*by, "prediction_time").join_asof(
            observations, left_on="prediction_time", right_on="__observed", by=list(by) or None, check_sortedness=False
        )
        age = pl.col("prediction_time") - pl.col("__observed")
        for name, spec in features.items():
            fresh = age <= duration_of(pl.lit(spec.max_age_hours * 60))
            columns[name] = joined.select(pl.when(fresh).then(pl.col(f"__{name}")).alias(name)).to_series()
    return columns


def _window_features(view: FeatureView, rows: pl.DataFrame, entities: pl.DataFrame) -> dict[str, pl.Series]:
    """Means and last values over the facts of other rows known in ``(t - window, t]``."""
    specs = {name: feature.transformation for name, feature in view.features.items()}
    windows = {name: spec for name, spec in specs.items() if isinstance(spec, WindowMean | LastValue)}
    return KnownEvents(view, entities).features(rows, windows) if windows else {}
