"""Counts the requests of each version in each stage of a rollout in one process, until the next report."""

from __future__ import annotations

from typing import Any

import msgspec

from pipelines.serving.traffic.latency_percentile import LatencyPercentile

FAILURE_KINDS = ("error", "invalid", "deadline")
"""The candidate failed or died; gave an invalid answer; missed the deadline."""
MAX_COUNTED_UNITS = 200_000
"""Units of a stage that one worker counts in full, both arms together; beyond this it counts a sample of the others."""
UNIT_HASHES = 2**64
BAD_EVENT_BIT, BEYOND_P99_BIT = 0, 62
"""Bits of a unit's events: a failure, and an answer slower than the champion's 99th percentile. The n-th configured
limit, counted from 0, has bit n + 1."""

ArmKey = tuple[str, str, int, str, str]
"""Model, rollout, stage number, version, role."""
StageKey = tuple[str, str, int]
"""Model, rollout, stage number."""
SUMMED = (
    *("requests", "failed", "fallback", "shed", "compared", "disagreed", "flipped", "sent", "dropped", "seconds"),
    "beyond_p99",
)


class ArmTally(msgspec.Struct, array_like=True):
    """Sums of one arm. ``slow`` counts the answers over each configured limit (text of the limit in ms).

    ``fallback``: answered by the champion instead. ``shed``: not sent, since the breaker was open or the candidate not
    loaded. ``units``: new routing keys, or keys with a new event, with events as bits: 1 for a failure, ``2 << n`` for
    an answer over the n-th limit, ``1 << 62`` for one beyond the champion's percentile. ``seconds``: sum of the
    latencies. ``beyond_p99``: answers for which the model took longer than the champion's 99th percentile of the minute
    before.

    The supervisor counts ``distinct_units``, the routing keys of this stage, ``new_units``, those of them that the
    rollout had not met before, and ``event_units``, the keys with each event in this stage, by the event's bit.
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
    new_units: int = 0
    event_units: dict[str, int] = {}
    beyond_p99: int = 0

    def add(self, other: ArmTally) -> None:
        """Add the sums of another tally; units are merged elsewhere, since they may overlap."""
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for kind, count in other.bad.items():
            self.bad[kind] = self.bad.get(kind, 0) + count
        for limit, count in other.slow.items():
            self.slow[limit] = self.slow.get(limit, 0) + count


def sampled_hashes(counted: int) -> int:
    """Units whose hash is below this are counted once ``counted`` units of a stage are: all, then a half, a quarter...

    The sample depends on the number of units and on nothing of their arm, so that it has the same share of the keys of
    both arms, whatever their sizes are.
    """
    if counted < MAX_COUNTED_UNITS:
        return UNIT_HASHES
    return UNIT_HASHES >> (1 + 4 * (counted - MAX_COUNTED_UNITS) // MAX_COUNTED_UNITS)


class ArmCounters:
    """Tallies of one process since its last report."""

    def __init__(self) -> None:
        self._new: dict[ArmKey, ArmTally] = {}
        self._units: dict[StageKey, dict[int, int]] = {}
        self._champion_latency: dict[str, LatencyPercentile] = {}

    def tally_of(self, key: ArmKey) -> ArmTally:
        if key not in self._new:
            self._new[key] = ArmTally()
        return self._new[key]

    def champion_latency(self, model: str) -> LatencyPercentile:
        """The percentile of this model's champion, which goes on from stage to stage."""
        return self._champion_latency.setdefault(model, LatencyPercentile())

    def count_request(
        self,
        key: ArmKey,
        seconds: float,
        limits: tuple[float, ...],
        *,
        bad: str = "",
        unit: int | None = None,
        beyond_p99: bool = False,
    ) -> None:
        """Count one request of an arm by latency and, if it failed, by the kind of its failure ``bad``.

        ``beyond_p99``: whether its model took longer than the champion's 99th percentile.
        """
        tally = self.tally_of(key)
        tally.requests += 1
        tally.seconds += seconds
        events = 0
        if bad:
            tally.failed += 1
            tally.bad[bad] = tally.bad.get(bad, 0) + 1
            events = 1
        milliseconds = seconds * 1000
        for index, limit in enumerate(limits):
            if milliseconds > limit:
                name = f"{limit:g}"
                tally.slow[name] = tally.slow.get(name, 0) + 1
                events |= 2 << index
        if beyond_p99:
            tally.beyond_p99 += 1
            events |= 1 << BEYOND_P99_BIT
        if unit is not None:
            self._count_unit(key, tally, unit, events)

    def _count_unit(self, key: ArmKey, tally: ArmTally, unit: int, events: int) -> None:
        stage = key[:3]
        events_by_unit = self._units.get(stage)
        if events_by_unit is None:
            # A new stage: the units of earlier stages are reported already.
            self._units = {old: units for old, units in self._units.items() if old[0] != key[0]}
            events_by_unit = self._units[stage] = {}
        known_events = events_by_unit.get(unit)
        if known_events is None and unit >= sampled_hashes(len(events_by_unit)):
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
