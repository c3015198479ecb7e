"""Requests and results of validating one day: the suites' findings and the published versions."""

from __future__ import annotations

from datetime import date

from pipelines.messages.message import Message


class ValidateRequest(Message):
    dataset: str
    day: date


class SourceAudit(Message):
    """One source of one day under its suite: ``received == accepted + quarantined``, always."""

    source: str
    landed_day: date
    """The validated partition: the day itself, or for a reference source the day of its newest copy."""
    received: int
    accepted: int
    quarantined: int
    reasons: dict[str, int] = {}
    """Rows per failing expectation; a row with two reasons counts under both."""
    failures: list[str] = []
    """Expectations on the whole table that failed (they have no rows to quarantine)."""
    raw_version: int
    staged: dict[str, str] = {}
    """Part (``accepted``, ``quarantined``) to the path of its rows, by digest. Empty: under the audit's folder."""


class AuditResult(Message):
    """The suites' findings; the accepted and quarantined rows are stored under ``staged`` until they are published."""

    dataset: str
    day: date
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
    day: date
    versions: dict[str, int] = {}
    """Table to version, for example ``validated/flights`` to 12."""
    superseded: list[str] = []
    """Tables that were left as they are, because a newer delivery of the day had been published."""
    profiles: dict[str, str] = {}
