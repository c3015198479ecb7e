"""What the store says of the newest commit about a partition."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class PartitionRecord(BaseModel):
    """The newest commit about one partition of a table: its version, and the record that it holds, if any."""

    model_config = ConfigDict(frozen=True)

    version: int
    record: str | None = None
