"""Requests and results of validating one day: what the suites found and what was published."""

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
    """The partition judged: the day itself, or for a reference source the day of its newest copy."""
    received: int
    accepted: int
    quarantined: int
    reasons: dict[str, int] = {}
    """Rows per failing expectation; a row with two reasons counts under both."""
    failures: list[str] = []
    """Expectations on the whole table that failed (they have no rows to quarantine)."""
    raw_version: int


class AuditResult(Message):
    """What the suites found; the accepted and quarantined rows wait under ``staged`` until they are published."""

    dataset: str
    day: date
    sources: list[SourceAudit]
    staged: str
    report: str | None = None
    """URI of the HTML data docs."""


class PublishRequest(Message):
    """``accept=False`` writes the quarantine only and leaves the published tables alone."""

    audit: AuditResult
    accept: bool


class PublishResult(Message):
    dataset: str
    day: date
    versions: dict[str, int] = {}
    """Table to version, for example ``validated/flights`` to 12."""
    profiles: dict[str, str] = {}
