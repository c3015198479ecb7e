"""A frame as the content of a Parquet file, to be put into the store."""

from __future__ import annotations

from io import BytesIO

import polars as pl


def parquet_bytes(rows: pl.DataFrame) -> bytes:
    """Compressed by zstd; the same rows in the same order give the same bytes."""
    content = BytesIO()
    rows.write_parquet(content, compression="zstd")
    return content.getvalue()
