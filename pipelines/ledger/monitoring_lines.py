"""Reads what the checks of a live version found from their ledger lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from pipelines.ports import LedgerEntry


def newest_facts(lines: Iterable[LedgerEntry], check: str, day: date) -> Mapping[str, Any]:
    """Facts of the newest ``monitoring_verdict`` of a check on a day; empty where there is none."""
    facts: Mapping[str, Any] = {}
    for line in lines:
        if line.details.get("check") == check and str(line.details.get("day")) == day.isoformat():
            facts = line.details.get("facts") or {}
    return facts
