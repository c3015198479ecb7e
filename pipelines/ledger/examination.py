"""Examines a whole ledger: what its chain and its heads still prove, which stretches are broken, which are sealed.

A line is *vouched for* if its content has its digest and a later line or a head (``<number>:<digest>``, kept outside of
the database) names that digest. The newest line has no later one: it is vouched for unless a head is newer. All that
is not vouched for is broken, also lines that look whole
before an altered one: nothing tells them from forged ones.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import Refused
from pipelines.ledger.hash_chain import GENESIS_DIGEST, head_fault, line_digest, parse_head, unreadable_head
from pipelines.ledger.rows import parse_row, to_row
from pipelines.ledger.seals import Seal, SealedLine, read_seals
from pipelines.ports import LedgerEntry

Row = Mapping[str, Any]
Numbers = tuple[int, int]
"""The first and the last number of lines in a row."""


@dataclass(frozen=True)
class Fault:
    """One fault. ``numbers``: the lines that it is about; None: a head that cannot be read, or a row without number."""

    text: str
    numbers: Numbers | None = None


@dataclass(frozen=True)
class Examination:
    """``faults`` and ``broken`` stretches: what no seal covers, oldest first. ``seals``: those that hold."""

    faults: list[Fault]
    broken: list[Numbers]
    seals: list[Seal]


def examine(rows: Sequence[Row], heads: Iterable[str] = ()) -> Examination:
    """``rows`` are those of the whole ledger, oldest first; ``heads`` every head that was ever kept."""
    lines, distinct_heads = _Lines(rows), _distinct(heads)
    declared = read_seals(lines.sound.values())
    while True:
        proof = _Proof(lines, distinct_heads, declared)
        if all(seal.number in proof.vouched for seal in declared):
            break
        declared = [seal for seal in declared if seal.number in proof.vouched]
    changed = [seal for seal in declared if not _is_as_sealed(seal, rows)]
    for seal in changed:
        proof.vouched -= {number for number in lines.rows if seal.covers(number)}
    seals = [seal for seal in declared if seal not in changed]
    faults = [*lines.faults, *proof.faults()]
    faults += [
        Fault(f"{seal.stretch_text} changed after line {seal.number} sealed it", seal.covered) for seal in changed
    ]
    uncovered = [fault for fault in faults if not _is_covered(fault.numbers, seals)]
    uncovered.sort(key=lambda fault: fault.numbers or (proof.end + 1, 0))
    return Examination(uncovered, [part for part in proof.broken() if not _is_covered(part, seals)], seals)


def seal_details(rows: Sequence[Row], heads: Iterable[str], because: str) -> list[dict[str, Any]]:
    """The details of the seals that cover all faults, to be appended in this order: one for each broken stretch.

    Where nothing is broken but a head cannot be read, one seal without a stretch declares it void.
    """
    examination, distinct_heads = examine(rows, heads), _distinct(heads)
    superseded = {head for seal in examination.seals for head in seal.heads}
    open_heads = [text for text in distinct_heads if text not in superseded]
    digests = {row["number"]: str(row["digest"]) for row in rows}
    details: list[dict[str, Any]] = []
    for first, last in examination.broken:
        inside = [row for row in rows if first <= row["number"] <= last]
        details.append(
            {
                "because": because,
                "first": first,
                "last": last,
                "newest": max(digests, default=0),
                "lines": [{name: row[name] for name in SealedLine.model_fields} for row in inside],
                "digest": _digest(inside),
                "vouched": f"{first - 1}:{digests[first - 1]}" if first > 1 else None,
                "heads": [text for text in open_heads if _contradicts(text, digests, first, last)],
                "faults": [
                    fault.text for fault in examination.faults if fault.numbers and _meet(fault.numbers, (first, last))
                ],
            }
        )
    void = [text for text in open_heads if parse_head(text) is None]
    if void:
        details = details or [{"because": because, "heads": [], "faults": []}]
        details[0]["heads"] += void
        details[0]["faults"] += [unreadable_head(text) for text in void]
    return details


class _Lines:
    """The rows: which are sound in themselves, and what is wrong with the others."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.in_order: list[Row] = []
        self.sound: dict[int, LedgerEntry] = {}
        self.faults: list[Fault] = []
        for row in rows:
            number = row["number"]
            if not isinstance(number, int):
                self.faults.append(Fault(f"a row has {number!r} instead of a number; restore a backup"))
                continue
            self.in_order.append(row)
            if fault := self._fault(row):
                self.faults.append(Fault(fault, (number, number)))
            else:
                self.sound[number] = parse_row(row)
        self.rows = {row["number"]: row for row in self.in_order}

    @staticmethod
    def _fault(row: Row) -> str | None:
        try:
            entry = parse_row(row)
        except Refused as refusal:
            return str(refusal)
        actual = line_digest(entry)
        if actual != entry.digest:
            return f"line {entry.number} was altered: its content gives {actual[:12]}, not {entry.digest[:12]}"
        if to_row(entry) != dict(row):
            return f"line {entry.number} was altered: it is not written in canonical form"
        return None


class _Proof:
    """What chain and heads prove if these seals hold. ``vouched``: numbers of the lines that they vouch for."""

    def __init__(self, lines: _Lines, heads: Sequence[str], seals: Sequence[Seal]) -> None:
        self._lines = lines
        superseded = {head for seal in seals for head in seal.heads}
        self._heads: defaultdict[int, set[str]] = defaultdict(set)
        self._unreadable = []
        for text in [*(head for head in heads if head not in superseded), *(s.vouched for s in seals if s.vouched)]:
            if known := parse_head(text):
                self._heads[known[0]].add(known[1])
            else:
                self._unreadable.append(text)
        self.end = max([0, *lines.rows, *self._heads])
        self.vouched = self._vouch()

    def _vouch(self) -> set[int]:
        sound, vouched = self._lines.sound, set[int]()
        for number in sorted(sound, reverse=True):
            digest, heads = sound[number].digest, self._heads.get(number, set())
            by_chain = number + 1 in vouched and sound[number + 1].previous == digest
            if heads <= {digest} and (heads or by_chain or number == self.end):
                vouched.add(number)
        for number in sorted(vouched):
            before = GENESIS_DIGEST if number == 1 else sound[number - 1].digest if number - 1 in vouched else None
            if before not in (None, sound[number].previous):
                vouched.remove(number)
        return vouched

    def broken(self) -> Iterator[Numbers]:
        number = 0
        for vouched in [*sorted(self.vouched), self.end + 1]:
            if vouched > number + 1:
                yield number + 1, vouched - 1
            number = vouched

    def faults(self) -> Iterator[Fault]:
        yield from self._chain_faults()
        for number, digests in sorted(self._heads.items()):
            row = self._lines.rows.get(number)
            actual = str(row["digest"]) if row else None if number else GENESIS_DIGEST
            for digest in sorted(digests):
                if text := head_fault(number, digest, actual):
                    yield Fault(text, (number, number))
        for text in self._unreadable:
            yield Fault(unreadable_head(text))

    def _chain_faults(self) -> Iterator[Fault]:
        number, digest = 0, GENESIS_DIGEST
        for row in self._lines.in_order:
            at = row["number"]
            if at > number + 1:
                gap = f"{at - number - 1} line(s) missing between them"
                yield Fault(f"line {at} follows line {number}: {gap}", (number + 1, at - 1))
            elif at <= number:
                yield Fault(f"line {at} follows line {number}: out of order", (at, at))
            elif row["previous"] != digest:
                broken = at if number == 0 or number in self.vouched else number
                names = f"names {str(row['previous'])[:12]} as its predecessor, not {digest[:12]}"
                yield Fault(f"line {at} {names}", (broken, broken))
            number, digest = at, str(row["digest"])


def _is_as_sealed(seal: Seal, rows: Sequence[Row]) -> bool:
    return seal.covered is None or _digest(row for row in rows if seal.covers(row["number"])) == seal.digest


def _digest(rows: Iterable[Row]) -> str:
    """sha256 of rows as they are, readable or not."""
    content = hashlib.sha256()
    for row in rows:
        content.update(json.dumps(dict(row), sort_keys=True, default=repr).encode() + b"\n")
    return content.hexdigest()


def _is_covered(part: Numbers | None, seals: Sequence[Seal]) -> bool:
    """Whether every line of the part lies in one of the sealed stretches."""
    if part is None:
        return False
    number, last = part
    for covered_first, covered_last in sorted(seal.covered for seal in seals if seal.covered):
        if covered_first <= number:
            number = max(number, covered_last + 1)
    return number > last


def _contradicts(text: str, digests: Mapping[int, str], first: int, last: int) -> bool:
    known = parse_head(text)
    return known is not None and first <= known[0] <= last and digests.get(known[0]) != known[1]


def _meet(one: Numbers, other: Numbers) -> bool:
    return one[0] <= other[1] and one[1] >= other[0]


def _distinct(heads: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text.strip() for text in heads if text.strip()))
