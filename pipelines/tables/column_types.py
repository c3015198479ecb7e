"""The type in which each declared type of a column is stored."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pipelines.spec.column import DEFAULT_SCALE, ColumnSpec
from pipelines.spec.column_value import DECIMAL_DIGITS
from pipelines.spec.source import SourceSpec

UTC_TIMESTAMP = pl.Datetime("us", "UTC")
TYPES: Mapping[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "decimal": pl.Decimal(DECIMAL_DIGITS, DEFAULT_SCALE),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "string": pl.String(),
    "timestamp": UTC_TIMESTAMP,
}


def stored_column_type(column: ColumnSpec) -> pl.DataType:
    """That of ``TYPES``; a decimal's with the declared number of decimals."""
    return pl.Decimal(DECIMAL_DIGITS, column.decimals) if column.type == "decimal" else TYPES[column.type]


def no_rows(source: SourceSpec) -> pl.DataFrame:
    """A frame without rows that has the columns of the source's table by day."""
    columns = source.stored_columns().items()
    return pl.DataFrame(schema={name: stored_column_type(column) for name, column in columns} | {"day": pl.Date})
