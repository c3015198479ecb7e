"""Rows are converted to the columns and types of their table before they are written; new columns come last."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from pipelines.errors import Refused
from pipelines.spec.partitions import kind_of_key, partition_name
from pipelines.store_paths import Key

DAY_COLUMN = "day"
"""Column of a table by day, a date."""
KEY_COLUMN = "partition"
"""Column of a table by hour, week or month, or of one without dates: the key of the partition."""
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


def partition_value(key: Key) -> Key:
    """What stands in the partition's column: the date of a day, else the key."""
    return date.fromisoformat(key) if isinstance(key, str) and kind_of_key(key) == "day" else key


def partition_column(key: Key) -> str:
    """``day`` for a day, ``partition`` for all others."""
    return DAY_COLUMN if isinstance(partition_value(key), date) else KEY_COLUMN


def with_partition(frame: pl.DataFrame, key: Key) -> pl.DataFrame:
    """The rows with the column that names their partition."""
    kind = pl.Date() if partition_column(key) == DAY_COLUMN else pl.String()
    return frame.with_columns(pl.lit(partition_value(key), kind).alias(partition_column(key)))


def check_kind(table: str, key: Key, column: str) -> None:
    """``Refused`` if a partition cannot be one of a table whose partitions stand in ``column``."""
    if partition_column(key) != column:
        kind = "by day" if column == DAY_COLUMN else "of other partitions than days"
        raise Refused(f"{table} is a table {kind}; {partition_name(f'{key}')} cannot be written to it", [WAY_ON])


def conform(table: str, key: Key, frame: pl.DataFrame, table_types: Types | None) -> pl.DataFrame:
    """``frame`` as it is stored: the columns of ``table_types`` first, then new ones, then the partition's column.

    ``table_types``: the table's columns so far, None for a new table. A column that the frame lacks becomes null; an
    all-null column gets the table's type. Raises ``Refused`` with every fault when a type differs from the table's,
    when a value would not stay the same, when a new column has no type, or when rows have another partition. Delta
    Lake itself would convert without a word: 1.5 to 1, and "12" to 12.
    """
    value, own = partition_value(key), partition_column(key)
    kind = pl.Date() if own == DAY_COLUMN else pl.String()
    table_types = {name: dtype for name, dtype in (table_types or {}).items() if name != own}
    faults: list[str] = []
    columns: list[pl.Expr | pl.Series] = []
    mismatched = False
    if own in frame.columns and frame.schema[own] != kind:
        faults.append(f"column {own!r} is {frame.schema[own]}, which does not name the partition; drop or rename it")
    elif own in frame.columns and frame.filter(pl.col(own).ne_missing(pl.lit(value, kind))).height:
        faults.append(f"rows have another {own} than {key}")
    names = [*table_types, *(name for name in frame.columns if name not in table_types and name != own)]
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
        raise Refused(f"rows of {key} do not match table {table}, and nothing was written{way_on}", faults)
    return with_partition(frame.with_columns(*columns), key).select(*names, own)


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
