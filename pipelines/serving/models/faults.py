"""However much is wrong with a request, saying so stays cheap: the first faults are put into words, all are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

MAX_FAULTS = 20


class RowFaults:
    """The first 20 faults and the number of all; a fault that is not shown costs nothing but its place in the count."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.count = 0

    def add(self, fault: str) -> None:
        self.count += 1
        if len(self.shown) < MAX_FAULTS:
            self.shown.append(fault)

    def extend(self, places: Sequence[Any], say: Callable[[Any], str]) -> None:
        """One fault for each of ``places``, put into words by ``say`` if it is shown."""
        self.shown += [say(place) for place in places[: MAX_FAULTS - len(self.shown)]]
        self.count += len(places)

    def summary(self) -> list[str]:
        """What is shown, and how many more there are."""
        left = self.count - len(self.shown)
        return self.shown + ([f"and {left} more"] if left > 0 else [])
