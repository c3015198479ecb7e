"""Counts the requests of each version in each stage of a rollout in one process, until the next report."""

from __future__ import annotations

from typing import Any

import msgspec

FAILURE_KINDS = ("error", "invalid", "deadline")
"""The candidate failed or died; gave an invalid answer; missed the deadline."""
MAX_COUNTED_UNITS = 200_000
"""Units that one worker remembers per arm and stage; beyond this it counts requests only."""

ArmKey = tuple[str, str, int, str, str]
"""Model, rollout, stage number, version, role."""
SUMMED = ("requests", "failed", "fallback", "shed", "compared", "disagreed", "flipped", "sent", "dropped", "seconds")


class ArmTally(msgspec.Struct, array_like=True):
    """Sums of one arm. ``slow`` counts the answers over each configured limit (text of the limit in ms).

    ``fallback``: answered by the champion instead. ``shed``: not sent, since the breaker was open or the candidate not
    loaded. ``units``: new routing keys, or keys with a new event, with events as bits: 1 for a failure, ``2 << n`` for
    an answer over the n-th limit. ``distinct_units``: number of routing keys, counted by the supervisor.
    ``seconds``: sum of the latencies.
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
    distinct_units: int = 0
    seconds: float = 0.0

    def add(self, other: ArmTally) -> None:
        """Add the sums of another tally; units are merged elsewhere, since they may overlap."""
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for kind, count in other.bad.items():
            self.bad[kind] = self.bad.get(kind, 0) + count
        for limit, count in other.slow.items():
            self.slow[limit] = self.slow.get(limit, 0) + count


class ArmCounters:
    """Tallies of one process since its last report."""

    def __init__(self) -> None:
        self._new: dict[ArmKey, ArmTally] = {}
        self._units: dict[ArmKey, dict[int, int]] = {}

    def tally_of(self, key: ArmKey) -> ArmTally:
        if key not in self._new:
            self._new[key] = ArmTally()
        return self._new[key]

    def count_request(
        self, key: ArmKey, seconds: float, limits: tuple[float, ...], *, bad: str = "", unit: int | None = None
    ) -> None:
        """Count one request of an arm by latency and, if it failed, by the kind of its failure ``bad``."""
        tally = self.tally_of(key)
        tally.requests += 1
        tally.seconds += seconds
        events = 0
        if bad:
            tally.failed += 1
            tally.bad[bad] = tally.bad.get(bad, 0) + 1
            events = 1
        for index, limit in enumerate(limits):
            if seconds * 1000 > limit:
                name = f"{limit:g}"
                tally.slow[name] = tally.slow.get(name, 0) + 1
                events |= 2 << index
        if unit is not None:
            self._count_unit(key, tally, unit, events)

    def _count_unit(self, key: ArmKey, tally: ArmTally, unit: int, events: int) -> None:
        events_by_unit = self._units.get(key)
        if events_by_unit is None:
            # A new stage: the units of earlier stages are reported already.
            self._units = {old: units for old, units in self._units.items() if old[:3] == key[:3] or old[0] != key[0]}
            events_by_unit = self._units[key] = {}
        known_events = events_by_unit.get(unit)
        if known_events is None and len(events_by_unit) >= MAX_COUNTED_UNITS:
            return
        if known_events is None or events & ~known_events:
            events_by_unit[unit] = events | (known_events or 0)
            tally.units.append((unit, events))

    def take_tallies(self) -> list[tuple[ArmKey, ArmTally]]:
        """Return all tallies since the last call and start new ones."""
        tallies, self._new = self._new, {}
        return list(tallies.items())


def decode_tallies(content: Any) -> list[tuple[ArmKey, ArmTally]]:
    """Tallies from a decoded channel message."""
    return msgspec.convert(content, list[tuple[ArmKey, ArmTally]])
