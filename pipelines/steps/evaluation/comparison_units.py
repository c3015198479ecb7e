"""Groups rows by the unit of the declared comparison: their day, their entity, or a column of theirs."""

from __future__ import annotations

import polars as pl

from pipelines.ports import Ports
from pipelines.spec.model import ModelSpec
from pipelines.spec.table_model import ENTITY_UNIT
from pipelines.steps.evaluation.paired_gain import Blocks, day_blocks, entity_blocks
from pipelines.steps.evaluation.rows import add_columns, event_days
from pipelines.tables.entity_id import entity_id


def unit_blocks(rows: pl.DataFrame, spec: ModelSpec, ports: Ports) -> Blocks:
    """The block of each row."""
    if spec.evaluation.comparison.unit == "day":
        return day_blocks(event_days(rows, spec.model, ports))
    return entity_blocks(row_entities(rows, spec, ports))


def row_entities(rows: pl.DataFrame, spec: ModelSpec, ports: Ports) -> pl.Series:
    """What each row is grouped by where the unit is no day: its entity, or its column of this name.

    A column that the rows lack comes from the feature table, by key. ``Refused`` if that lacks it.
    """
    unit = spec.evaluation.comparison.unit
    if unit == ENTITY_UNIT:
        return rows.select(entity_id(ports.catalog.view_of(spec.model))).to_series()
    return add_columns(rows, [unit], spec.model, ports)[unit]
