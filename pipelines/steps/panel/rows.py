"""The rows of a panel's periods: one per entity that was active, as far as that was known at the period's moment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.panel import PERIOD, Panel
from pipelines.steps.features.aggregates.compute import TIME
from pipelines.steps.panel.active_entities import active_entities
from pipelines.steps.panel.events import source_events
from pipelines.tables.column_types import UTC_TIMESTAMP


def panel_rows(
    view: FeatureView, panel: Panel, frame: pl.DataFrame, periods: Sequence[date], dataset: DatasetSpec
) -> pl.DataFrame:
    """The entity's columns, ``period``, ``prediction_time`` and ``day``, which is the period, by time and key.

    ``frame``: rows of the source whose events make an entity active, each with its ``day``.
    """
    entity = view.entity
    moments = pl.DataFrame(
        {PERIOD: sorted(periods), TIME: [panel.moment(period) for period in sorted(periods)]},
        schema={PERIOD: pl.Date, TIME: UTC_TIMESTAMP},
    )
    events = source_events(frame, view.entity_source, entity, dataset)
    active = active_entities(events, entity, moments[TIME].to_list(), panel.active_within)
    rows = active.join(moments, on=TIME, how="left", maintain_order="left")
    return rows.select(*entity, PERIOD, pl.col(TIME).alias("prediction_time"), pl.col(PERIOD).alias("day"))
