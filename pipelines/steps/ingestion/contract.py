"""Reads the files of a delivery and checks them against their contract; all faults are reported together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from pipelines.errors import Refused
from pipelines.spec.column import ColumnSpec
from pipelines.spec.event_time import EventTime
from pipelines.spec.fault_text import shortened
from pipelines.spec.partitions import Partition
from pipelines.spec.source import ROW_KEY, SourceSpec
from pipelines.steps.ingestion.column_values import forms_of, typed_columns
from pipelines.steps.ingestion.delivered_file import read_file
from pipelines.tables.column_types import stored_column_type
from pipelines.tables.event_instants import event_instants
from pipelines.tables.row_identity import ROW_COLUMN, row_names

LINE_COLUMN, FILE_COLUMN = "__line", "__file"
"""Where a row stands, while a delivery is checked; no source's own columns begin so."""
MAX_EXAMPLES = 3
MAX_FAILURES = 50
"""Of one delivery; more are counted."""


def read_delivery(
    files: Mapping[str, bytes],
    source: SourceSpec,
    partition: Partition | None,
    *,
    timezone: str = "UTC",
    row_counts: Mapping[str, int] | None = None,
    earliest: datetime | None = None,
) -> tuple[pl.DataFrame, list[str]]:
    """Rows of all files in the contract's columns and types, and every failure; with failures they are not to be used.

    Rows of another partition are failures, by the time of their event (``timezone``: of dates); ``partition`` None:
    rows of any time are taken; ``earliest``: rows of earlier partitions since then are taken, too. A source's own
    column with the name of a partition column has its ``stored_name``. Rows that no column tells apart have a name of
    their own (``ROW_COLUMN``). ``row_counts``: of each file, as its manifest
    says.
    """
    parts: list[pl.DataFrame] = []
    failures: list[str] = []
    for name, content in sorted(files.items()):
        typed, faults = _read_part(name, content, source)
        expected = (row_counts or {}).get(name)
        if not faults and typed is not None and expected not in (None, typed.height):
            faults.append(f"{name} has {typed.height} rows, its manifest says {expected}")
        failures += faults if len(files) == 1 else [f"{name}: {fault}" for fault in faults]
        parts += [] if typed is None else [typed]
    if len(parts) < len(files):
        return pl.DataFrame(), limited(failures)
    table = pl.concat(parts, how="diagonal") if parts else _no_rows(source)
    rows, faults = _check_table(table, source, partition, timezone, earliest)
    return rows, limited([*failures, *faults])


def _no_rows(source: SourceSpec) -> pl.DataFrame:
    """A delivery without a file."""
    rows = pl.DataFrame(schema={name: stored_column_type(column) for name, column in source.columns.items()})
    return rows.with_columns(row_names(b"", pl.Series(dtype=pl.Int64))) if source.key == ROW_KEY else rows


def _read_part(name: str, content: bytes, source: SourceSpec) -> tuple[pl.DataFrame | None, list[str]]:
    """One file's rows in the types of the contract, and the faults of the file and its values; None: no table."""
    file = read_file(name, content, source.files, list(source.columns))
    if file.rows is None:
        missing = _column_faults(file.columns, list(source.columns)) if file.columns else []
        return None, [*file.failures, *missing]
    typed, faults = _check_columns(file.rows, source, file.lines)
    if not typed.width:
        return None, faults
    typed = typed.with_columns(row_names(content, file.lines)) if source.key == ROW_KEY else typed
    return typed.with_columns(file.lines.alias(LINE_COLUMN), pl.lit(name).alias(FILE_COLUMN)), faults


def limited(failures: list[str]) -> list[str]:
    """The first of the failures, and how many there are besides."""
    more = len(failures) - MAX_FAILURES
    return failures if more <= 0 else [*failures[:MAX_FAILURES], f"and {more:,} more"]


def check_rows(
    held: pl.DataFrame, source: SourceSpec, partition: Partition | None, *, timezone: str = "UTC"
) -> tuple[pl.DataFrame, list[str]]:
    """As ``read_delivery``, of rows that are held; their names stay."""
    typed, failures = _check_columns(held.drop(ROW_COLUMN, strict=False), source, None)
    if ROW_COLUMN in held.columns:
        typed = typed.with_columns(held[ROW_COLUMN])
    rows, faults = _check_table(typed, source, partition, timezone)
    return rows, limited([*failures, *faults])


def _check_columns(
    delivered: pl.DataFrame, source: SourceSpec, lines: pl.Series | None
) -> tuple[pl.DataFrame, list[str]]:
    """The contract's columns in their types, and the faults of names and values. ``lines``: of each row in its file."""
    failures = _column_faults(delivered.columns, list(source.columns))
    present = {name: column for name, column in source.columns.items() if name in delivered.columns}
    untyped, typed = typed_columns(delivered, present, source.files)
    for name, column in present.items():
        failures += _value_faults(untyped[name], typed[name], column, lines)
    return typed, failures


def _check_table(
    typed: pl.DataFrame,
    source: SourceSpec,
    partition: Partition | None,
    timezone: str,
    earliest: datetime | None = None,
) -> tuple[pl.DataFrame, list[str]]:
    """The rows as they are stored, and the faults that only all of them show: their number, keys and times."""
    failures = []
    if typed.height < source.minimum_rows and (typed.height or source.empty == "refused"):
        failures.append(f"{typed.height} rows delivered, fewer than {source.minimum_rows}; deliver the whole file")
    if ROW_COLUMN in typed.columns and typed[ROW_COLUMN].is_duplicated().any():
        failures.append("two files have the same content, so their rows would count twice; deliver it once")
    key, row_time = source.key_columns, source.row_time
    if key and all(name in typed.columns for name in key):
        failures += _key_faults(typed, key, shown=not any(source.columns[name].pii for name in key))
    if partition is not None and row_time is not None and all(name in typed.columns for name in row_time.columns):
        shown = not any(source.columns[name].pii for name in row_time.columns)
        failures += _event_faults(typed, row_time, partition, timezone, earliest or partition.begin, shown=shown)
    typed = typed.drop(LINE_COLUMN, FILE_COLUMN, strict=False)
    return typed.rename({name: source.stored_name(name) for name in typed.columns}), failures


def _column_faults(header: list[str], declared: list[str]) -> list[str]:
    missing = [f"column {name!r} is missing" for name in declared if name not in header]
    extra = [
        f"column {name!r} is not in the contract; remove it, or declare it" for name in header if name not in declared
    ]
    return missing + extra


def _value_faults(untyped: pl.Series, typed: pl.Series, column: ColumnSpec, lines: pl.Series | None) -> list[str]:
    """Faults of one column: type, null, category, range and form, each with its number of rows and examples."""
    name, dtype = untyped.name, typed.dtype
    forms = forms_of(column)
    faults = [(untyped.is_not_null() & typed.is_null(), f"not of type {column.type}{forms and f' ({forms})'}")]
    if not column.nullable:
        faults.append((untyped.is_null(), "null, which the contract does not allow"))
    if column.allowed is not None:
        categories = pl.Series(column.allowed, dtype=dtype)
        faults.append(
            (typed.is_not_null() & ~typed.is_in(categories.implode()), f"not one of {_listed(column.allowed)}")
        )
    if column.min is not None:
        faults.append((typed < pl.Series([column.min], dtype=dtype), f"below {_shown(column.min)}"))
    if column.max is not None:
        faults.append((typed > pl.Series([column.max], dtype=dtype), f"above {_shown(column.max)}"))
    if column.pattern is not None:
        faults.append((~_matching(typed, column.pattern), f"not of the form {column.pattern}"))
    return [
        f"column {name!r}: {bad.sum()} of {len(untyped)} values {what}{_examples(untyped, bad, column, lines)}"
        for bad, what in faults
        if bad.any()
    ]


def _matching(texts: pl.Series, pattern: str) -> pl.Series:
    """Which texts a pattern matches as a whole. Raises ``Refused`` for one that the engine cannot hold."""
    try:
        return texts.str.contains(f"^(?:{pattern})$")
    except pl.exceptions.ComputeError as error:
        way_on = "declare it with `*` or `+` in place of large numbers of repetitions"
        raise Refused(f"the pattern of column {texts.name!r} takes too much memory; {way_on}") from error


def _examples(untyped: pl.Series, bad: pl.Series, column: ColumnSpec, lines: pl.Series | None) -> str:
    """The first values that are bad, unless they are personal, and the line of the first."""
    values = untyped.filter(bad).drop_nulls().head(0 if column.pii else 100)
    shown = list(dict.fromkeys(repr(_shown(value)) for value in values))[:MAX_EXAMPLES]
    examples = f", for example {', '.join(shown)}" if shown else ""
    first = "" if lines is None else f" (line {lines.filter(bad)[0]})"
    return f"{examples}{first}"


def _listed(values: list[Any]) -> str:
    return ", ".join(map(_shown, values))


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return shortened(str(value).lower() if isinstance(value, bool) else str(value))


def _key_faults(rows: pl.DataFrame, key: list[str], *, shown: bool) -> list[str]:
    repeated = rows.select(key).filter(rows.select(key).is_duplicated())
    if repeated.is_empty():
        return []
    example = f", for example {'|'.join(str(value) for value in repeated.row(0))}" if shown else ""
    return [f"key ({', '.join(key)}): {repeated.height} rows share their key with another{example}"]


def _event_faults(
    rows: pl.DataFrame, row_time: EventTime, partition: Partition, timezone: str, earliest: datetime, *, shown: bool
) -> list[str]:
    instants = event_instants(rows, row_time, timezone)
    is_other = ((instants < earliest) | (instants >= partition.end)).fill_null(value=False)
    faults = []
    has_columns = rows.select(pl.all_horizontal(pl.col(row_time.columns).is_not_null())).to_series()
    untold = rows.filter(instants.is_null() & has_columns)
    if untold.height:
        faults.append(f"{untold.height} rows are outside of the years 1 to 9999 by {row_time}{_place(untold)}")
    other = instants.filter(is_other)
    if other.is_empty():
        return faults
    place = _place(rows.filter(is_other))
    example = f", for example {other[0]:%Y-%m-%dT%H:%M:%SZ}{place}" if shown else place
    noun = partition.noun
    way_on = (
        f"deliver each row with its own {noun}, or declare `event_time: none` if a delivery holds rows of any {noun}"
    )
    fault = f"{len(other)} of {rows.height} rows are of another {noun} than {partition.key} by {row_time} in {timezone}"
    if earliest < partition.begin:
        fault += f", and later than `late` allows (since {earliest:%Y-%m-%dT%H:%M:%SZ}) or not late"
    return [*faults, f"{fault}{example}; {way_on}"]


def _place(rows: pl.DataFrame) -> str:
    """The line of the first row, with its file if there are several; empty for rows that stand in no file."""
    if LINE_COLUMN not in rows.columns:
        return ""
    file = f"{rows[FILE_COLUMN][0]}, " if rows[FILE_COLUMN].n_unique() > 1 else ""
    return f" ({file}line {rows[LINE_COLUMN][0]})"
