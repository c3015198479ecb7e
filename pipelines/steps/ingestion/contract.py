"""Reads a delivered file and checks it against its contract; all of its faults are reported together."""

from __future__ import annotations

import io
from datetime import date

import polars as pl

from pipelines.spec.column import ColumnSpec
from pipelines.spec.dataset import OWN_DAY_COLUMN, SourceSpec
from pipelines.steps.ingestion.column_values import TIMESTAMP_FORMS, typed_columns
from pipelines.steps.ingestion.csv_table import read_csv
from pipelines.steps.ingestion.foreign_files import foreign_kind

MAX_EXAMPLES = 3


def read_delivery(
    content: bytes, source: SourceSpec, day: date, *, timezone: str = "UTC", event_column: str | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """Rows in the contract's columns and types, and every failure; with failures the rows are not to be used.

    Rows of another day than ``day`` are failures: by ``day_columns``, else by the local day (in ``timezone``) of
    ``event_column``. The partition column has the name ``day``, so the source's own is stored as ``source_day``; if it
    is one of ``day_columns`` it says what the partition says and is dropped.
    """
    delivered, failures = _read(content, source)
    if delivered is None:
        return pl.DataFrame(), failures
    return check_rows(delivered, source, day, timezone=timezone, event_column=event_column)


def check_rows(
    delivered: pl.DataFrame, source: SourceSpec, day: date, *, timezone: str = "UTC", event_column: str | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """As ``read_delivery``, of rows that were read: text of a CSV, or typed columns."""
    failures = _column_faults(delivered.columns, list(source.columns))
    present = {name: column for name, column in source.columns.items() if name in delivered.columns}
    if delivered.height < source.minimum_rows:
        failures.append(f"{delivered.height} rows delivered, fewer than {source.minimum_rows}; deliver the whole file")
    given, typed = typed_columns(delivered, present, source.null_values)
    for name, column in present.items():
        failures += _value_faults(given[name], typed[name], column)
    if all(name in present for name in source.key):
        failures += _key_faults(typed, source.key, shown=not any(source.columns[name].pii for name in source.key))
    if source.day_columns and all(name in present for name in source.day_columns):
        shown = not any(source.columns[name].pii for name in source.day_columns)
        failures += _day_faults(typed, source.day_columns, day, shown=shown)
    elif source.day_columns is None and event_column in present:
        shown = not source.columns[event_column].pii
        failures += _event_day_faults(typed, event_column, day, timezone, shown=shown)
    if "day" in (source.day_columns or ()):
        return typed.drop("day", strict=False), failures
    return typed.rename({"day": OWN_DAY_COLUMN}, strict=False), failures


def _read(content: bytes, source: SourceSpec) -> tuple[pl.DataFrame | None, list[str]]:
    if not content:
        return None, ["the file is empty; deliver it again"]
    if source.format == "parquet":
        if foreign := foreign_kind(content, "parquet"):
            return None, [f"the file is not readable as Parquet: {foreign}"]
        try:
            return pl.read_parquet(io.BytesIO(content)), []
        except (pl.exceptions.PolarsError, OSError) as error:
            return None, [
                f"the file is not readable as Parquet; deliver it again: {' '.join(str(error).split())[:200]}"
            ]
    rows, header, failures = read_csv(content, source.columns)
    return rows, failures + (_column_faults(header, list(source.columns)) if header and rows is None else [])


def _column_faults(header: list[str], declared: list[str]) -> list[str]:
    missing = [f"column {name!r} is missing" for name in declared if name not in header]
    extra = [
        f"column {name!r} is not in the contract; remove it, or declare it" for name in header if name not in declared
    ]
    return missing + extra


def _value_faults(given: pl.Series, typed: pl.Series, column: ColumnSpec) -> list[str]:
    """Faults of one column: type, null, category and range, each with its number of rows and examples."""
    name = given.name
    forms = f" (written as {TIMESTAMP_FORMS})" if column.type == "timestamp" else ""
    faults = [(given.is_not_null() & typed.is_null(), f"not of type {column.type}{forms}")]
    if not column.nullable:
        faults.append((given.is_null(), "null, which the contract does not allow"))
    if column.allowed is not None:
        listed = ", ".join(map(str, column.allowed))
        faults.append((typed.is_not_null() & ~typed.is_in(column.allowed), f"not one of {listed}"))
    if column.minimum is not None:
        faults.append(((typed < column.minimum).fill_null(value=False), f"below {column.minimum}"))
    if column.maximum is not None:
        faults.append(((typed > column.maximum).fill_null(value=False), f"above {column.maximum}"))
    return [
        f"column {name!r}: {bad.sum()} of {len(given)} values {what}"
        + ("" if column.pii else _examples(given.filter(bad)))
        for bad, what in faults
        if bad.any()
    ]


def _examples(values: pl.Series) -> str:
    shown = list(dict.fromkeys(repr(str(value)) for value in values.drop_nulls().head(100)))[:MAX_EXAMPLES]
    return f", for example {', '.join(shown)}" if shown else ""


def _key_faults(rows: pl.DataFrame, key: list[str], *, shown: bool) -> list[str]:
    repeated = rows.select(key).filter(rows.select(key).is_duplicated())
    if repeated.is_empty():
        return []
    example = f", for example {'|'.join(str(value) for value in repeated.row(0))}" if shown else ""
    return [f"key ({', '.join(key)}): {repeated.height} rows share their key with another{example}"]


def _day_faults(rows: pl.DataFrame, day_columns: list[str], day: date, *, shown: bool) -> list[str]:
    expected = (day.year, day.month, day.day)
    parts = rows.select(day_columns)
    same = [parts[name].eq_missing(part) for name, part in zip(day_columns, expected, strict=True)]
    other = parts.filter(~pl.DataFrame(same).select(pl.all_horizontal(pl.all())).to_series())
    if other.is_empty():
        return []
    example = f", for example {'-'.join(str(part) for part in other.row(0))}" if shown else ""
    return [f"{other.height} of {rows.height} rows are of another day than {day}{example}"]


def _event_day_faults(rows: pl.DataFrame, column: str, day: date, timezone: str, *, shown: bool) -> list[str]:
    instants = rows[column].drop_nulls()
    other = instants.filter(instants.dt.convert_time_zone(timezone).dt.date() != day)
    if other.is_empty():
        return []
    example = f", for example {other[0]:%Y-%m-%dT%H:%M:%SZ}" if shown else ""
    way_on = "deliver each row with its own day, or declare `day_columns: []` if a delivery holds rows of any day"
    fault = f"{len(other)} of {rows.height} rows are of another day than {day} by {column} in {timezone}"
    return [f"{fault}{example}; {way_on}"]
