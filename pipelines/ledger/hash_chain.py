"""The digest of a ledger line covers its fields and the digest of the line before, so that alterations are detected.

The chain alone does not expose lines removed from its end, or a rewritten chain. ``head_faults`` exposes both by
comparison with an earlier head (``<number>:<digest>``) that was kept elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from pipelines.errors import Refused
from pipelines.ports import LedgerEntry

GENESIS_DIGEST = "0" * 64
"""The predecessor's digest in the first line."""
HEAD_PATTERN = re.compile(r"^(\d+):([0-9a-f]{64})$")


def canonical_json(value: Any) -> str:
    """Canonical text of a value: ASCII JSON, keys sorted, no blanks. ``ValueError`` or ``TypeError`` if not JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def to_json_values(details: Mapping[str, Any]) -> dict[str, Any]:
    """Details as JSON returns them: times as ISO text, tuples as lists, NaN and infinities as text.

    ``Refused`` for values that JSON cannot represent.
    """
    try:
        ready = _replace_non_finite(to_jsonable_python(dict(details)))
    except PydanticSerializationError as error:
        raise Refused("details of a ledger line must be plain values (text, numbers, lists)", [str(error)]) from error
    result: dict[str, Any] = json.loads(canonical_json(ready))
    return result


def _replace_non_finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace_non_finite(item) for item in value]
    return value


def utc_text(at: datetime) -> str:
    """ISO 8601 in UTC with microseconds; one text per instant."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def line_digest(entry: LedgerEntry) -> str:
    """sha256 over the canonical JSON of every field except the digest."""
    fields = {**entry.model_dump(exclude={"digest", "at"}), "at": utc_text(entry.at)}
    return hashlib.sha256(canonical_json(fields).encode()).hexdigest()


def next_line(
    last: LedgerEntry | None,
    *,
    at: datetime,
    kind: str,
    model: str,
    version: str | None,
    actor: str,
    details: Mapping[str, Any],
    key: str | None,
) -> LedgerEntry:
    """The line that follows ``last`` (None: the first one), with its digest."""
    line = LedgerEntry(
        number=last.number + 1 if last else 1,
        at=at.astimezone(UTC),
        kind=kind,
        model=model,
        version=version,
        actor=actor,
        details=to_json_values(details),
        key=key,
        previous=last.digest if last else GENESIS_DIGEST,
        digest="",
    )
    return line.model_copy(update={"digest": line_digest(line)})


def chain_faults(entries: Iterable[LedgerEntry]) -> list[str]:
    """Every altered line, missing number and broken link of a whole ledger, oldest first."""
    faults = []
    number, digest = 0, GENESIS_DIGEST
    for entry in entries:
        if entry.number != number + 1:
            faults.append(f"line {entry.number} follows line {number}: {_gap_text(number, entry.number)}")
        elif entry.previous != digest:
            faults.append(f"line {entry.number} names {entry.previous[:12]} as its predecessor, not {digest[:12]}")
        actual = line_digest(entry)
        if actual != entry.digest:
            faults.append(f"line {entry.number} was altered: its content gives {actual[:12]}, not {entry.digest[:12]}")
        number, digest = entry.number, entry.digest
    return faults


def _gap_text(before: int, after: int) -> str:
    return f"{after - before - 1} line(s) missing between them" if after > before else "out of order"


def head(entries: Sequence[LedgerEntry]) -> str:
    """``<number>:<digest>`` of the newest line; a copy kept elsewhere exposes a shortened ledger."""
    return f"{entries[-1].number}:{entries[-1].digest}" if entries else f"0:{GENESIS_DIGEST}"


def head_faults(entries: Sequence[LedgerEntry], heads: Iterable[str]) -> list[str]:
    """Every recorded head whose line is missing from the ledger or has another digest."""
    digests = {entry.number: entry.digest for entry in entries} | {0: GENESIS_DIGEST}
    faults = []
    for text in heads:
        known = HEAD_PATTERN.match(text.strip())
        if known is None:
            faults.append(f"{text.strip()[:80]!r} is not a head; a head is <number>:<64 hex digits>")
        elif int(known[1]) not in digests:
            faults.append(f"line {known[1]} is missing: it was once the newest line (digest {known[2][:12]})")
        elif digests[int(known[1])] != known[2]:
            faults.append(
                f"line {known[1]} was rewritten: its digest was {known[2][:12]}, now {digests[int(known[1])][:12]}"
            )
    return faults
