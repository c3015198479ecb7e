"""Reads CSV as text by one reader (RFC 4180, with the declared delimiter), or says with the line why it is no table."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice

import polars as pl

from pipelines.spec.file_format import FileFormat
from pipelines.steps.ingestion.file_rows import FileRows, no_rows
from pipelines.steps.ingestion.foreign_files import foreign_delimiter

CHUNK_ROWS = 50_000
"""Rows that are held as Python strings at once."""
LINE_END = re.compile(r"[\r\n]")
LONE_QUOTE = (
    "has a quote ({0}) that is no part of a quoted field; write the field in quotes and double the quote inside"
)
OPEN_QUOTE = "opens a quote ({0}) that is never closed; close it, or double a quote that belongs to the value"
LONE_RETURN = "has a carriage return (CR) without a line feed; end lines with LF or CR LF, or quote the field"
Record = tuple[int, list[str]]


class _NotCsv(Exception):
    """A record that is no CSV; the text names its line."""


def read_csv(text: str, files: FileFormat, declared: Sequence[str]) -> FileRows:
    """Rows as text with nothing lost (an empty field is ``""``); ``declared`` are the column names of the contract.

    By them a foreign delimiter is recognised, and they name the values of a file without a header.
    """
    file = _read_table(text, files, declared)
    if file.rows is not None and {*declared} <= {*file.columns}:
        return file
    foreign = foreign_delimiter(LINE_END.split(text, 1)[0], declared, files)
    return no_rows(foreign) if foreign else file


def _read_table(text: str, files: FileFormat, declared: Sequence[str]) -> FileRows:
    records = _split_by_whitespace(text, files) if files.delimiter == "whitespace" else _records(text, files)
    try:
        header = next(records, (1, []))[1] if files.header else list(declared)
    except _NotCsv as error:
        return no_rows(str(error))
    if files.header and declared and {*header}.isdisjoint(declared):
        named = ", ".join(declared)
        return no_rows(
            f"line 1 names none of the columns ({named}); deliver the file with its header, or declare `header: false`"
        )
    failures = [
        f"column {number} has no name in the header; give it one" for number, name in enumerate(header, 1) if not name
    ]
    failures += [
        f"column {name!r} is in the header more than once"
        for name in sorted({*header} - {""})
        if header.count(name) > 1
    ]
    chunks: list[pl.DataFrame] = []
    lines: list[int] = []
    uneven: list[tuple[int, int]] = []
    try:
        while chunk := list(islice(records, CHUNK_ROWS)):
            uneven += [(line, len(fields)) for line, fields in chunk if len(fields) != len(header)]
            if not uneven and not failures:
                columns = zip(*(fields for _, fields in chunk), strict=True)
                chunks.append(pl.DataFrame([pl.Series(name, part) for name, part in zip(header, columns, strict=True)]))
                lines += [line for line, _ in chunk]
    except _NotCsv as error:
        failures.append(str(error))
    if uneven:
        of_what = f"the header's {len(header)} fields" if files.header else f"the {len(header)} declared fields"
        failures.append(
            f"the file is not readable as CSV: {len(uneven)} lines do not have {of_what}, "
            f"for example line {uneven[0][0]} with {uneven[0][1]}"
        )
    if failures:
        return no_rows(*failures, columns=header)
    rows = pl.concat([pl.DataFrame(schema=dict.fromkeys(header, pl.String)), *chunks])
    return FileRows(rows, pl.Series(lines, dtype=pl.Int64), header)


def _records(text: str, files: FileFormat) -> Iterator[Record]:
    """Each record with the line on which it begins. Raises ``_NotCsv`` at the first that is malformed."""
    csv.field_size_limit(sys.maxsize)  # the default of 128 KiB would refuse a long text
    quote, without_quotes = files.quote, files.quote == "none"
    unquoted = (without_quotes or quote not in text) and text.count("\r") == text.count("\r\n")
    record_form = _record_form(files)
    raw: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline="\n"):
            raw.append(line)
            yield line

    reader = csv.reader(
        lines(),
        delimiter=files.separator,
        quotechar=None if without_quotes else quote,
        quoting=csv.QUOTE_NONE if without_quotes else csv.QUOTE_MINIMAL,
        strict=True,
    )
    start = 1
    while True:
        raw.clear()
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise _NotCsv(_malformed(start, "".join(raw), str(error), files)) from error
        if fields is None:
            return
        if not unquoted and not record_form.fullmatch(record := _without_line_end("".join(raw))):
            raise _NotCsv(_malformed(start, record, "", files))
        yield start, fields
        start = reader.line_num + 1


def _split_by_whitespace(text: str, files: FileFormat) -> Iterator[Record]:
    """Each line's values between spaces and tabs; a line without values is passed over."""
    quote = "" if files.quote == "none" else re.escape(files.quote)
    word = rf"{quote}(?:[^{quote}\r\n]|{quote}{quote})*{quote}|[^\s{quote}]+" if quote else r"\S+"
    line_form, values = re.compile(rf"[ \t]*(?:(?:{word})(?:[ \t]+(?:{word}))*)?[ \t]*"), re.compile(word)
    for number, raw in enumerate(io.StringIO(text, newline="\n"), start=1):
        line = _without_line_end(raw)
        if not line_form.fullmatch(line):
            raise _NotCsv(_malformed(number, line, "", files))
        if fields := [_unquoted(value, files.quote) for value in values.findall(line)]:
            yield number, fields


def _unquoted(value: str, quote: str) -> str:
    return value[1:-1].replace(quote * 2, quote) if value.startswith(quote) and quote != "none" else value


def _record_form(files: FileFormat) -> re.Pattern[str]:
    delimiter = re.escape(files.separator)
    field = rf"[^{delimiter}\r\n]*"
    if files.quote != "none":
        quote = re.escape(files.quote)
        field = rf"(?:{_quoted_form(quote)}|[^{quote}{delimiter}\r\n]*)"
    return re.compile(rf"{field}(?:{delimiter}{field})*")


def _quoted_form(quote: str) -> str:
    return f"{quote}(?:[^{quote}]|{quote}{quote})*{quote}"


def _without_line_end(record: str) -> str:
    return record.removesuffix("\n").removesuffix("\r")


def _malformed(line: int, record: str, message: str, files: FileFormat) -> str:
    unquoted = _without_line_end(record)
    if files.quote != "none":
        unquoted = re.sub(_quoted_form(re.escape(files.quote)), "", unquoted)
    if "unexpected end of data" in message:
        fault = OPEN_QUOTE.format(files.quote)
    elif "\r" in unquoted:
        fault = LONE_RETURN
    else:
        fault = LONE_QUOTE.format(files.quote)
    return f"the file is not readable as CSV: line {line} {fault}"
