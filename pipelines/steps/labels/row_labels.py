"""Labels that are in a row itself: a condition or a value over its columns, known once all of them are."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import polars as pl

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.partitions import FIRST_DATE, first_instant
from pipelines.spec.row_expression import columns_of, parsed
from pipelines.steps.features.row_expression import row_expression
from pipelines.tables.column_types import UTC_TIMESTAMP
from pipelines.tables.event_instants import event_instants
from pipelines.tables.known_instants import known_instants


def row_labels(rows: pl.DataFrame, expression: str, dataset: DatasetSpec) -> pl.Series:
    """One number per row (0 or 1 of a condition), null where the expression is; a series called ``label``."""
    value = row_expression(parsed(expression), rows.schema, dataset.partition.timezone).cast(pl.Float64)
    return rows.select(pl.when(value.is_finite()).then(value).alias("label")).to_series()


def label_times(rows: pl.DataFrame, expression: str, view: FeatureView, dataset: DatasetSpec) -> pl.Series:
    """When each row's label is known (UTC): the latest known time of the columns that it reads; null: not yet.

    ``rows`` of the view's own source, with their ``day``; a series called ``label_time``. All of a table is known from
    the first.
    """
    timezone = dataset.partition.timezone
    if view.event_time is None:
        moment = first_instant(FIRST_DATE, ZoneInfo(timezone))
        return rows.select(pl.repeat(moment, pl.len(), dtype=UTC_TIMESTAMP).alias("label_time")).to_series()
    known = [dataset.known_time(view.entity_source, column) for column in columns_of(parsed(expression))]
    events = event_instants(rows, view.event_time, timezone)
    return known_instants(rows, known, events, timezone).alias("label_time")
