"""Requests and results of extracting and of ingesting one partition, source by source."""

from __future__ import annotations

from pipelines.messages.message import Message


class IngestRequest(Message):
    dataset: str
    partition: str
    """Its key."""


class ExtractRequest(Message):
    dataset: str
    partition: str
    """Its key."""
    sources: list[str] | None = None
    """Read these again, also if the partition was delivered; None: each that was not."""


class ExtractResult(Message):
    dataset: str
    partition: str
    rows: dict[str, int]
    """Of each source that was read now."""


class SourceIngest(Message):
    """One source of one partition. ``failures`` lists every violation of the contract; empty: it can be published."""

    source: str
    landed: str
    """The partition whose folder was read: the request's own, or a reference source's newest one until then."""
    rows: int = 0
    sha256: dict[str, str] = {}
    failures: list[str] = []
    late: dict[str, int] = {}
    """Rows of earlier partitions that the delivery brought, by partition; they are ingested with theirs."""
    table: str | None = None
    """``raw/<dataset>.<source>`` after it was written."""
    version: int | None = None
    unchanged: bool = False
    """True if the table already had this delivery, so that nothing was written."""


class IngestResult(Message):
    dataset: str
    partition: str
    sources: list[SourceIngest]
