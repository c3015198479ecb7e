"""Reads a delivered file as text and checks it against its contract; all of its faults are reported together."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl
from polars import selectors

from pipelines.spec.dataset import ColumnSpec, SourceSpec

TYPES: dict[str, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "string": pl.String(),
    "timestamp": pl.Datetime("us", "UTC"),
}
TIMESTAMP = "%Y-%m-%dT%H:%M:%SZ"
MAX_EXAMPLES = 3


def read_delivery(content: bytes, source: SourceSpec, day: date) -> tuple[pl.DataFrame, list[str]]:
    """Rows in the contract's columns and types, and every failure; with failures the rows are not to be used.

    The source's own column ``day`` (the day of the month) is checked against ``day`` and dropped, since the partition
    column has the same name.
    """
    text, failures = _decode(content, source)
    if text is None:
        return pl.DataFrame(), failures
    failures += _column_faults(text.columns, list(source.columns))
    present = {name: column for name, column in source.columns.items() if name in text.columns}
    if text.height < source.minimum_rows:
        failures.append(f"{text.height} rows delivered, fewer than {source.minimum_rows}; deliver the whole file")
    rows, typed = parse(text, present, source.null_values)
    for name, column in present.items():
        failures += _value_faults(rows[name], typed[name], column)
    if all(name in present for name in source.key):
        failures += _key_faults(typed, source.key, shown=not any(source.columns[name].pii for name in source.key))
    if source.day_columns and all(name in present for name in source.day_columns):
        failures += _day_faults(typed, source.day_columns, day)
    return typed.drop("day", strict=False), failures


def parse(
    text: pl.DataFrame, columns: Mapping[str, ColumnSpec], null_values: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The named columns as text, and in the types of the contract.

    A declared null value is null in both; a text that does not parse is null in the second alone.
    """
    rows = text.select(list(columns)).with_columns(
        pl.when(pl.all().is_in(null_values)).then(None).otherwise(pl.all()).name.keep()
    )
    return rows, rows.with_columns(_parse_column(name, column) for name, column in columns.items())


def _decode(content: bytes, source: SourceSpec) -> tuple[pl.DataFrame | None, list[str]]:
    if not content:
        return None, ["the file is empty; deliver it again"]
    if source.format == "parquet":
        try:
            return _format_as_text(pl.read_parquet(io.BytesIO(content))), []
        except (pl.exceptions.PolarsError, OSError) as error:
            return None, [f"the file is not readable as Parquet: {error}"]
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return None, [f"line {line} is not UTF-8 (byte {content[error.start]:#04x}); deliver the file as UTF-8"]
    header, failures = _read_header(text)
    if failures:
        return None, failures + _column_faults(header, list(source.columns))
    try:
        return pl.read_csv(content, infer_schema=False), []
    except pl.exceptions.PolarsError as error:
        return None, [f"the file is not readable as CSV: {' '.join(str(error).split())[:200]}"]


def _format_as_text(rows: pl.DataFrame) -> pl.DataFrame:
    """Typed rows as a CSV would write them; a time without a zone is UTC."""
    zoned = selectors.datetime(time_zone="*").dt.convert_time_zone("UTC")
    return rows.with_columns(zoned).with_columns(selectors.datetime().dt.strftime(TIMESTAMP)).cast(pl.String)


def _read_header(text: str) -> tuple[list[str], list[str]]:
    """The header and the faults of the lines; polars would fill a short line up with nulls."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    failures = []
    try:
        header = next(lines, [])
        repeated = sorted({name for name in header if header.count(name) > 1})
        failures += [f"column {name!r} is in the header more than once" for name in repeated]
        uneven = [(lines.line_num, len(fields)) for fields in lines if len(fields) != len(header)]
        if uneven:
            failures.append(
                f"the file is not readable as CSV: {len(uneven)} lines do not have the header's {len(header)} fields, "
                f"for example line {uneven[0][0]} with {uneven[0][1]}"
            )
    except csv.Error as error:
        failures.append(f"the file is not readable as CSV: line {lines.line_num}: {error}")
    return header, failures


def _column_faults(header: list[str], declared: list[str]) -> list[str]:
    missing = [f"column {name!r} is missing" for name in declared if name not in header]
    extra = [
        f"column {name!r} is not in the contract; remove it, or declare it" for name in header if name not in declared
    ]
    return missing + extra


def _parse_column(name: str, column: ColumnSpec) -> pl.Expr:
    text = pl.col(name)
    if column.type == "timestamp":
        return text.str.to_datetime(TIMESTAMP, time_unit="us", time_zone="UTC", strict=False)
    return text.cast(TYPES[column.type], strict=False)


def _value_faults(text: pl.Series, typed: pl.Series, column: ColumnSpec) -> list[str]:
    """Faults of one column: type, null, category and range, each with its number of rows and examples."""
    name = text.name
    wrong_type = text.is_not_null() & typed.is_null()
    if column.type == "number":
        wrong_type |= typed.is_nan().fill_null(value=False) | typed.is_infinite().fill_null(value=False)
    faults = [(wrong_type, f"not of type {column.type}")]
    if not column.nullable:
        faults.append((text.is_null(), "null, which the contract does not allow"))
    if column.allowed is not None:
        faults.append((typed.is_not_null() & ~typed.is_in(column.allowed), f"not one of {', '.join(column.allowed)}"))
    if column.minimum is not None:
        faults.append(((typed < column.minimum).fill_null(value=False), f"below {column.minimum:g}"))
    if column.maximum is not None:
        faults.append(((typed > column.maximum).fill_null(value=False), f"above {column.maximum:g}"))
    return [
        f"column {name!r}: {bad.sum()} of {len(text)} values {what}{'' if column.pii else _examples(text.filter(bad))}"
        for bad, what in faults
        if bad.any()
    ]


def _examples(values: pl.Series) -> str:
    shown = [repr(value) for value in values.drop_nulls().unique(maintain_order=True).head(MAX_EXAMPLES)]
    return f", for example {', '.join(shown)}" if shown else ""


def _key_faults(rows: pl.DataFrame, key: list[str], *, shown: bool) -> list[str]:
    repeated = rows.select(key).filter(rows.select(key).is_duplicated())
    if repeated.is_empty():
        return []
    example = f", for example {'|'.join(str(value) for value in repeated.row(0))}" if shown else ""
    return [f"key ({', '.join(key)}): {repeated.height} rows share their key with another{example}"]


def _day_faults(rows: pl.DataFrame, day_columns: list[str], day: date) -> list[str]:
    expected = (day.year, day.month, day.day)
    other = rows.select(day_columns).filter(
        ~pl.all_horizontal(pl.col(name).eq_missing(part) for name, part in zip(day_columns, expected, strict=True))
    )
    if other.is_empty():
        return []
    shown = "-".join(str(part) for part in other.row(0))
    return [f"{other.height} of {rows.height} rows are of another day than {day}, for example {shown}"]
