"""The digest of a table depends on its columns, types, values and row order, and on no library or machine."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from pipelines.errors import Refused

DIGEST_PREFIX = b"airworthy.table.1\n"


def table_digest(frame: pl.DataFrame) -> str:
    """sha256, 64 hex digits, of the canonical form of ``frame``.

    The form is, per column in order: its name and type as one line, one byte per row that says whether the value is
    there, then the values. Integers, dates (days) and timestamps (microseconds since 1970, UTC) are 8 bytes little
    endian, numbers are IEEE 754 doubles little endian (-0.0 as 0.0, one NaN), booleans one byte, strings their lengths
    in bytes (8 bytes each) followed by all their UTF-8 bytes; a missing value is zero or empty.
    ``Refused`` for a column of another type.
    """
    digest = hashlib.sha256(DIGEST_PREFIX)
    digest.update(f"{frame.height} rows\n".encode())
    for column in frame.get_columns():
        kind, content = _canonical_bytes(column)
        digest.update(f"{column.name}|{kind}\n".encode())
        digest.update(column.is_not_null().cast(pl.UInt8).to_numpy().tobytes())
        digest.update(content)
    return digest.hexdigest()


def _canonical_bytes(column: pl.Series) -> tuple[str, bytes]:
    kind = column.dtype
    if kind == pl.String:
        values = column.fill_null("")
        lengths = values.str.len_bytes().cast(pl.Int64).to_numpy().astype("<i8").tobytes()
        return "string", lengths + "".join(values.to_list()).encode()
    if kind == pl.Boolean:
        return "boolean", column.fill_null(False).cast(pl.UInt8).to_numpy().tobytes()
    if kind.is_float():
        numbers = column.cast(pl.Float64).fill_null(0.0).to_numpy().astype("<f8") + 0.0  # makes -0.0 a 0.0
        numbers[np.isnan(numbers)] = np.nan  # one of the many bit patterns of "not a number"
        return "number", numbers.tobytes()
    if kind.is_integer():
        return "integer", _int64_bytes(column)
    if kind == pl.Date:
        return "date", _int64_bytes(column.cast(pl.Int32))
    if kind == pl.Datetime("us", "UTC"):
        return "timestamp", _int64_bytes(column.cast(pl.Int64))
    raise Refused(f"column {column.name!r} is {kind}, which has no canonical form; store it as text or a number")


def _int64_bytes(column: pl.Series) -> bytes:
    return column.cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes()
