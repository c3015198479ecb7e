"""Splits one file into a file for each partition by the event time of its rows; each row is in exactly one of them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import polars as pl
import pyarrow as pa

from pipelines.spec.file_format import Compression
from pipelines.spec.partitions import PartitionCalendar
from pipelines.spec.source import SourceSpec
from pipelines.steps.ingestion.column_values import typed_columns
from pipelines.steps.ingestion.delivered_file import file_text, read_file
from pipelines.steps.ingestion.file_rows import FileRows
from pipelines.tables.event_instants import event_instants
from pipelines.tables.parquet_bytes import parquet_bytes


@dataclass(frozen=True)
class FilePart:
    """The rows of one partition as a file of their own, written like the file that they come from."""

    content: bytes
    rows: int


def split_file(
    name: str, content: bytes, source: SourceSpec, calendar: PartitionCalendar
) -> tuple[dict[str, FilePart], list[str]]:
    """Partition key to its part, and the faults for which the file cannot be split; with faults there are no parts.

    A partition between the first and the last of the file that has no rows gets a part without any, if its source may
    be empty.
    """
    if source.row_time is None:
        return {}, ["its source declares no event_time, so nothing says the partition of a row; deliver each by itself"]
    file = read_file(name, content, source.files, list(source.columns))
    if file.rows is None:
        return {}, file.failures
    missing = [f"column {column!r} is missing" for column in source.row_time.columns if column not in file.columns]
    if missing:
        return {}, missing
    columns = {column: source.columns[column] for column in source.row_time.columns}
    instants = event_instants(typed_columns(file.rows, columns, source.files)[1], source.row_time, calendar.timezone)
    keys, faults = _partition_keys(instants.to_list(), file.lines, calendar)
    if faults:
        return {}, faults
    rows_of: dict[str, list[int]] = {}
    for number, key in enumerate(keys):
        rows_of.setdefault(key, []).append(number)
    if rows_of and source.empty == "allowed":
        first, last = min(rows_of), max(rows_of)
        until = max(instants.to_list()).astimezone(calendar.zone).date()
        between = [partition.key for partition in calendar.partitions(until) if first < partition.key < last]
        rows_of = {key: rows_of.get(key, []) for key in sorted({*rows_of, *between})}
    if source.files.format == "parquet":
        contents = {key: parquet_bytes(file.rows[rows]) for key, rows in rows_of.items()}
    else:
        contents = _text_parts(name, content, source, file, rows_of)
    return {key: FilePart(contents[key], len(rows)) for key, rows in rows_of.items()}, []


def _partition_keys(
    instants: Sequence[datetime | None], lines: pl.Series, calendar: PartitionCalendar
) -> tuple[list[str], list[str]]:
    """The partition of each row; rows without an event time, or outside of the calendar, are faults."""
    known = {instant: calendar.partition_of(instant) for instant in {*instants} if instant is not None}
    untimed = [line for instant, line in zip(instants, lines, strict=True) if instant is None]
    outside = [line for instant, line in zip(instants, lines, strict=True) if instant and known[instant] is None]
    faults = []
    if untimed:
        faults.append(f"{len(untimed)} rows have no event time that can be read, for example line {untimed[0]}")
    if outside:
        span = f"{calendar.start} to {calendar.end or 'now'}"
        faults.append(
            f"{len(outside)} rows lie outside of {span}, which the dataset declares, for example line {outside[0]}"
        )
    return [partition.key for instant in instants if instant and (partition := known[instant])], faults


def _text_parts(
    name: str, content: bytes, source: SourceSpec, file: FileRows, rows_of: dict[str, list[int]]
) -> dict[str, bytes]:
    """The records as they stand in the file, below its header."""
    files = source.files
    lines = list(io.StringIO(file_text(name, content, files), newline="\n"))
    starts = [line - 1 for line in file.lines] + [len(lines)]
    header = "".join(lines[: starts[0]]) if files.header and files.format == "csv" else ""
    records = ["".join(lines[begin:end]) for begin, end in pairwise(starts)]
    if records and not records[-1].endswith("\n"):
        records[-1] += "\n"
    compression = files.compression_of(name)
    return {
        key: _compressed((header + "".join(records[row] for row in rows)).encode(files.encoding), compression)
        for key, rows in rows_of.items()
    }


def _compressed(content: bytes, compression: Compression) -> bytes:
    if compression == "gzip":
        return gzip.compress(content, mtime=0)
    packed: bytes = pa.compress(content, codec="zstd", asbytes=True) if compression == "zstd" else content
    return packed
