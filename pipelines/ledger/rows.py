"""A ledger line as the values of its database row, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipelines.errors import Refused
from pipelines.ledger.hash_chain import canonical_json, utc_text
from pipelines.ports import LedgerEntry


def to_row(entry: LedgerEntry) -> dict[str, Any]:
    """Column to value, in the one form in which a line is stored."""
    return {**entry.model_dump(), "at": utc_text(entry.at), "details": canonical_json(entry.details)}


def parse_row(row: Mapping[str, Any]) -> LedgerEntry:
    """``Refused`` for a row that was altered so that it cannot be read."""
    try:
        return LedgerEntry.model_validate({**row, "details": json.loads(row["details"])})
    except (ValueError, TypeError) as error:
        raise Refused(f"line {row['number']} was altered: it cannot be parsed") from error
