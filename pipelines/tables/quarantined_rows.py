"""Describes quarantined rows for people: the key of each, the values that were judged, and every reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from pipelines.spec.column import ColumnSpec
from pipelines.spec.source import OWN_REASONS_COLUMN, SourceSpec
from pipelines.tables.partition import DAY_COLUMN, KEY_COLUMN
from pipelines.tables.row_identity import ROW_COLUMN

REASONS_COLUMN = "reasons"
"""Column of the quarantine table: the list of all reasons of a row."""
HIDDEN = "(personal data)"
"""In place of a value of a column that is declared ``pii``."""


class QuarantinedRow(BaseModel):
    """One row. ``key`` and ``values``: column to value as text; ``values`` are those that the reasons are about."""

    model_config = ConfigDict(frozen=True)

    partition: str
    key: dict[str, str]
    values: dict[str, str]
    reasons: list[str]


def describe_rows(
    rows: pl.DataFrame, source: SourceSpec, columns_by_reason: Mapping[str, Sequence[str]]
) -> list[QuarantinedRow]:
    """``rows``: of the quarantine table, with the partition and ``reasons``; the result has their order.

    A reason that the suite no longer gives names no value.
    """
    return [_describe(row, source, columns_by_reason) for row in rows.iter_rows(named=True)]


def _describe(
    row: Mapping[str, Any], source: SourceSpec, columns_by_reason: Mapping[str, Sequence[str]]
) -> QuarantinedRow:
    reasons = list(row[REASONS_COLUMN] or ["no reason given"])
    judged = dict.fromkeys(column for reason in reasons for column in columns_by_reason.get(reason, ()))
    columns = source.stored_columns()
    own = KEY_COLUMN if KEY_COLUMN in row else DAY_COLUMN
    return QuarantinedRow(
        partition=f"{row[own]}",
        key=_texts(map(source.stored_name, source.key_columns) if source.key_columns else [ROW_COLUMN], row, columns),
        values=_texts(judged, row, columns),
        reasons=reasons,
    )


def _texts(names: Iterable[str], row: Mapping[str, Any], columns: Mapping[str, ColumnSpec]) -> dict[str, str]:
    """Columns, by their names in the validated table, that the row has."""
    texts = {}
    for name in names:
        stored = OWN_REASONS_COLUMN if name == REASONS_COLUMN else name
        if stored in row:
            value = "none" if row[stored] is None else str(row[stored])
            texts[stored] = HIDDEN if name in columns and columns[name].pii else value
    return texts
