"""Names each row of a source whose columns tell no rows apart: by the digest of its file and its line there."""

from __future__ import annotations

import hashlib

import polars as pl

from pipelines.spec.source import ROW_NAME

ROW_COLUMN = ROW_NAME
"""Column of the tables of a source with ``key: row``."""
DIGEST_DIGITS = 16
LINE_DIGITS = 12


def row_names(content: bytes, lines: pl.Series) -> pl.Series:
    """``<16 digits of the file's sha256>:<line, 12 digits>`` of each row; within a file they sort like its lines."""
    digest = hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]
    line = lines.cast(pl.String).str.zfill(LINE_DIGITS)
    return (pl.Series([f"{digest}:"]) + line).alias(ROW_COLUMN) if len(lines) else line.alias(ROW_COLUMN)
