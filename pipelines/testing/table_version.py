"""One version of a table in memory: what it holds and what was changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl


@dataclass
class TableVersion:
    """One version of a table: its columns, the rows of each partition by its key, and the keys that were changed."""

    schema: dict[str, Any]
    parts: dict[str, pl.DataFrame]
    changed: set[str]

    @property
    def partition_column(self) -> str:
        from pipelines.tables.partition import partition_column

        return partition_column(next(iter([*self.parts, *self.changed])))
