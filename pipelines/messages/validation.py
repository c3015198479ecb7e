"""Requests and results of validating one partition: the suites' findings and the published versions."""

from __future__ import annotations

from pipelines.messages.message import Message


class ValidateRequest(Message):
    dataset: str
    partition: str


class SourceAudit(Message):
    """One source of one partition under its suite: ``received == accepted + quarantined``, always."""

    source: str
    landed: str
    """The validated partition: the request's own, or of a reference source that of its newest copy."""
    received: int
    accepted: int
    quarantined: int
    reasons: dict[str, int] = {}
    """Rows per failing expectation; a row with two reasons counts under both."""
    failures: list[str] = []
    """Expectations on the whole table that failed (they have no rows to quarantine)."""
    raw_version: int
    sha256: dict[str, str] = {}
    """Delivered file to digest, of the delivery that was judged."""
    staged: dict[str, str] = {}
    """Part (``accepted``, ``quarantined``) to the path of its rows, by digest. Empty: under the audit's folder."""


class AuditResult(Message):
    """The suites' findings; the accepted and quarantined rows are stored under ``staged`` until they are published."""

    dataset: str
    partition: str
    sources: list[SourceAudit]
    staged: str
    report: str | None = None
    """URI of the HTML data docs."""


class PublishRequest(Message):
    """``accept=False`` writes only the quarantine and does not change the published tables."""

    audit: AuditResult
    accept: bool


class PublishResult(Message):
    dataset: str
    partition: str
    versions: dict[str, int] = {}
    """Table to version, for example ``validated/city.trips`` to 12."""
    superseded: list[str] = []
    """Tables that were left as they are, because a newer delivery of the partition had been published."""
    profiles: dict[str, str] = {}
