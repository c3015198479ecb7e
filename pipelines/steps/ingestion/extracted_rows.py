"""Rows of a database as a delivered file: each value as it was read, always in the same order and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import polars as pl

from pipelines.errors import Refused
from pipelines.spec.event_time import EventTime
from pipelines.spec.source import SourceSpec
from pipelines.spec.sql_table import Window
from pipelines.steps.ingestion.column_values import typed_columns
from pipelines.tables.event_instants import event_instants
from pipelines.tables.parquet_bytes import parquet_bytes

NATIVE: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    str: pl.String(),
    date: pl.Date(),
}
"""Types of Python that a column of a file holds as they are, if all its values are of one."""
LARGEST_INTEGER = 1 << 63


def extracted_table(portions: Iterable[Sequence[Sequence[Any]]], names: Sequence[str], max_rows: int) -> pl.DataFrame:
    """Rows of all portions. Raises ``Refused`` for more than ``max_rows``, and for values that no contract takes."""
    parts: list[pl.DataFrame] = []
    rows = 0
    for portion in portions:
        rows += len(portion)
        if rows > max_rows:
            raise Refused(f"more than {max_rows:,} rows were read; take shorter partitions, or raise `sql.max_rows`")
        columns = zip(*portion, strict=True)
        parts.append(pl.DataFrame([_column(name, values) for name, values in zip(names, columns, strict=True)]))
    if not parts:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.Null))
    return pl.concat(_of_one_type(parts))


def rows_in_window(rows: pl.DataFrame, source: SourceSpec, window: Window) -> pl.DataFrame:
    """Those whose time lies in the window; rows whose time cannot be read stay, for the contract to name."""
    columns = {window.column: source.columns[window.column]}
    times = event_instants(typed_columns(rows, columns, source.files)[1], EventTime(window.column), window.timezone)
    return rows.filter(times.is_null() | ((times >= window.partition.begin) & (times < window.partition.end)))


def parquet_file(rows: pl.DataFrame, key: Sequence[str]) -> bytes:
    """The rows in the order of their key, or of all columns: a database has no order of its own."""
    order = [*key, *(name for name in rows.columns if name not in key)]
    return parquet_bytes(rows.sort(order, nulls_last=True))


def _column(name: str, values: Sequence[Any]) -> pl.Series:
    """In the type that all its values have, else as texts."""
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pl.Series(name, [None] * len(values), dtype=pl.Null)
    if kinds == {datetime}:
        zoned = {value.tzinfo is not None for value in values if value is not None}
        if len(zoned) == 1:
            return pl.Series(name, values, dtype=pl.Datetime("us", "UTC" if True in zoned else None))
    [kind, *others] = kinds
    if (
        not others
        and kind in NATIVE
        and not (kind is int and any(abs(value or 0) >= LARGEST_INTEGER for value in values))
    ):
        return pl.Series(name, values, dtype=NATIVE[kind])
    return pl.Series(name, [_text(name, value) for value in values], dtype=pl.String)


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str | int | float | UUID):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    raise Refused(
        f"column {name!r} has values of {type(value).__name__}, which no contract takes; cast it in a `query`"
    )


def _of_one_type(parts: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """A column that has other values in one portion than in another is text in all; one without values takes any."""
    targets: dict[str, pl.DataType] = {}
    for name in parts[0].columns:
        kinds = {part.schema[name] for part in parts} - {pl.Null()}
        targets[name] = kinds.pop() if len(kinds) == 1 else pl.String() if kinds else pl.Null()
    return [part.cast(targets) for part in parts]  # type: ignore[arg-type]
