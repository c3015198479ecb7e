"""A seal is a ledger line by which a named person closes a broken stretch: the lines in it prove nothing any more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.ports import LedgerEntry

SEAL_KIND = "ledger_repair"
SEAL_SUBJECT = "ledger"
"""What stands in a seal's column ``model``; its version is empty."""
OBSERVING_KINDS = {"monitoring_verdict", "retrain_request", "retraining_unmended", "lease_expired"}
"""Lines about a live version that no part of its certificate rests on."""


class SealedLine(BaseModel):
    """A line of a sealed stretch as its columns name it, also if its details cannot be read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int
    kind: str
    model: str
    version: str | None = None


class Seal(BaseModel):
    """One repair of the ledger. ``first`` and ``last``: the stretch; None if only guards or unreadable heads were."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int
    """Number of the seal's own line."""
    at: datetime
    person: str
    because: str
    first: int | None = None
    last: int | None = None
    newest: int = 0
    """Number of the newest line when the stretch was sealed; numbers above it are of lines written since."""
    lines: tuple[SealedLine, ...] = ()
    """Lines of the stretch that were there when it was sealed; the others are lost."""
    digest: str = ""
    """sha256 of the rows of those lines as they were found."""
    vouched: str | None = None
    """Head of the line before the stretch, which the chain or an earlier head still proved."""
    heads: tuple[str, ...] = ()
    """Heads of lost or rewritten lines, which are no fault any more."""
    faults: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    """Guards of the database that were missing and were put back."""

    @property
    def covered(self) -> tuple[int, int] | None:
        """First and last line that the seal covers: lines of its stretch, up to the newest one of that time.

        None: no line, if only heads or guards were at fault or all lines of the stretch were lost from the end.
        """
        if self.first is None or self.last is None or self.first > self.newest:
            return None
        return self.first, min(self.last, self.newest)

    def covers(self, number: int) -> bool:
        return self.covered is not None and self.covered[0] <= number <= self.covered[1]

    def __str__(self) -> str:
        return f"{self.stretch_text}, sealed by line {self.number} ({self.person}: {self.because})"

    @property
    def stretch_text(self) -> str:
        """``lines 3 to 5``, with a remark where none of them was there any more."""
        if self.first is None or self.last is None:
            return "no line"
        numbers = f"line {self.first}" if self.first == self.last else f"lines {self.first} to {self.last}"
        return numbers if self.lines else f"{numbers} (lost)"


def read_seals(entries: Iterable[LedgerEntry]) -> list[Seal]:
    """The seals among these lines, oldest first; a line that is none in its form is left out."""
    seals = []
    for entry in entries:
        if entry.kind == SEAL_KIND:
            fields = {**entry.details, "number": entry.number, "at": entry.at, "person": entry.actor}
            try:
                seals.append(Seal.model_validate(fields))
            except ValidationError:
                continue
    return seals


def seal_of(entry: LedgerEntry, seals: Iterable[Seal]) -> Seal | None:
    """The seal in whose stretch the line lies."""
    return next((seal for seal in seals if seal.covers(entry.number)), None)


def sealed_evidence(model: str, version: str | None, seals: Iterable[Seal]) -> list[str]:
    """Why a version's lines prove nothing, one text for each sealed line that its certificate rests on.

    Those beside a sealed line prove nothing either: the sealed one may have said no.
    """
    return _texts(model, version, seals, observing=False)


def sealed_observations(model: str, version: str | None, seals: Iterable[Seal]) -> list[str]:
    """The same for lines about a live version, on which no certificate rests."""
    return _texts(model, version, seals, observing=True)


def _texts(model: str, version: str | None, seals: Iterable[Seal], *, observing: bool) -> list[str]:
    return [
        f"line {line.number} ({line.kind}) proves nothing: {seal}"
        for seal in seals
        for line in seal.lines
        if (line.model, line.version) == (model, version) and (line.kind in OBSERVING_KINDS) is observing
    ]
