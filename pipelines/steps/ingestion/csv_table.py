"""Reads a CSV file as text by one reader (RFC 4180), or says with the line why it is no table."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Collection, Iterator
from itertools import islice

import polars as pl

from pipelines.steps.ingestion.foreign_files import foreign_delimiter, foreign_kind

CHUNK_ROWS = 50_000
"""Rows that are held as Python strings at once."""
FIELD = r'(?:"(?:[^"]|"")*"|[^",\r\n]*)'
RECORD = re.compile(rf"{FIELD}(?:,{FIELD})*")
LINE_END = re.compile(r"[\r\n]")
QUOTED = re.compile(r'"(?:[^"]|"")*"')
LONE_QUOTE = 'has a quote (") that is no part of a quoted field; write the field in quotes and double the quote inside'
OPEN_QUOTE = 'opens a quote (") that is never closed; close it, or double a quote that belongs to the value'
LONE_RETURN = "has a carriage return (CR) without a line feed; end lines with LF or CR LF, or quote the field"


class _NotCsv(Exception):
    """A record that is no CSV; the text names its line."""


def read_csv(content: bytes, declared: Collection[str]) -> tuple[pl.DataFrame | None, list[str], list[str]]:
    """Rows as text with nothing lost (an empty field is ``""``), the header, and the faults; rows only without faults.

    ``declared`` are the column names of the contract, by which a foreign delimiter is recognised.
    """
    if foreign := foreign_kind(content, "csv"):
        return None, [], [foreign]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return None, [], [f"line {line} is not UTF-8 (byte {content[error.start]:#04x}); deliver the file as UTF-8"]
    if foreign := foreign_delimiter(LINE_END.split(text, 1)[0], declared):
        return None, [], [foreign]
    records = _records(text)
    try:
        _, header = next(records, (1, []))
    except _NotCsv as error:
        return None, [], [str(error)]
    failures = [
        f"column {name!r} is in the header more than once" for name in sorted(set(header)) if header.count(name) > 1
    ]
    chunks: list[pl.DataFrame] = []
    uneven: list[tuple[int, int]] = []
    try:
        while chunk := list(islice(records, CHUNK_ROWS)):
            uneven += [(line, len(fields)) for line, fields in chunk if len(fields) != len(header)]
            if not uneven and not failures:
                columns = zip(*(fields for _, fields in chunk), strict=True)
                chunks.append(pl.DataFrame([pl.Series(name, part) for name, part in zip(header, columns, strict=True)]))
    except _NotCsv as error:
        failures.append(str(error))
    if uneven:
        failures.append(
            f"the file is not readable as CSV: {len(uneven)} lines do not have the header's {len(header)} fields, "
            f"for example line {uneven[0][0]} with {uneven[0][1]}"
        )
    if failures:
        return None, header, failures
    return pl.concat([pl.DataFrame(schema=dict.fromkeys(header, pl.String)), *chunks]), header, []


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line on which it begins. Raises ``_NotCsv`` at the first that is malformed."""
    csv.field_size_limit(sys.maxsize)  # the default of 128 KiB would refuse a long text
    unquoted = '"' not in text and text.count("\r") == text.count("\r\n")
    raw: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline="\n"):
            raw.append(line)
            yield line

    reader, start = csv.reader(lines(), strict=True), 1
    while True:
        raw.clear()
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise _NotCsv(_malformed(start, "".join(raw), str(error))) from error
        if fields is None:
            return
        if not unquoted and not RECORD.fullmatch(record := _without_line_end("".join(raw))):
            raise _NotCsv(_malformed(start, record, ""))
        yield start, fields
        start = reader.line_num + 1


def _without_line_end(record: str) -> str:
    return record.removesuffix("\n").removesuffix("\r")


def _malformed(line: int, record: str, message: str) -> str:
    unquoted = QUOTED.sub("", _without_line_end(record))
    if "unexpected end of data" in message:
        fault = OPEN_QUOTE
    elif "\r" in unquoted:
        fault = LONE_RETURN
    else:
        fault = LONE_QUOTE
    return f"the file is not readable as CSV: line {line} {fault}"
