"""Says in one sentence what a ledger line says."""

from __future__ import annotations

from typing import Any

from pipelines.ledger.people import answer_text
from pipelines.ledger.seals import SEAL_KIND, read_seals
from pipelines.ports import LedgerEntry

SHOWN_FIELDS = ("semantic_version", "role", "table", "from", "to", "day", "until", "reason", "because")
"""What is shown of a line without a verdict, in this order."""


def summary(line: LedgerEntry) -> str:
    """Without number, time, kind, model, version and actor, which every line has; empty if that says it all."""
    details = line.details
    if line.kind == SEAL_KIND and (seals := read_seals([line])):
        return f"{seals[0].stretch_text} sealed: {seals[0].because}"
    if line.kind == "approval_answer":
        return answer_text(line)
    parts = [_verdict_text(details)] if "outcome" in details else []
    parts += [f"{name.replace('_', ' ')} {_plain(details[name])}" for name in SHOWN_FIELDS if details.get(name)]
    return "; ".join(part for part in parts if part)


def _verdict_text(details: dict[str, Any]) -> str:
    subject = next((str(details[name]) for name in ("gate", "check", "practice", "rule") if details.get(name)), "")
    reasons = "; ".join(map(str, details.get("reasons") or details.get("people") or []))
    verdict = f"{subject} {str(details['outcome']).upper()}".strip()
    return f"{verdict}: {reasons}" if reasons else verdict


def _plain(value: Any) -> str:
    return " ".join(str(value).split())
