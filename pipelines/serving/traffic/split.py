"""Answers a request by the arm it belongs to; where a candidate fails or is late, the champion answers instead."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from pipelines.rollout.plan import RoutingPlan
from pipelines.rollout.transitions import RolloutRecord, Route
from pipelines.serving.models.rows import InputRows
from pipelines.serving.prediction_log.writer import LogColumns, LoggedAnswer, LogWriter
from pipelines.serving.traffic.assignment import BUCKETS, NO_BUCKET, ArmChoice, ArmChooser, bucket, mirror_salt
from pipelines.serving.traffic.candidate_client import CandidateClient, CandidateFailed
from pipelines.serving.traffic.counters import ArmTallies, Key
from pipelines.serving.traffic.mirror_queue import MirrorQueue, MirrorSource

Predict = Callable[[], list[float]]
Headers = tuple[tuple[bytes, bytes], ...]
UNDRAWN = ArmChoice("champion", NO_BUCKET, None)
"""While the candidate has no traffic, no lottery is held."""


def arm_headers(version: str, arm: str) -> Headers:
    """What every answer says of itself."""
    return (b"x-model-version", version.encode("latin-1")), (b"x-model-arm", arm.encode())


class RoutedAnswer(msgspec.Struct, frozen=True):
    """An answer and where it came from; ``rows`` are in the order of ``columns``."""

    predictions: list[float]
    version: str
    headers: Headers
    columns: LogColumns
    rows: InputRows
    bucket: int = NO_BUCKET
    fallback: bool = False
    unit: int | None = None


class TrafficSplit:
    """One model's rollout in one data worker; made anew with every routing table.

    ``names`` and ``types`` are the champion's columns. ``host`` is None while the model has no candidate process.
    """

    def __init__(
        self,
        model: str,
        route: Route,
        record: RolloutRecord,
        host: CandidateClient | None,
        names: Sequence[str],
        types: Sequence[str],
        log: LogWriter,
        tallies: ArmTallies,
        feed: MirrorQueue,
    ) -> None:
        ab = record.plan.strategy == "ab"
        self._roles = ("control", "variant") if ab else ("champion", "candidate")
        champion, candidate = route.live.version, route.candidate.version if route.candidate else ""
        self._route, self._record, self._host, self._tallies = route, record, host, tallies
        self._share = share = route.share()
        routing = record.plan.routing if share else RoutingPlan()
        self._choose = ArmChooser(routing, record.rollout_id, share)
        self._counts_units = bool(share) and record.plan.routing.counts_keys
        self._probe = record.probe.encode()
        self._mirror_salt = mirror_salt(record.rollout_id)
        self._mirrored = route.mirror.basis_points if route.mirror else 0
        self._lane = feed.lane(
            MirrorSource(model, record.rollout_id, record.step, candidate, list(names)), self._handed
        )
        self._deadline = record.plan.deadline_ms / 1000
        self._limits = tuple(limit.over_ms for limit in record.plan.guard.latency)
        self._log, self._model, self._names, self._types = log, model, list(names), list(types)
        self._keys: dict[str, Key] = {
            role: (model, record.rollout_id, record.step, version, role)
            for role, version in zip((*self._roles, "shadow"), (champion, candidate, candidate), strict=True)
        }
        self._champion = self._describe(champion, self._roles[0])
        self._instead = self._describe(champion, self._roles[1])

    def _describe(self, version: str, role: str) -> tuple[Headers, LogColumns]:
        columns = self._log.columns(self._model, version, self._names, self._types, role, self._record.rollout_id)
        return arm_headers(version, role), columns

    async def answer(
        self, headers: Mapping[bytes, bytes], rows: InputRows, request_id: str, started: float, predict: Predict
    ) -> RoutedAnswer:
        """Answer by the arm that the request belongs to; ``predict`` asks the champion.

        Raises what ``predict`` raises, ``OverflowError`` for numbers that no version takes, and ``CandidateFailed``
        for a probe only.
        """
        probe = headers.get(b"x-rollout-probe")
        if probe is not None and hmac.compare_digest(probe, self._probe):
            return await self._probed(rows)
        choice = self._choose(headers, rows.ids, request_id)
        if choice.arm == "champion":
            return self._by_champion(choice, rows, started, predict)
        return await self._by_candidate(choice, rows, started, predict)

    @property
    def direct(self) -> bool:
        """Whether every request is the champion's."""
        return not self._share

    def at_once(self, rows: InputRows, started: float, predict: Predict) -> RoutedAnswer:
        """The champion's answer, where every request is its own; raises what ``predict`` raises."""
        return self._by_champion(UNDRAWN, rows, started, predict)

    def _by_champion(self, choice: ArmChoice, rows: InputRows, started: float, predict: Predict) -> RoutedAnswer:
        try:
            predictions = predict()
        except OverflowError:  # the caller's fault, not the champion's
            raise
        except Exception:
            self._count(self._roles[0], started, "error", choice.unit)
            raise
        self._count(self._roles[0], started, "", choice.unit)
        return RoutedAnswer(
            predictions, self._route.live.version, *self._champion, rows, choice.bucket, unit=choice.unit
        )

    async def _by_candidate(self, choice: ArmChoice, rows: InputRows, started: float, predict: Predict) -> RoutedAnswer:
        host, role = self._host, self._roles[1]
        if host is None or not host.ready or not host.breaker.passes():
            self._tallies.of(self._keys[role]).shed += 1
        else:
            try:
                mine = self._ordered(rows, host)
                predictions = await host.predict(mine.values, mine.count, self._deadline)
            except CandidateFailed as error:
                self._count(role, started, error.kind, choice.unit)
                if host.breaker.failed():
                    host.recycle()
            else:
                host.breaker.succeeded()
                self._count(role, started, "", choice.unit)
                own = self._own(host, role)
                return RoutedAnswer(predictions, host.served.version, *own, mine, choice.bucket, unit=choice.unit)
        predictions = predict()
        self._tallies.of(self._keys[role]).fallback += 1
        champion = self._route.live.version
        return RoutedAnswer(predictions, champion, *self._instead, rows, choice.bucket, fallback=True, unit=choice.unit)

    async def named(self, version: str, rows: InputRows) -> RoutedAnswer | None:
        """The candidate's own answer if this is its version, else None; counted by nobody."""
        candidate = self._route.candidate
        return await self._probed(rows) if candidate is not None and candidate.version == version else None

    async def _probed(self, rows: InputRows) -> RoutedAnswer:
        """Asked for the candidate by name: no champion steps in, nothing is counted."""
        host = self._host
        if host is None or not host.ready:
            raise CandidateFailed("error", "the candidate is not loaded")
        mine = self._ordered(rows, host)
        predictions = await host.predict(mine.values, mine.count, self._deadline)
        return RoutedAnswer(predictions, host.served.version, *self._own(host, "probe"), mine)

    def _own(self, host: CandidateClient, role: str) -> tuple[Headers, LogColumns]:
        version = host.served.version
        columns = self._log.columns(self._model, version, host.names, host.types, role, self._record.rollout_id)
        return arm_headers(version, role), columns

    def _ordered(self, rows: InputRows, host: CandidateClient) -> InputRows:
        if host.names == self._names:
            return rows
        return InputRows([rows.values[self._names.index(name)] for name in host.names], rows.count, rows.ids)

    def _count(self, role: str, started: float, bad: str, unit: int | None) -> None:
        elapsed = time.perf_counter() - started
        counted = unit if self._counts_units else None
        self._tallies.answered(self._keys[role], elapsed, self._limits, bad=bad, unit=counted)

    def mirror(self, answered: RoutedAnswer, answer: LoggedAnswer) -> None:
        """After the response: hand a sampled request of the champion to the shadow worker, or count it as dropped."""
        if not self._mirrored or answered.version != self._route.live.version:
            return
        if self._mirrored < BUCKETS and bucket(answer.request_id, self._mirror_salt) >= self._mirrored:
            return
        self._lane.send(answer)

    def _handed(self, over: int, dropped: int) -> None:
        tally = self._tallies.of(self._keys["shadow"])
        tally.sent += over
        tally.dropped += dropped
