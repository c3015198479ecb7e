"""Recognises a delivered file that is of another kind than declared, so that its refusal can name what it is."""

from __future__ import annotations

import csv
from collections.abc import Collection

COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
CONTAINERS = {b"PK\x03\x04": "a zip archive or an Excel workbook", b"\xd0\xcf\x11\xe0": "an old Excel workbook"}
PARQUET = b"PAR1"
BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""The longer marks first: that of UTF-32 begins like that of UTF-16."""
DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}
SAMPLE_BYTES = 4096


def foreign_kind(content: bytes, declared: str) -> str | None:
    """Why ``content`` cannot be of the ``declared`` format (``csv`` or ``parquet``); None if it looks like it."""
    for magic, name in COMPRESSIONS.items():
        if content.startswith(magic):
            return f"the file is compressed with {name}; deliver it uncompressed"
    for magic, name in CONTAINERS.items():
        if content.startswith(magic):
            return f"the file is {name}; deliver it as {declared.upper()}"
    if declared == "parquet":
        return None if content.startswith(PARQUET) else "the file is not Parquet, which begins with PAR1"
    if content.startswith(PARQUET):
        return "the file is Parquet, the contract declares csv; declare `format: parquet`, or deliver CSV"
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return f"the file is {encoding}, by the byte order mark on line 1; deliver the file as UTF-8"
    sample = content[:SAMPLE_BYTES]
    if sample.count(0) > len(sample) // 4:
        return "the file is UTF-16 or UTF-32: line 1 has a zero byte beside its letters; deliver the file as UTF-8"
    return None


def foreign_delimiter(first_line: str, declared: Collection[str]) -> str | None:
    """Why the header is no comma-separated one, if another delimiter gives more of the ``declared`` columns."""
    by_comma = _columns_named(first_line, ",", declared)
    for delimiter, name in DELIMITERS.items():
        if _columns_named(first_line, delimiter, declared) > max(by_comma, 1):
            return f"line 1 separates the columns by {name}; deliver the file separated by commas"
    return None


def _columns_named(line: str, delimiter: str, declared: Collection[str]) -> int:
    return len(set(next(csv.reader([line], delimiter=delimiter), [])) & set(declared))
