"""Converts delivered values to the type of their contract; a value that would not stay the same becomes null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from pipelines.spec.column import ColumnSpec
from pipelines.tables.column_types import TYPES, UTC_TIMESTAMP

TIMESTAMP_FORMS = (
    "2013-01-05T10:00:00Z, 2013-01-05T10:00:00.750Z (up to six decimals) or with an offset, 2013-01-05T05:00:00-05:00"
)
INTEGER = r"^[+-]?[0-9]+$"
NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
TIMESTAMP = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(\.[0-9]{1,6}0*)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
"""Microseconds are what a table holds; an instant with finer digits would not stay the same."""
ISO_TIMESTAMP = "%Y-%m-%dT%H:%M:%S%.f%:z"


def typed_columns(
    delivered: pl.DataFrame, columns: Mapping[str, ColumnSpec], null_values: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The named columns as delivered, with nulls, and in the types of the contract.

    A text of ``null_values`` is null in both, unless ``allowed`` of its column lists it. A value that its type cannot
    hold is null in the second alone.
    """
    given = [_without_null_values(delivered[name], column, null_values) for name, column in columns.items()]
    typed = [typed_values(values, columns[values.name].type) for values in given]
    return pl.DataFrame(given), pl.DataFrame(typed)


def _without_null_values(values: pl.Series, column: ColumnSpec, null_values: Sequence[str]) -> pl.Series:
    if isinstance(values.dtype, pl.Binary | pl.Categorical | pl.Enum):  # some writers do not mark text as text
        values = values.cast(pl.String, strict=False)
    words = [word for word in null_values if word not in map(str, column.allowed or ())]
    if values.dtype != pl.String or not words:
        return values
    return values.to_frame().select(pl.when(~pl.first().is_in(words)).then(pl.first())).to_series()


def typed_values(values: pl.Series, kind: str) -> pl.Series:
    """``values`` in the type of ``kind``; null where the type does not hold the value."""
    return pl.select(_typed(values, kind).alias(values.name)).to_series()


def _typed(values: pl.Series, kind: str) -> pl.Expr:
    dtype, given = values.dtype, pl.lit(values)
    nothing = pl.lit(pl.Series([None] * len(values), dtype=TYPES[kind]))
    if isinstance(dtype, pl.Null) or dtype.is_nested():
        return nothing
    if isinstance(dtype, pl.Decimal) and kind != "string":
        given, dtype = given.cast(pl.String).str.replace(r"\.0*$", ""), pl.String()
    if kind == "string":
        return _as_text(given, dtype)
    if kind == "timestamp":
        if isinstance(dtype, pl.Datetime):
            return _as_instant(given, dtype)
        return _parsed_instant(given) if dtype == pl.String else nothing
    if dtype == pl.String:
        pattern = INTEGER if kind == "integer" else NUMBER
        number = pl.when(given.str.contains(pattern)).then(given).cast(TYPES[kind], strict=False)
        return number if kind == "integer" else pl.when(number.is_finite()).then(number)
    if not dtype.is_numeric():
        return nothing
    if kind == "integer" and dtype.is_float():
        return pl.when(given == given.floor()).then(given).cast(pl.Int64, strict=False)
    number = given.cast(TYPES[kind], strict=False)
    return number if kind == "integer" else pl.when(number.is_finite()).then(number)


def _as_text(given: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        return _in_utc(given, dtype).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    return given.cast(pl.String, strict=False)


def _in_utc(given: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    """A time without a zone is UTC."""
    return given.dt.replace_time_zone("UTC") if dtype.time_zone is None else given.dt.convert_time_zone("UTC")


def _as_instant(given: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    instant = _in_utc(given, dtype)
    stored = instant.cast(UTC_TIMESTAMP)
    same = stored.cast(pl.Datetime(dtype.time_unit, "UTC")) == instant
    return pl.when(same & _has_four_digit_year(stored)).then(stored)


def _parsed_instant(given: pl.Expr) -> pl.Expr:
    text = pl.when(given.str.contains(TIMESTAMP)).then(given).str.replace("Z$", "+00:00")
    instant = text.str.to_datetime(ISO_TIMESTAMP, time_unit="us", time_zone="UTC", strict=False)
    return pl.when(_has_four_digit_year(instant)).then(instant)


def _has_four_digit_year(instant: pl.Expr) -> pl.Expr:
    return instant.dt.year().is_between(1, 9999)
