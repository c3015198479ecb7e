"""The rows of one delivered file as they were written, each with its line, or why the file is no table."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl


@dataclass(frozen=True)
class FileRows:
    """One file. ``rows`` is None where the file is no table; ``failures`` then says why.

    ``lines``: of each row that on which it begins (of Parquet its number), from 1. ``columns``: the names that the file
    has, where they could be read.
    """

    rows: pl.DataFrame | None
    lines: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.Int64))
    columns: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def no_rows(*failures: str, columns: list[str] | None = None) -> FileRows:
    """Of a file that is no table."""
    return FileRows(None, columns=columns or [], failures=list(failures))
