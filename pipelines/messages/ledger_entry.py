"""A line of the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class LedgerEntry(BaseModel):
    """One line of the ledger. ``digest`` covers every other field and the digest of the line before."""

    model_config = ConfigDict(frozen=True)

    number: int
    at: datetime
    kind: str
    model: str
    version: str | None
    actor: str
    details: dict[str, Any]
    key: str | None = None
    """Idempotency key, so that a retried task does not write the line twice."""
    previous: str
    digest: str
