"""Converts delivered values to the type of their contract; a value that would not stay the same becomes null."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

import polars as pl

from pipelines.spec.column import ColumnSpec
from pipelines.spec.file_format import FileFormat
from pipelines.spec.time_format import DATE_FORMAT, says_offset, text_pattern
from pipelines.tables.column_types import TYPES, UTC_TIMESTAMP, stored_column_type

INTEGER = r"^[+-]?[0-9]+(\.0*)?$"
NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
EXPONENT = r"[eE][+-]?[0-9]{1,2}$"
TRAILING_ZEROS = r"(\.[0-9]*?)0+$"
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
ISO_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
ISO_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6}0*)?"
"""Microseconds are what a table holds; an instant with finer digits would not stay the same."""
ISO_TIMESTAMP = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{ISO_TIME}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
ISO_LOCAL_TIME = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{ISO_TIME}$"
ISO_FORMAT = "%Y-%m-%dT%H:%M:%S%.f"
TIMESTAMP_FORMS = (
    "2013-01-05T10:00:00Z, 2013-01-05T10:00:00.750Z (up to six decimals) or with an offset, 2013-01-05T05:00:00-05:00"
)


def forms_of(column: ColumnSpec) -> str:
    """How values of a column are written, for whoever wrote another form; empty where its type says it."""
    if column.type == "boolean":
        return "written as true or false"
    if column.type == "date":
        return f"written as {column.format or '2013-01-05'}"
    if column.type == "decimal":
        return f"of 38 digits, {column.decimals} of them decimals"
    if column.type != "timestamp":
        return ""
    if column.format is not None:
        return f"written as {column.format}{_clock_changes(column) if column.timezone else ''}"
    if column.timezone is None:
        return f"written as {TIMESTAMP_FORMS}; of times without a zone declare the timezone"
    return (
        f"written as 2013-01-05T10:00:00 or 2013-01-05 10:00:00, in {column.timezone}{_clock_changes(column)}, or as "
        f"{TIMESTAMP_FORMS}"
    )


def _clock_changes(column: ColumnSpec) -> str:
    """What is no time of a zone, or two: nobody would see it in the value."""
    repeated = "" if column.ambiguous != "refused" else ", nor one that they repeat: declare `ambiguous: earliest`"
    return f" (no time that its clocks skip{repeated})"


def typed_columns(
    delivered: pl.DataFrame, columns: Mapping[str, ColumnSpec], files: FileFormat
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The named columns as delivered, with nulls, and in the types of the contract.

    A text of ``null_values`` is null in both, unless ``allowed`` of its column lists it. A value that its type cannot
    hold is null in the second alone.
    """
    without_nulls = [
        _without_null_values(
            delivered[name], column, words if (words := column.null_values) is not None else files.null_values
        )
        for name, column in columns.items()
    ]
    typed = [
        typed_values(_plain_number(values, columns[values.name], files), columns[values.name])
        for values in without_nulls
    ]
    return pl.DataFrame(without_nulls), pl.DataFrame(typed)


def _without_null_values(values: pl.Series, column: ColumnSpec, null_values: Sequence[str]) -> pl.Series:
    if isinstance(values.dtype, pl.Categorical | pl.Enum):
        values = values.cast(pl.String)
    words = [word for word in null_values if word not in map(str, column.allowed or ())]
    if values.dtype != pl.String or not words:
        return values
    return values.to_frame().select(pl.when(~pl.first().is_in(words)).then(pl.first())).to_series()


def _plain_number(values: pl.Series, column: ColumnSpec, files: FileFormat) -> pl.Series:
    """Texts of numbers without their groups of thousands, and with a decimal point."""
    numeric = column.type in ("decimal", "integer", "number")
    if values.dtype != pl.String or not numeric or (files.thousands, files.decimal) == ("", "."):
        return values
    group, point = re.escape(files.thousands), re.escape(files.decimal)
    whole = rf"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]+)" if files.thousands else "[0-9]+"
    number = rf"^[+-]?(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?$"
    plain = pl.first()
    if files.thousands:
        plain = plain.str.replace_all(files.thousands, "", literal=True)
    plain = plain.str.replace(files.decimal, ".", literal=True)
    return values.to_frame().select(pl.when(pl.first().str.contains(number)).then(plain)).to_series()


def typed_values(values: pl.Series, column: ColumnSpec) -> pl.Series:
    """``values`` in the type of a column; null where the type does not hold the value."""
    kind, dtype = column.type, values.dtype
    if kind != "string" and (isinstance(dtype, pl.Decimal) or (kind == "decimal" and dtype.is_numeric())):
        values = values.cast(pl.String)
    typed = _typed(pl.lit(values), values.dtype, column)
    if typed is None:
        return pl.Series(values.name, [None] * len(values), dtype=stored_column_type(column))
    if kind == "decimal":
        return _decimals(values, column)
    return pl.select(typed.alias(values.name)).to_series()


def _typed(values: pl.Expr, dtype: pl.DataType, column: ColumnSpec) -> pl.Expr | None:
    """None: values of this type are none of the column's."""
    kind = column.type
    if isinstance(dtype, pl.Null | pl.Duration | pl.Object | pl.Binary) or dtype.is_nested():
        return None
    if kind == "string":
        return _as_text(values, dtype)
    if isinstance(dtype, pl.Time):
        return None
    if kind == "timestamp" and isinstance(dtype, pl.Datetime):
        return _as_instant(values, dtype, column)
    if kind == "date" and isinstance(dtype, pl.Date | pl.Datetime):
        return _as_date(values, dtype)
    if kind == "boolean" and dtype == pl.Boolean:
        return values
    if kind in ("integer", "number") and dtype.is_numeric():
        return _as_integer(values, dtype) if kind == "integer" else _as_number(values, dtype)
    return _parsed(values, column) if dtype == pl.String else None


def _parsed(values: pl.Expr, column: ColumnSpec) -> pl.Expr:
    kind = column.type
    if kind == "boolean":
        return values.replace_strict(BOOLEANS, default=None, return_dtype=pl.Boolean)
    if kind == "date":
        return _parsed_date(values, column.format)
    if kind == "timestamp":
        return _parsed_instant(values, column)
    if kind == "integer":
        whole = values.str.replace(r"\..*$", "")
        return pl.when(values.str.contains(INTEGER)).then(whole).cast(pl.Int64, strict=False)
    number = pl.when(values.str.contains(NUMBER)).then(values).cast(TYPES["number"], strict=False)
    return pl.when(number.is_finite()).then(number)


def _as_integer(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype.is_float():
        values = pl.when(values == values.floor()).then(values)
    return values.cast(pl.Int64, strict=False)


def _as_number(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    number = values.cast(pl.Float64, strict=False)
    if dtype.is_integer():  # beyond 2^53 not every integer is a double
        number = pl.when(number.cast(pl.Int128, strict=False) == values.cast(pl.Int128)).then(number)
    return pl.when(number.is_finite()).then(number)


def _decimals(values: pl.Series, column: ColumnSpec) -> pl.Series:
    """Texts of numbers as decimals; null where one has more digits than the type. Polars alone would round it."""
    text = pl.first()
    plain = values.to_frame().select(pl.when(text.str.contains(NUMBER)).then(text)).to_series()
    if plain.str.contains(EXPONENT).any():
        written = [f"{Decimal(item):f}" if item is not None and re.search(EXPONENT, item) else item for item in plain]
        plain = pl.Series(values.name, written, dtype=pl.String)
    digits = rf"^[+-]?[0-9]*(\.[0-9]{{0,{column.decimals}}})?$"
    shortest = text.str.replace(TRAILING_ZEROS, "$1")
    held = pl.when(shortest.str.contains(digits)).then(shortest)
    return plain.to_frame().select(held.cast(stored_column_type(column), strict=False)).to_series()


def _as_text(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        return _in_utc(values, dtype).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    return values.cast(pl.String, strict=False)


def _in_utc(values: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    return values.dt.replace_time_zone("UTC") if dtype.time_zone is None else values.dt.convert_time_zone("UTC")


def _as_date(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A time is a date where it is a midnight of its own clock, as pandas writes dates."""
    if isinstance(dtype, pl.Datetime):
        local = values.dt.replace_time_zone(None)
        values = pl.when(local == local.dt.truncate("1d")).then(local.dt.date())
    return pl.when(_has_four_digit_year(values)).then(values)


def _as_instant(values: pl.Expr, dtype: pl.Datetime, column: ColumnSpec) -> pl.Expr:
    """An instant finer than a microsecond is none, nor is a time without a zone where none is declared."""
    stored = values.cast(pl.Datetime("us", dtype.time_zone))
    stored = pl.when(stored.cast(dtype) == values).then(stored)
    if dtype.time_zone is not None:
        instant = stored.dt.convert_time_zone("UTC")
    elif column.timezone is not None:
        instant = _local_instant(stored, column)
    else:
        instant = pl.lit(None, UTC_TIMESTAMP)
    return pl.when(values.is_not_null() & _has_four_digit_year(instant)).then(instant)


def _local_instant(local: pl.Expr, column: ColumnSpec) -> pl.Expr:
    """Null where the clocks of the zone skip the time, or repeat it and nothing says which of both it is."""
    which = "null" if column.ambiguous == "refused" else column.ambiguous
    zoned = local.dt.replace_time_zone(column.timezone, ambiguous=which, non_existent="null")
    return zoned.dt.convert_time_zone("UTC")


def _parsed_date(values: pl.Expr, form: str | None) -> pl.Expr:
    pattern = ISO_DATE if form is None else text_pattern(form)
    day = pl.when(values.str.contains(pattern)).then(values).str.to_date(form or DATE_FORMAT, strict=False)
    return pl.when(_has_four_digit_year(day)).then(day)


def _parsed_instant(values: pl.Expr, column: ColumnSpec) -> pl.Expr:
    if column.format is None:
        instant = _zoned_instant(values, ISO_TIMESTAMP, f"{ISO_FORMAT}%z")
        if column.timezone is not None:
            instant = pl.coalesce(
                instant, _local_text(values.str.replace(" ", "T"), ISO_LOCAL_TIME, ISO_FORMAT, column)
            )
    elif says_offset(column.format):
        instant = _zoned_instant(values, text_pattern(column.format), column.format)
    else:
        instant = _local_text(values, text_pattern(column.format), column.format, column)
    return pl.when(_has_four_digit_year(instant)).then(instant)


def _zoned_instant(values: pl.Expr, pattern: str, form: str) -> pl.Expr:
    text = pl.when(values.str.contains(pattern)).then(values).str.replace("Z$", "+00:00")
    return text.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False)


def _local_text(values: pl.Expr, pattern: str, form: str, column: ColumnSpec) -> pl.Expr:
    text = pl.when(values.str.contains(pattern)).then(values)
    return _local_instant(text.str.to_datetime(form, time_unit="us", strict=False), column)


def _has_four_digit_year(time: pl.Expr) -> pl.Expr:
    return time.dt.year().is_between(1, 9999)
