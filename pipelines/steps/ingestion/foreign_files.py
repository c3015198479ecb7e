"""Recognises a delivered file that is of another kind than declared, so that its refusal can name what it is."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence

from pipelines.spec.file_format import FileFormat

COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
READ_COMPRESSIONS = ("gzip", "zstd")
CONTAINERS = {b"PK\x03\x04": "a zip archive or an Excel workbook", b"\xd0\xcf\x11\xe0": "an old Excel workbook"}
PARQUET = b"PAR1"
BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\xef\xbb\xbf": "UTF-8",
}
"""The longer marks first: that of UTF-32 begins like that of UTF-16."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}
DECLARED_AS = {"\t": "tab", " ": "whitespace"}
NAMES = {"csv": "CSV", "jsonl": "JSON lines", "parquet": "Parquet"}
SAMPLE_BYTES = 4096


def foreign_kind(content: bytes, files: FileFormat) -> str | None:
    """Why ``content``, once decompressed, cannot be of the declared format; None if it looks like it."""
    for magic, name in COMPRESSIONS.items():
        if content.startswith(magic):
            way_on = f", or declare `compression: {name}`" if name in READ_COMPRESSIONS else ", or with gzip"
            return f"the file is compressed with {name}; deliver it uncompressed{way_on}"
    for magic, name in CONTAINERS.items():
        if content.startswith(magic):
            return f"the file is {name}; deliver it as {NAMES[files.format]}"
    if files.format == "parquet":
        return None if content.startswith(PARQUET) else "the file is not Parquet, which begins with PAR1"
    if content.startswith(PARQUET):
        kind = NAMES[files.format]
        return f"the file is Parquet, the contract declares {kind}; declare `format: parquet`, or deliver {kind}"
    return _foreign_encoding(content, files.encoding)


def _foreign_encoding(content: bytes, encoding: str) -> str | None:
    declared = codecs.lookup(encoding).name.upper()
    for mark, name in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            if declared.startswith(name):
                return None
            return (
                f"the file is {name}, by the byte order mark on line 1; deliver the file as {declared}, or declare "
                f"`encoding: {name.lower()}`"
            )
    sample = content[:SAMPLE_BYTES]
    if not declared.startswith(("UTF-16", "UTF-32")) and sample.count(0) > len(sample) // 4:
        return (
            f"the file is UTF-16 or UTF-32: line 1 has a zero byte beside its letters; deliver the file as {declared}, "
            "or declare its encoding"
        )
    return None


def foreign_delimiter(first_line: str, declared: Sequence[str], files: FileFormat) -> str | None:
    """Why line 1 is not separated as declared, if another delimiter gives more of the ``declared`` columns."""
    by_declared = _columns_given(first_line, files.separator, declared, header=files.header)
    for delimiter, name in DELIMITERS.items():
        if delimiter == files.separator:
            continue
        if _columns_given(first_line, delimiter, declared, header=files.header) > max(by_declared, 1):
            own = DELIMITERS.get(files.separator, repr(files.separator))
            return (
                f"line 1 separates the columns by {name}; deliver the file separated by {own}, or declare "
                f"`delimiter: {DECLARED_AS.get(delimiter, repr(delimiter))}`"
            )
    return None


def _columns_given(line: str, delimiter: str, declared: Sequence[str], *, header: bool) -> int:
    """Columns that a line names; without a header all of the declared ones, if it has as many values, or none."""
    values = line.split() if delimiter == " " else next(csv.reader([line], delimiter=delimiter), [])
    if header:
        return len(set(values) & set(declared))
    return len(declared) if len(values) == len(declared) else 0
