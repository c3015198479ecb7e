"""Names each row of a source whose columns tell no rows apart: by the digest of its file and its line there."""

from __future__ import annotations

import hashlib

import polars as pl

ROW_COLUMN = "__row"
"""Column of the tables of a source with ``key: row``; no source's own column begins so."""
DIGEST_DIGITS = 16
LINE_DIGITS = 12


def row_names(content: bytes, lines: pl.Series) -> pl.Series:
    """``<16 digits of the file's sha256>:<line, 12 digits>`` of each row; within a file they sort like its lines."""
    digest = hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]
    line = lines.cast(pl.String).str.zfill(LINE_DIGITS)
    return (pl.Series([f"{digest}:"]) + line).alias(ROW_COLUMN) if len(lines) else line.alias(ROW_COLUMN)
