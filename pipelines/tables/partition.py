"""Rows are converted to the columns and types of their table before they are written; new columns come last."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from pipelines.errors import Refused

DAY_COLUMN = "day"
Types = Mapping[str, pl.DataType]


def stored_type(dtype: pl.DataType) -> pl.DataType:
    """The stored type of a column: Int64, Float64, String, UTC microseconds, or the type itself."""
    if dtype.is_integer():
        return pl.Int64()
    if dtype.is_float():
        return pl.Float64()
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", "UTC")
    if isinstance(dtype, pl.List):
        inner = dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner()
        return pl.List(stored_type(inner))
    return dtype


def conform(table: str, day: date, frame: pl.DataFrame, table_types: Types | None) -> pl.DataFrame:
    """``frame`` as it is stored: the columns of ``table_types`` first, then new ones, then ``day``.

    ``table_types``: the table's columns so far, None for a new table. A column that the frame lacks becomes null; an
    all-null column gets the table's type. Raises ``Refused`` with every fault when a type differs from the table's,
    when a new column has no type, or when rows have another day.
    """
    table_types = {name: dtype for name, dtype in (table_types or {}).items() if name != DAY_COLUMN}
    faults, columns = [], []
    if DAY_COLUMN in frame.columns and frame.schema[DAY_COLUMN] != pl.Date:
        faults.append(f"column 'day' is {frame.schema[DAY_COLUMN]}, not the date of the partition; drop or rename it")
    elif DAY_COLUMN in frame.columns and frame.filter(pl.col(DAY_COLUMN).ne_missing(day)).height:
        faults.append(f"rows have another day than {day}")
    names = [*table_types, *(name for name in frame.columns if name not in table_types and name != DAY_COLUMN)]
    for name in names:
        frame_type = stored_type(frame.schema[name]) if name in frame.columns else pl.Null()
        table_type = table_types.get(name, frame_type)
        if _is_untyped(frame_type) and _is_untyped(table_type):
            faults.append(f"column {name!r} is all null and has no type; cast it to a type")
        elif frame_type != table_type and not _is_untyped(frame_type):
            faults.append(f"column {name!r} is {frame_type}, but the table has {table_type}")
        elif name in frame.columns:
            columns.append(_cast(frame, name, table_type))
        else:
            columns.append(pl.lit(None, table_type).alias(name))
    if faults:
        raise Refused(f"rows of {day} do not match table {table}; nothing was written", faults)
    return frame.with_columns(*columns, pl.lit(day, pl.Date).alias(DAY_COLUMN)).select(*names, DAY_COLUMN)


def _is_untyped(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Null) or (isinstance(dtype, pl.List) and dtype.inner == pl.Null)


def _cast(frame: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.Expr:
    frame_type = frame.schema[name]
    column = pl.col(name)
    if isinstance(frame_type, pl.Datetime) and frame_type.time_zone is None:
        return column.dt.replace_time_zone("UTC").cast(dtype)
    return column.cast(dtype)
