"""Guesses how a file is written: its format, compression, encoding, delimiter, quotes, and whether it has a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pipelines.errors import Refused
from pipelines.spec.file_format import COMPRESSION_ENDINGS, Compression, FileFormat, format_of_name
from pipelines.steps.ingestion.column_values import NUMBER
from pipelines.steps.ingestion.compressed_file import decompress
from pipelines.steps.ingestion.delivered_file import read_file
from pipelines.steps.ingestion.file_rows import FileRows
from pipelines.steps.ingestion.foreign_files import COMPRESSIONS, PARQUET, READ_COMPRESSIONS

DELIMITERS = (",", ";", "\t", "|")
DELIMITER_WORDS = {"\t": "tab"}
HEAD_CHARACTERS = 256 * 1024
HEAD_LINES = 300
EVEN_SHARE = 0.95
"""Of the first lines that have as many values as the first: a quoted value may go over several lines."""
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
UNSURE_ENCODINGS = ("cp1252", "latin-1")
DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?")


@dataclass(frozen=True)
class WrittenForm:
    """``fields``: those of ``files`` beside its path that differ from what its name says. ``questions``: what a person
    should confirm."""

    pattern: str
    """Of the names of such files: ``*.csv``."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    """Of the columns."""
    questions: list[str] = field(default_factory=list)

    def file_format(self, **more: Any) -> FileFormat:
        return FileFormat.model_validate({"format": format_of_name(self.pattern), **self.fields, **more})


def read_unknown_file(name: str, content: bytes, columns: Sequence[str] = ()) -> tuple[WrittenForm, FileRows]:
    """How a file is written, and its rows by the reader of deliveries. ``columns``: names for a file without a header.

    Raises ``Refused`` with every fault where no form gives a table.
    """
    form = _form_of(name, content, columns)
    file = read_file(name, content, form.file_format(), form.names)
    if file.rows is None and form.file_format().format == "csv" and any("quote" in fault for fault in file.failures):
        without_quotes = WrittenForm(form.pattern, {**form.fields, "quote": "none"}, form.names, form.questions)
        unquoted = read_file(name, content, without_quotes.file_format(), form.names)
        form, file = (without_quotes, unquoted) if unquoted.rows is not None else (form, file)
    if file.rows is None:
        hint = ["pandas writes its row numbers without a name, unless `index=False`"] if _is_unnamed(file) else []
        raise Refused(f"{name} is no table that can be read", [*file.failures, *hint])
    return WrittenForm(form.pattern, form.fields, file.columns, form.questions), file


def _is_unnamed(file: FileRows) -> bool:
    return "" in file.columns


def _form_of(name: str, content: bytes, columns: Sequence[str]) -> WrittenForm:
    path, fields, questions = PurePosixPath(name), dict[str, Any](), list[str]()
    by_name = COMPRESSION_ENDINGS.get(path.suffix, "none")
    compression: Compression = next(
        (kind for magic, kind in COMPRESSIONS.items() if content.startswith(magic) and kind in READ_COMPRESSIONS),  # type: ignore[misc]
        "none",
    )
    if compression != by_name:
        fields["compression"] = compression
    expanded, fault = decompress(content, compression, FileFormat().max_bytes)
    if fault is not None:
        raise Refused(f"{name} is no table that can be read", [fault])
    pattern = _pattern(path)
    kind = "parquet" if expanded.startswith(PARQUET) else None
    if kind is None:
        encoding, text = _decoded(expanded)
        if encoding is not None:
            fields["encoding"] = encoding
        if encoding in UNSURE_ENCODINGS:
            questions.append(f"the bytes are no UTF-8; are the texts right when they are read as {encoding}?")
        kind = "jsonl" if text.lstrip("\ufeff \t\r\n").startswith("{") else "csv"
    if kind != format_of_name(pattern):
        fields["format"] = kind
    if kind != "csv":
        return WrittenForm(pattern, fields, questions=questions)
    lines = _first_lines(text)
    if delimiter := _delimiter(lines):
        fields["delimiter"] = delimiter
    records = _records(lines, delimiter or ",")
    if not records:
        raise Refused(f"{name} is empty; name a file with rows")
    names: list[str] = []
    if columns or not _has_header(records):
        width = len(records[0])
        names = list(columns) or [f"column_{number}" for number in range(1, width + 1)]
        if len(names) != width:
            raise Refused(f"{name} has {width} columns, and --columns names {len(names)}; name each once")
        fields["header"] = False
        if not columns:
            questions.append("line 1 looks like values, so the columns have no names; what are they called?")
    return WrittenForm(pattern, fields, names, questions)


def _pattern(path: PurePosixPath) -> str:
    """``*.csv.gz`` of a file ``orders-1.csv.gz``: tomorrow's file has another name."""
    endings = path.suffixes[-2:] if path.suffix in COMPRESSION_ENDINGS else path.suffixes[-1:]
    ending = "".join(endings)
    return f"*{ending}" if re.fullmatch(r"[.\w-]+", ending) else "*"


def _decoded(content: bytes) -> tuple[str | None, str]:
    """The encoding where it is not UTF-8, and the text."""
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return encoding, content.decode(encoding, errors="replace")
    for name in ("utf-8", *UNSURE_ENCODINGS):
        try:
            text = content.decode(name)
        except UnicodeDecodeError:
            continue
        return (None if name == "utf-8" else name), text
    raise AssertionError("latin-1 reads any bytes")


def _first_lines(text: str) -> list[str]:
    head = text[:HEAD_CHARACTERS].removeprefix("\ufeff")
    lines = head.splitlines()
    return [line for line in (lines if len(text) <= HEAD_CHARACTERS else lines[:-1])[:HEAD_LINES] if line.strip()]


def _delimiter(lines: Sequence[str]) -> str | None:
    """None: commas, or nothing separates values. The one that gives most columns, as many on each line as on the first.

    A decimal comma separates nothing on line 1, where names stand.
    """
    widths: dict[str, int] = {}
    for delimiter in DELIMITERS:
        counts = [len(record) for record in _records(lines, delimiter)]
        even = counts.count(counts[0]) if counts else 0
        if counts and counts[0] > 1 and even >= EVEN_SHARE * len(counts):
            widths[delimiter] = counts[0]
    if widths:
        best = max(widths, key=lambda delimiter: widths[delimiter])
        return None if best == "," else DELIMITER_WORDS.get(best, best)
    words = {len(line.split()) for line in lines}
    return "whitespace" if len(words) == 1 and max(words) > 1 else None


def _records(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if delimiter == "whitespace":
        return [line.split() for line in lines]
    separator = "\t" if delimiter == "tab" else delimiter
    try:
        return list(csv.reader(lines, delimiter=separator))
    except csv.Error:
        return []


def _has_header(records: Sequence[Sequence[str]]) -> bool:
    """Line 1 has names, unless one of its values is a number or a date, or each of them is a value further down."""
    first, below = records[0], records[1:]
    if any(re.match(NUMBER, value) or DATE.fullmatch(value) for value in first):
        return False
    columns = list(zip(*(record for record in below if len(record) == len(first)), strict=True))
    return not columns or not all(value in column for value, column in zip(first, columns, strict=True))
