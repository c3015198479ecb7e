"""One version of a table in memory: what it holds and what was changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.messages.partition_record import PartitionRecord

if TYPE_CHECKING:
    import polars as pl


@dataclass
class TableVersion:
    """One version of a table: its columns, the rows of each partition by its key, the keys that were changed, and
    by key the newest commit about it."""

    schema: dict[str, Any]
    parts: dict[str, pl.DataFrame]
    changed: set[str]
    records: dict[str, PartitionRecord] = field(default_factory=dict)

    @property
    def partition_column(self) -> str:
        from pipelines.tables.partition import partition_column

        return partition_column(next(iter([*self.parts, *self.changed, *self.records])))
