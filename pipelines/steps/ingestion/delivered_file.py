"""Reads one delivered file in its declared format, or says with the line what it is instead."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from pipelines.spec.file_format import FileFormat
from pipelines.steps.ingestion.compressed_file import decompress
from pipelines.steps.ingestion.csv_table import read_csv
from pipelines.steps.ingestion.file_rows import FileRows, no_rows
from pipelines.steps.ingestion.foreign_files import foreign_kind
from pipelines.steps.ingestion.json_lines import read_json_lines
from pipelines.steps.ingestion.parquet_table import read_parquet

BYTE_ORDER_MARK = "\ufeff"


def read_file(name: str, content: bytes, files: FileFormat, declared: Sequence[str]) -> FileRows:
    """The rows of a file as they were written; ``declared`` are the column names of the contract."""
    expanded, fault = decompress(content, files.compression_of(name), files.max_bytes)
    if fault is not None:
        return no_rows(fault)
    if not expanded and (files.header or files.format == "parquet") and files.format != "jsonl":
        return no_rows("the file is empty; deliver it again")
    if foreign := foreign_kind(expanded, files):
        return no_rows(foreign)
    if files.format == "parquet":
        return read_parquet(expanded, files.max_bytes)
    text, fault = _decode(expanded, files.encoding)
    if fault is not None:
        return no_rows(fault)
    return read_json_lines(text, declared) if files.format == "jsonl" else read_csv(text, files, declared)


def file_text(name: str, content: bytes, files: FileFormat) -> str:
    """The text of a file that ``read_file`` reads."""
    return _decode(decompress(content, files.compression_of(name), files.max_bytes)[0], files.encoding)[0]


def _decode(content: bytes, encoding: str) -> tuple[str, str | None]:
    try:
        return content.decode(encoding).removeprefix(BYTE_ORDER_MARK), None
    except UnicodeDecodeError as error:
        line = content[: error.start].decode(encoding, errors="replace").count("\n") + 1
        name = codecs.lookup(encoding).name.upper()
        byte = f"{content[error.start]:#04x}"
        return "", f"line {line} is not {name} (byte {byte}); deliver the file as {name}, or declare its encoding"
