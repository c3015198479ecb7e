"""A line's digest covers its content and its predecessor: what is altered, missing or cut off is named."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.ledger.hash_chain import (
    GENESIS_DIGEST,
    canonical_json,
    head,
    head_faults,
    line_digest,
    next_line,
    to_json_values,
    utc_text,
)
from pipelines.ports import LedgerEntry

AT = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)


def chain(length: int) -> list[LedgerEntry]:
    lines: list[LedgerEntry] = []
    for number in range(1, length + 1):
        lines.append(
            next_line(
                lines[-1] if lines else None,
                at=AT,
                kind="gate",
                model="m",
                version="1",
                actor="ann",
                details={"number": number},
                key=None,
            )
        )
    return lines


@pytest.mark.parametrize(
    ("value", "text"),
    [({"b": 1, "a": [1.5, None, True]}, '{"a":[1.5,null,true],"b":1}'), ("é", '"\\u00e9"'), ({}, "{}")],
)
def test_a_value_has_one_text_in_ascii_with_sorted_keys_and_no_blanks(value: Any, text: str) -> None:
    assert canonical_json(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_without_a_text_in_json_is_refused_by_the_canonical_form(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (1.5, 1.5),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ([math.inf, 1.0], ["inf", 1.0]),
        ({"inner": {"x": math.nan}}, {"inner": {"x": "nan"}}),
        ((1, "a"), [1, "a"]),
        (date(2026, 1, 2), "2026-01-02"),
        (True, True),
        (None, None),
    ],
)
def test_details_are_stored_as_json_returns_them(value: Any, stored: Any) -> None:
    assert to_json_values({"value": value}) == {"value": stored}


def test_details_that_are_no_plain_values_are_refused() -> None:
    with pytest.raises(Refused, match="must be plain values") as refusal:
        to_json_values({"value": object()})
    assert len(refusal.value.reasons) == 1


def test_one_instant_has_one_text_in_every_zone() -> None:
    assert utc_text(AT) == "2026-01-01T12:00:00.000005+00:00"
    assert utc_text(AT.astimezone(timezone(timedelta(hours=5)))) == utc_text(AT)
    assert utc_text(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000+00:00"


def test_a_digest_is_the_sha256_of_every_other_field() -> None:
    fields = {
        "number": 1,
        "at": "2026-01-01T12:00:00.000005+00:00",
        "kind": "gate",
        "model": "m",
        "version": "1",
        "actor": "ann",
        "details": {"number": 1},
        "key": None,
        "previous": "0" * 64,
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    assert chain(1)[0].digest == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"number": 2},
        {"at": AT + timedelta(microseconds=1)},
        {"kind": "release"},
        {"model": "n"},
        {"version": None},
        {"actor": "bob"},
        {"details": {}},
        {"key": "k"},
        {"previous": "1" * 64},
    ],
)
def test_every_field_is_covered_by_the_digest(change: dict[str, Any]) -> None:
    [line] = chain(1)
    assert line_digest(line.model_copy(update=change)) != line.digest


def test_a_line_follows_its_predecessor_by_number_and_digest() -> None:
    first, second = chain(2)
    assert (first.number, first.previous) == (1, GENESIS_DIGEST)
    assert (second.number, second.previous) == (2, first.digest)
    assert second.at.utcoffset() == timedelta(0)


def test_the_head_is_the_number_and_digest_of_the_newest_line() -> None:
    lines = chain(2)
    assert head(lines) == f"2:{lines[1].digest}"
    assert head([]) == f"0:{'0' * 64}"


def test_every_earlier_head_of_a_ledger_that_grew_is_on_it() -> None:
    lines = chain(3)
    assert head_faults(lines, [head(lines[:length]) for length in range(4)]) == []
    assert head_faults(lines, [f"  {head(lines)}\n"]) == []


def test_a_shortened_or_rewritten_ledger_misses_an_earlier_head() -> None:
    lines = chain(3)
    digest = lines[2].digest
    assert head_faults(lines[:2], [head(lines)]) == [
        f"line 3 is missing: it was once the newest line (digest {digest[:12]})"
    ]
    assert head_faults(lines, [f"3:{'f' * 64}"]) == [
        f"line 3 was rewritten: its digest was {'f' * 12}, now {digest[:12]}"
    ]
    assert head_faults([], [f"0:{'0' * 64}"]) == []


@pytest.mark.parametrize(
    "text", ["", "3", f"0:{'f' * 64}", f"3:{'f' * 63}", f"3:{'F' * 64}", f"x:{'f' * 64}", f"3:{'f' * 65}"]
)
def test_a_text_that_is_no_head_is_shown_by_its_first_80_characters(text: str) -> None:
    [fault] = head_faults(chain(1), [text])
    assert fault == f"{text!r} is not a head; a head is <number>:<64 hex digits>"
    assert head_faults([], ["x" * 90]) == [f"{'x' * 80!r} is not a head; a head is <number>:<64 hex digits>"]
