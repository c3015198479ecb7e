"""The digest of a ledger line covers its fields and the digest of the line before, so that alterations are detected.

The chain alone does not expose lines removed from its end, or a rewritten chain. A head (``<number>:<digest>``) that
was kept elsewhere exposes both; ``pipelines.ledger.examination`` compares a whole ledger with all that were kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

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


def utc_minute(at: datetime | str) -> str:
    """``2013-03-02 10:11 UTC``; a text that is no time stays as it is."""
    try:
        moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    except ValueError:
        return str(at)
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def line_digest(entry: LedgerEntry) -> str:
    """sha256 over the canonical JSON of every field except the digest."""
    fields = {**entry.model_dump(exclude={"digest", "at"}), "at": utc_text(entry.at)}
    return hashlib.sha256(canonical_json(fields).encode()).hexdigest()


class Predecessor(Protocol):
    """What a line names of the line before it, which may be one that cannot be read."""

    @property
    def number(self) -> int: ...
    @property
    def digest(self) -> str: ...


def next_line(
    last: Predecessor | None,
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


def head(entries: Sequence[LedgerEntry]) -> str:
    """``<number>:<digest>`` of the newest line; a copy kept elsewhere exposes a shortened ledger."""
    return f"{entries[-1].number}:{entries[-1].digest}" if entries else f"0:{GENESIS_DIGEST}"


def parse_head(text: str) -> tuple[int, str] | None:
    """Number and digest of a head; None for another text, and for one of line 0, which is before the first line."""
    known = HEAD_PATTERN.match(text.strip())
    if known is None or (int(known[1]) == 0 and known[2] != GENESIS_DIGEST):
        return None
    return int(known[1]), known[2]


def head_fault(number: int, digest: str, actual: str | None) -> str | None:
    """The fault of a ledger that once had this head; ``actual``: the digest of its line now, None: there is no line."""
    if actual is None:
        return f"line {number} is missing: it was once the newest line (digest {digest[:12]})"
    if actual != digest:
        return f"line {number} was rewritten: its digest was {digest[:12]}, now {actual[:12]}"
    return None


def unreadable_head(text: str) -> str:
    return f"{text.strip()[:80]!r} is not a head; a head is <number>:<64 hex digits>"


def head_faults(entries: Sequence[LedgerEntry], heads: Iterable[str]) -> list[str]:
    """Every recorded head whose line is missing from the ledger or has another digest."""
    digests = {entry.number: entry.digest for entry in entries} | {0: GENESIS_DIGEST}
    parsed = {text: parse_head(text) for text in heads}
    faults = [
        head_fault(known[0], known[1], digests.get(known[0])) if known else unreadable_head(text)
        for text, known in parsed.items()
    ]
    return [fault for fault in faults if fault]
