"""Collects the faults of a request cheaply: only the first faults are formatted, but all are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

MAX_FAULTS = 20


class RowFaults:
    """The texts of the first 20 faults, and the number of all faults."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.count = 0

    def add(self, fault: str) -> None:
        self.count += 1
        if len(self.shown) < MAX_FAULTS:
            self.shown.append(fault)

    @property
    def has_room(self) -> bool:
        """Whether a further fault is shown."""
        return len(self.shown) < MAX_FAULTS

    def add_many(self, text: str, count: int) -> None:
        """Add so many faults that one text tells."""
        if count:
            self.add(text)
            self.count += count - 1

    def extend(self, subjects: Sequence[Any], describe: Callable[[Any], str]) -> None:
        """Add one fault per subject; ``describe`` returns its text and is called only for shown faults."""
        self.shown += [describe(subject) for subject in subjects[: MAX_FAULTS - len(self.shown)]]
        self.count += len(subjects)

    def summary(self) -> list[str]:
        """The shown faults and the number of the other ones."""
        hidden = self.count - len(self.shown)
        return self.shown + ([f"and {hidden} more"] if hidden > 0 else [])
