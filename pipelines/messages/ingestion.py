"""Request and result of ingesting one day, source by source."""

from __future__ import annotations

from datetime import date

from pipelines.messages.message import Message


class IngestRequest(Message):
    dataset: str
    day: date


class SourceIngest(Message):
    """One source of one day. ``failures`` lists every violation of the contract; empty: it can be published."""

    source: str
    landed_day: date
    """The folder read: the day itself, or for a reference source the newest day on or before it."""
    rows: int = 0
    sha256: dict[str, str] = {}
    failures: list[str] = []
    table: str | None = None
    """``raw/<source>`` after it was written."""
    version: int | None = None
    unchanged: bool = False
    """True if the table already had this delivery, so that nothing was written."""


class IngestResult(Message):
    dataset: str
    day: date
    sources: list[SourceIngest]
