"""Counts in one process what each version did in each step of a rollout, until the next report."""

from __future__ import annotations

from typing import Any

import msgspec

BAD = ("error", "invalid", "deadline")
"""The candidate failed or died; answered what is no answer; did not answer in time."""
MAX_UNITS = 200_000
"""Units one worker remembers per arm and step; beyond that it counts requests only."""

Key = tuple[str, str, int, str, str]
"""Model, rollout, step, version, role."""


SUMS = ("requests", "failed", "fallback", "shed", "compared", "disagreed", "flipped", "sent", "dropped", "seconds")


class ArmTally(msgspec.Struct, array_like=True):
    """Sums of one arm. ``slow`` counts the answers over each configured limit (text of the limit in ms).

    ``fallback``: answered by the champion instead. ``shed``: not tried, since the breaker was open or it was not
    loaded yet. ``units``: routing keys newly met, or newly met by an event, with the events as bits: 1 for a bad one,
    ``2 << n`` for an answer over the n-th limit. ``met``: distinct routing keys, counted where all reports arrive.
    ``seconds``: summed time to an answer.
    """

    requests: int = 0
    failed: int = 0
    bad: dict[str, int] = {}
    slow: dict[str, int] = {}
    fallback: int = 0
    shed: int = 0
    compared: int = 0
    disagreed: int = 0
    flipped: int = 0
    sent: int = 0
    dropped: int = 0
    units: list[tuple[int, int]] = []
    met: int = 0
    seconds: float = 0.0

    def add(self, other: ArmTally) -> None:
        """Add another one's sums; units are merged elsewhere, since they may overlap."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for kind, count in other.bad.items():
            self.bad[kind] = self.bad.get(kind, 0) + count
        for limit, count in other.slow.items():
            self.slow[limit] = self.slow.get(limit, 0) + count


class ArmTallies:
    """What one process counted since it last reported."""

    def __init__(self) -> None:
        self._new: dict[Key, ArmTally] = {}
        self._units: dict[Key, dict[int, int]] = {}

    def of(self, key: Key) -> ArmTally:
        if key not in self._new:
            self._new[key] = ArmTally()
        return self._new[key]

    def answered(
        self, key: Key, seconds: float, limits: tuple[float, ...], *, bad: str = "", unit: int | None = None
    ) -> None:
        """One request of this arm: how long it took, and the kind of its bad event, if it was one."""
        tally = self.of(key)
        tally.requests += 1
        tally.seconds += seconds
        events = 0
        if bad:
            tally.failed += 1
            tally.bad[bad] = tally.bad.get(bad, 0) + 1
            events = 1
        for place, limit in enumerate(limits):
            if seconds * 1000 > limit:
                name = f"{limit:g}"
                tally.slow[name] = tally.slow.get(name, 0) + 1
                events |= 2 << place
        if unit is not None:
            self._met(key, tally, unit, events)

    def _met(self, key: Key, tally: ArmTally, unit: int, events: int) -> None:
        known = self._units.get(key)
        if known is None:
            # A new step: what was counted of the units of earlier ones is reported already.
            self._units = {old: units for old, units in self._units.items() if old[:3] == key[:3] or old[0] != key[0]}
            known = self._units[key] = {}
        before = known.get(unit)
        if before is None and len(known) >= MAX_UNITS:
            return
        if before is None or events & ~before:
            known[unit] = events | (before or 0)
            tally.units.append((unit, events))

    def take(self) -> list[tuple[Key, ArmTally]]:
        """Everything new since the last time, handed over."""
        taken, self._new = self._new, {}
        return list(taken.items())


def received(content: Any) -> list[tuple[Key, ArmTally]]:
    """Tallies as they came through a channel."""
    return msgspec.convert(content, list[tuple[Key, ArmTally]])
