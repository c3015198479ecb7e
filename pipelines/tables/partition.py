"""Rows are converted to the columns and types of their table before they are written; new columns come last."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from pipelines.errors import Refused

DAY_COLUMN = "day"
MAX_EXACT_INTEGER = 1 << 53
"""Up to this size every integer is a double, too."""
Types = Mapping[str, pl.DataType]
WAY_ON = "keep the type of the table, or declare the source under another name and deliver its days again"


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
    when a value would not stay the same, when a new column has no type, or when rows have another day. Delta Lake
    itself would convert without a word: 1.5 to 1, and "12" to 12.
    """
    table_types = {name: dtype for name, dtype in (table_types or {}).items() if name != DAY_COLUMN}
    faults: list[str] = []
    columns: list[pl.Expr | pl.Series] = []
    mismatched = False
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
            mismatched = True
        elif name in frame.columns:
            column = frame.select(_cast(frame, name, table_type)).to_series()
            if not _is_same(frame[name], column):
                faults.append(f"column {name!r} has values of {frame.schema[name]} that {table_type} does not hold")
            columns.append(column)
        else:
            columns.append(pl.lit(None, table_type).alias(name))
    if faults:
        way_on = f"; {WAY_ON}" if mismatched else ""
        raise Refused(f"rows of {day} do not match table {table}, and nothing was written{way_on}", faults)
    return frame.with_columns(*columns, pl.lit(day, pl.Date).alias(DAY_COLUMN)).select(*names, DAY_COLUMN)


def _is_untyped(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Null) or (isinstance(dtype, pl.List) and dtype.inner == pl.Null)


def _cast(frame: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.Expr:
    """A value that the type does not hold becomes null or another one; ``_is_same`` finds it."""
    frame_type = frame.schema[name]
    column = pl.col(name)
    if isinstance(frame_type, pl.Datetime) and frame_type.time_zone is None:
        return column.dt.replace_time_zone("UTC").cast(dtype)
    return column.cast(dtype, strict=False)


def _is_same(values: pl.Series, stored: pl.Series) -> bool:
    if stored.null_count() != values.null_count():
        return False
    if not isinstance(values.dtype, pl.Datetime):
        return True
    unit = values.dtype.time_unit
    return bool((stored.dt.timestamp(unit) == values.dt.timestamp(unit)).all()) if unit == "ns" else True


def widened_types(frame: pl.DataFrame, table_types: Types) -> dict[str, pl.DataType]:
    """The columns of a table of integers for which ``frame`` has numbers, with their new type."""
    return {
        name: pl.Float64()
        for name, dtype in table_types.items()
        if dtype == pl.Int64 and name in frame.columns and frame.schema[name].is_float()
    }


def widen(table: str, rows: pl.DataFrame, types: Types) -> pl.DataFrame:
    """``rows`` of a table with its integers as numbers. Raises ``Refused`` if an integer is beyond 2^53."""
    faults = [
        f"column {name!r} has integers beyond 2^53, which no number holds exactly; {WAY_ON}"
        for name in types
        if not rows[name].drop_nulls().is_between(-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER).all()
    ]
    if faults:
        raise Refused(f"{table} cannot take numbers for integers; nothing was written", faults)
    return rows.with_columns(rows[name].cast(dtype) for name, dtype in types.items())
