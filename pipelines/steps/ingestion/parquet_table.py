"""Reads a Parquet file with its own types, or says which of its columns hold what no contract takes."""

from __future__ import annotations

import io
from datetime import date, timedelta

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.steps.ingestion.file_rows import FileRows, no_rows

EPOCH = date(1970, 1, 1)
FIRST_DAY, LAST_DAY = (date.min - EPOCH).days, (date.max - EPOCH).days
"""Days since 1970-01-01 of the first and the last date that Python has."""
PER_DAY = {
    unit: timedelta(days=1) // step
    for unit, step in (("ms", timedelta(milliseconds=1)), ("us", timedelta(microseconds=1)))
}
FEWEST_BYTES_PER_VALUE = 8
"""In memory; a column of one value repeated has next to none in the file."""


def read_parquet(content: bytes, max_bytes: int) -> FileRows:
    """Rows in the file's own types, bytes as text."""
    try:
        metadata = pq.ParquetFile(io.BytesIO(content)).metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        stored = sum(group.total_byte_size for group in groups)
        expanded = max(stored, metadata.num_rows * metadata.num_columns * FEWEST_BYTES_PER_VALUE)
        if expanded > max_bytes:
            return no_rows(
                f"the file has {expanded:,} bytes, decompressed, more than {max_bytes:,}; deliver it in parts, or "
                "raise `max_bytes` of its source"
            )
        rows = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, pl.exceptions.PanicException) as error:
        reason = " ".join(str(error).split())[:200]
        return no_rows(f"the file is not readable as Parquet; deliver it again: {reason}")
    failures: list[str] = []
    for name, dtype in rows.schema.items():
        if isinstance(dtype, pl.Duration | pl.Object) or dtype.is_nested():
            failures.append(f"column {name!r} holds {dtype}, which no type of a contract takes; deliver it as text")
        elif isinstance(dtype, pl.Date | pl.Datetime):
            failures += _year_faults(rows[name])
        elif isinstance(dtype, pl.Binary):  # some writers do not mark text as text
            text = [_text(value) for value in rows[name]]
            lost = text.count(None) - rows[name].null_count()
            if lost:
                failures.append(f"column {name!r}: {lost} of {rows.height} values are bytes that are no UTF-8 text")
            rows = rows.with_columns(pl.Series(name, text, dtype=pl.String))
    if failures:
        return no_rows(*failures, columns=rows.columns)
    return FileRows(rows, pl.int_range(1, rows.height + 1, dtype=pl.Int64, eager=True), rows.columns)


def _year_faults(times: pl.Series) -> list[str]:
    """Dates and times that no text of ours could write; polars itself fails where it shows one."""
    unit: str = getattr(times.dtype, "time_unit", "")  # a date has none
    if unit == "ns":  # of the years 1677 to 2262
        return []
    per_day = PER_DAY.get(unit, 1)
    outside = ~times.to_physical().is_between(FIRST_DAY * per_day, (LAST_DAY + 1) * per_day - 1)
    if not outside.any():
        return []
    row = outside.arg_true()[0] + 1
    count = f"{outside.sum()} of {len(times)} values lie outside of the years 1 to 9999 (line {row})"
    return [f"column {times.name!r}: {count}; deliver them as null, or as dates that there are"]


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
