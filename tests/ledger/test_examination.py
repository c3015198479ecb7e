"""An examination names every fault and the stretch that proves nothing; a seal covers exactly what it was made for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.ledger.examination import Examination, examine, seal_details
from pipelines.ledger.hash_chain import head, line_digest, next_line
from pipelines.ledger.rows import to_row
from pipelines.ledger.seals import SEAL_KIND, Seal
from pipelines.ports import LedgerEntry

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Book:
    """Lines as a database has them, and the heads that were kept elsewhere."""

    def __init__(self, length: int, *, keeps_heads: bool = True) -> None:
        self.rows: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.keeps_heads = keeps_heads
        for number in range(1, length + 1):
            self.append({"number": number})

    def append(self, details: dict[str, Any], kind: str = "gate", actor: str = "ann") -> None:
        last = LedgerEntry.model_construct(**self.rows[-1]) if self.rows else None
        line = next_line(last, at=AT, kind=kind, model="m", version="1", actor=actor, details=details, key=None)
        self.rows.append(to_row(line))
        if self.keeps_heads:
            self.heads.append(head([line]))

    def examine(self) -> Examination:
        return examine(self.rows, self.heads)

    def faults(self) -> list[str]:
        return [fault.text for fault in self.examine().faults]

    def repair(self) -> list[Seal]:
        """Seal everything, as the ledger's ``repair`` does; returns the new seals."""
        before = len(self.rows)
        for details in seal_details(self.rows, self.heads, "a disk failed"):
            self.append(details, SEAL_KIND, "ada")
        return [seal for seal in self.examine().seals if seal.number > before]

    def alter(self, number: int, **values: Any) -> None:
        for row in self.rows:
            if row["number"] == number:
                row.update(values)

    def rewrite(self, number: int) -> None:
        """Alter a line and give it the digest of its new content."""
        self.alter(number, actor="eve")
        [row] = [row for row in self.rows if row["number"] == number]
        row["digest"] = line_digest(LedgerEntry.model_validate({**row, "details": {"number": number}}))

    def remove(self, *numbers: int) -> None:
        self.rows = [row for row in self.rows if row["number"] not in numbers]


def digest(book: Book, number: int) -> str:
    return next(str(row["digest"]) for row in book.rows if row["number"] == number)


# ---- faults and what is broken --------------------------------------------------------------------------------------


@pytest.mark.parametrize("keeps_heads", [True, False])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_whole_ledger_has_no_fault(length: int, keeps_heads: bool) -> None:
    assert Book(length, keeps_heads=keeps_heads).examine() == Examination([], [], [])


Damage = Callable[[Book], Any]


@pytest.mark.parametrize(
    ("damage", "fault", "broken"),
    [
        (lambda book: book.alter(2, actor="eve"), "line 2 was altered: its content gives", [(2, 2)]),
        (lambda book: book.alter(2, details="{"), "line 2 was altered: it cannot be parsed", [(2, 2)]),
        (lambda book: book.alter(2, details='{"number": 2}'), "it is not written in canonical form", [(2, 2)]),
        (lambda book: book.rewrite(2), "line 3 names", [(2, 2)]),
        (lambda book: book.rewrite(2), "line 2 was rewritten", [(2, 2)]),
        (lambda book: book.rewrite(4), "line 4 was rewritten", [(4, 4)]),
        (lambda book: book.remove(3), "line 4 follows line 2: 1 line(s) missing between them", [(3, 3)]),
        (lambda book: book.remove(1), "line 2 follows line 0: 1 line(s) missing between them", [(1, 1)]),
        (lambda book: book.remove(3, 4), "line 4 is missing: it was once the newest line", [(3, 4)]),
        (lambda book: book.remove(1, 2, 3, 4), "line 1 is missing", [(1, 4)]),
        (lambda book: (book.alter(1, actor="eve"), book.remove(3)), "line 4 follows line 2", [(1, 1), (3, 3)]),
        (lambda book: book.rows.reverse(), "line 3 follows line 4: out of order", []),
        (lambda book: book.heads.append("9:x"), "'9:x' is not a head", []),
        (lambda book: book.rows.append({**book.rows[0], "number": "five"}), "a row has 'five' instead of", []),
    ],
)
def test_every_damage_is_named_and_breaks_the_lines_that_it_touched(
    damage: Damage, fault: str, broken: list[tuple[int, int]]
) -> None:
    book = Book(4)
    damage(book)
    assert any(fault in text for text in book.faults()), book.faults()
    assert book.examine().broken == broken


def test_an_altered_line_is_named_with_both_digests_and_before_later_faults() -> None:
    book = Book(4)
    book.alter(4, actor="eve")
    book.alter(2, actor="eve")
    texts = book.faults()
    assert [text[:19] for text in texts] == ["line 2 was altered:", "line 4 was altered:"]
    assert texts[0].endswith(f"not {digest(book, 2)[:12]}")


def test_without_heads_a_break_leaves_nothing_before_it_proven() -> None:
    book = Book(6, keeps_heads=False)
    book.alter(4, actor="eve")
    assert book.examine().broken == [(1, 4)]
    book.heads = [f"2:{digest(book, 2)}"]
    assert book.examine().broken == [(3, 4)]


def test_a_head_far_beyond_the_ledger_is_one_stretch_however_far() -> None:
    book = Book(3)
    book.heads.append(f"{10**15}:{'f' * 64}")
    assert book.examine().broken == [(4, 10**15)]
    assert len(book.faults()) == 1


def test_a_line_whose_link_alone_is_wrong_is_the_broken_one() -> None:
    book = Book(4)
    book.alter(3, previous="f" * 64)
    row = book.rows[2]
    row["digest"] = line_digest(LedgerEntry.model_validate({**row, "details": {"number": 3}}))
    book.alter(4, previous=row["digest"])
    book.rows[3]["digest"] = line_digest(LedgerEntry.model_validate({**book.rows[3], "details": {"number": 4}}))
    book.heads = [head([LedgerEntry.model_construct(**row)]) for row in book.rows]
    assert book.examine().broken == [(3, 3)]
    assert book.faults() == [f"line 3 names {'f' * 12} as its predecessor, not {digest(book, 2)[:12]}"]


# ---- seals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda book: book.alter(3, actor="eve"),
        lambda book: book.alter(3, details="{"),
        lambda book: book.alter(6, actor="eve"),
        lambda book: book.rewrite(3),
        lambda book: book.rewrite(6),
        lambda book: book.remove(1),
        lambda book: book.remove(3, 4),
        lambda book: book.remove(5, 6),
        lambda book: book.remove(1, 2, 3, 4, 5, 6),
        lambda book: (book.alter(2, actor="eve"), book.remove(4), book.rewrite(6)),
        lambda book: book.heads.append("nonsense"),
        lambda book: book.heads.append(f"{10**15}:{'f' * 64}"),
        lambda book: (book.heads.append("nonsense"), book.alter(1, actor="eve")),
    ],
)
@pytest.mark.parametrize("keeps_heads", [True, False])
def test_after_a_repair_there_is_no_fault_and_the_ledger_goes_on(damage: Damage, keeps_heads: bool) -> None:
    book = Book(6, keeps_heads=keeps_heads)
    damage(book)
    if book.faults():
        assert book.repair()
    assert book.faults() == []
    book.append({"number": "after"})
    assert book.examine().faults == []
    assert book.examine().broken == []
    assert seal_details(book.rows, book.heads, "nothing is left to seal") == []


def test_a_seal_names_its_stretch_its_digest_and_what_was_wrong() -> None:
    book = Book(6)
    book.alter(3, actor="eve")
    book.alter(4, actor="eve")
    faults = book.faults()
    [seal] = book.repair()
    assert (seal.number, seal.first, seal.last, len(seal.lines)) == (7, 3, 4, 2)
    assert (seal.person, seal.because, seal.faults) == ("ada", "a disk failed", tuple(faults))
    assert seal.vouched == f"2:{digest(book, 2)}"
    assert len(seal.digest) == 64
    assert [number for number in range(9) if seal.covers(number)] == [3, 4]


def test_each_broken_stretch_has_a_seal_of_its_own() -> None:
    book = Book(6)
    book.alter(2, actor="eve")
    book.remove(5)
    seals = book.repair()
    assert [seal.stretch_text for seal in seals] == ["line 2", "line 5 (lost)"]
    assert [seal.heads for seal in seals] == [(), (book.heads[4],)]
    assert [len(seal.faults) for seal in seals] == [1, 2]
    assert "line 2 was altered" in seals[0].faults[0]


def test_a_ledger_restored_from_an_older_copy_is_put_right_and_its_new_lines_count() -> None:
    book = Book(6)
    lost = book.heads[4:]
    book.remove(5, 6)
    [seal] = book.repair()
    assert (seal.stretch_text, seal.lines, list(seal.heads)) == ("lines 5 to 6 (lost)", (), lost)
    assert (seal.covered, seal.covers(5)) == (None, False)
    book.append({"number": 6})
    assert book.faults() == []
    book.remove(6)
    assert book.faults() == [f"line 6 is missing: it was once the newest line (digest {book.heads[-1][2:14]})"]


def test_lines_written_after_a_restoring_and_before_its_repair_are_sealed_too() -> None:
    book = Book(6)
    book.remove(5, 6)
    book.append({"number": "five anew"})
    [seal] = book.repair()
    assert (seal.first, seal.last, len(seal.lines), seal.covered) == (5, 6, 1, (5, 5))
    assert book.faults() == []


def test_a_ledger_restored_to_before_its_last_repair_can_be_repaired_again() -> None:
    book = Book(6)
    book.alter(4, actor="eve")
    book.repair()
    book.append({"number": 8})
    book.remove(7, 8)
    assert book.repair()
    assert book.faults() == []


def test_a_sealed_stretch_that_is_altered_again_is_a_fault_until_it_is_sealed_again() -> None:
    book = Book(6)
    book.alter(3, actor="eve")
    book.repair()
    book.append({"number": 8})
    book.alter(3, actor="mallory")
    assert "line 3 changed after line 7 sealed it" in book.faults()
    assert book.examine().broken == [(3, 3)]
    [seal] = book.repair()
    assert seal.covered == (3, 3)
    assert book.faults() == []


def test_a_seal_keeps_vouching_for_the_lines_before_it_once_the_heads_are_lost() -> None:
    book = Book(6)
    book.alter(4, actor="eve")
    book.repair()
    book.heads.clear()
    assert book.faults() == []
    book.alter(2, actor="eve")
    assert book.examine().broken == [(1, 2)]


def test_a_seal_that_was_altered_or_cut_off_seals_nothing() -> None:
    book = Book(6)
    book.alter(3, actor="eve")
    book.repair()
    book.append({"number": 8})
    book.alter(7, actor="mallory")
    assert book.examine().broken == [(3, 3), (7, 7)]
    book.remove(7, 8)
    assert book.examine().broken == [(3, 3), (7, 8)]


def test_a_line_of_a_seals_kind_without_its_fields_seals_nothing() -> None:
    book = Book(3)
    book.alter(2, actor="eve")
    book.append({"first": 2}, SEAL_KIND)
    assert book.examine().broken == [(2, 2)]
