"""Answers a request by its arm; if the candidate fails or misses the deadline, the champion answers instead."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping

import msgspec

from pipelines.rollout.plan import RoutingPlan
from pipelines.rollout.transitions import RolloutRecord, Route
from pipelines.serving.http.response import Problem
from pipelines.serving.models.bundle import BundleManifest, InputColumn
from pipelines.serving.models.predictor import TimedAnswers, prediction_fault
from pipelines.serving.models.rows import InputRows, RowSchema
from pipelines.serving.prediction_log.writer import LogColumns, LoggedAnswer, LogWriter
from pipelines.serving.traffic.assignment import (
    BUCKET_COUNT,
    NO_BUCKET,
    Arm,
    ArmChoice,
    ArmChooser,
    bucket,
    mirror_salt,
)
from pipelines.serving.traffic.candidate_client import CandidateClient, CandidateFailed
from pipelines.serving.traffic.counters import ArmCounters, ArmKey
from pipelines.serving.traffic.mirror_queue import MirrorBatchHeader, MirrorQueue

Predict = Callable[[], TimedAnswers]
Headers = tuple[tuple[bytes, bytes], ...]
LEAST_SLOW_SHARE = 0.01
"""Share of the deadline below which no model is slow: a candidate finds its processor's caches cold, since it has a
process of its own until it is promoted, which may double the tail of a model that takes microseconds."""
UNASSIGNED_CHAMPION = ArmChoice("champion", NO_BUCKET, None)
"""For all requests while the candidate has no traffic: no random assignment."""


def arm_headers(version: str, arm: str) -> Headers:
    """Response headers that name the version and its arm."""
    return (b"x-model-version", version.encode("latin-1")), (b"x-model-arm", arm.encode())


class RoutedAnswer(msgspec.Struct, frozen=True):
    """An answer and its version; ``rows`` are in the order of ``columns``."""

    predictions: list[float]
    version: str
    headers: Headers
    columns: LogColumns
    rows: InputRows
    bucket: int = NO_BUCKET
    fallback: bool = False
    unit: int | None = None


class TrafficSplit:
    """One model's rollout by one routing table in one data worker. ``manifest`` is the champion's.

    After a promotion there is no candidate. The champion's answers are bad for the same reasons as a candidate's,
    before and after a promotion: otherwise a comparison would blame the candidate for what both meet.
    """

    def __init__(
        self,
        model: str,
        route: Route,
        record: RolloutRecord,
        client: CandidateClient | None,
        manifest: BundleManifest,
        make_schema: Callable[[list[InputColumn]], RowSchema],
        log: LogWriter,
        arm_counters: ArmCounters,
        mirror_queue: MirrorQueue,
    ) -> None:
        names, types = manifest.names, [feature.type for feature in manifest.features]
        self._output = manifest.output
        is_ab = record.plan.strategy == "ab" and record.active
        self._roles = ("control", "variant") if is_ab else ("champion", "candidate")
        champion, candidate = route.live.version, route.candidate.version if route.candidate else ""
        self._route, self._record, self._candidate_client, self._arm_counters = route, record, client, arm_counters
        self._share = share = route.share()
        routing = record.plan.routing if share else RoutingPlan()
        self._choose = ArmChooser(routing, record.rollout_id, share)
        self._counts_units = bool(share) and record.plan.routing.counts_keys
        self._probe, self._make_schema = record.probe.encode(), make_schema
        self._probe_schema: RowSchema | None = None
        self._mirror_salt = mirror_salt(record.rollout_id)
        self._mirror_share = route.mirror.basis_points if route.mirror else 0
        self._mirror_channel = mirror_queue.open_channel(
            MirrorBatchHeader(model, record.rollout_id, record.step, candidate, list(names)), self._count_mirrored
        )
        self._deadline_seconds = record.plan.deadline_ms / 1000
        self._limits = tuple(limit.over_ms for limit in record.plan.guard.latency)
        self._champion_latency = arm_counters.champion_latency(model) if record.active else None
        self._least_slow_ms = record.plan.deadline_ms * LEAST_SLOW_SHARE
        self._log, self._model, self._names, self._types = log, model, list(names), types
        self._arm_keys: dict[str, ArmKey] = {
            role: (model, record.rollout_id, record.step, version, role)
            for role, version in zip((*self._roles, "shadow"), (champion, candidate, candidate), strict=True)
        }
        self._champion = self._describe_champion(champion, self._roles[0])
        self._fallback = self._describe_champion(champion, self._roles[1])

    def _describe_champion(self, version: str, role: str) -> tuple[Headers, LogColumns]:
        columns = self._log.columns(self._model, version, self._names, self._types, role, self._record.rollout_id)
        return arm_headers(version, role), columns

    async def answer(
        self,
        headers: Mapping[bytes, bytes],
        rows: InputRows,
        request_id: str,
        started: float,
        predict: Predict,
        version: str | None = None,
    ) -> RoutedAnswer:
        """Answer by the arm of the request; ``predict`` asks the champion.

        ``version``: the one that the caller named; a request that is routed to another one is refused. Raises
        ``Problem`` for it, the exceptions of ``predict``, ``OverflowError`` for numbers beyond 32-bit floats, and for a
        probe only ``CandidateFailed``.
        """
        if self._is_probe(headers):
            self._check_version(version, "candidate")
            in_own_order = self.probe_schema(headers) is not None
            return await self._answer_probe(rows, in_own_order=in_own_order)
        if self.is_champion_only:
            self._check_version(version, "champion")
            return self.answer_by_champion(rows, started, predict)
        choice = self._choose(headers, rows.ids, request_id)
        self._check_version(version, choice.arm)
        if choice.arm == "champion":
            return self._answer_champion_arm(choice, rows, started, predict)
        return await self._answer_candidate_arm(choice, rows, started, predict)

    def _check_version(self, version: str | None, arm: Arm) -> None:
        """Raise ``Problem`` 403 if the caller named another version than that of the arm."""
        routed = self._route.live.version if arm == "champion" else self.candidate_version
        if version not in (None, routed):
            reason = "only the scope admin chooses another; name no version to be answered by the routed one"
            raise Problem(403, [f"this request is routed to version {routed}; {reason}"])

    @property
    def candidate_version(self) -> str | None:
        return self._route.candidate.version if self._route.candidate is not None else None

    def candidate_features(self) -> list[InputColumn]:
        """Columns of the candidate in its order; none while it is not loaded."""
        client = self._candidate_client
        return [] if client is None or not client.ready else client.features

    def probe_schema(self, headers: Mapping[bytes, bytes]) -> RowSchema | None:
        """The candidate's own schema for a probe, if it has other columns than the champion; else None.

        It has only where it answers nobody else (``all_at_once``).
        """
        features = self.candidate_features()
        own = {feature.name: feature.type for feature in features}
        if not features or not self._is_probe(headers) or own == dict(zip(self._names, self._types, strict=True)):
            return None
        if self._probe_schema is None:
            self._probe_schema = self._make_schema(features)
        return self._probe_schema

    def _is_probe(self, headers: Mapping[bytes, bytes]) -> bool:
        probe = headers.get(b"x-rollout-probe")
        return probe is not None and hmac.compare_digest(probe, self._probe)

    @property
    def is_champion_only(self) -> bool:
        """Whether the champion answers every request."""
        return not self._share

    def answer_by_champion(self, rows: InputRows, started: float, predict: Predict) -> RoutedAnswer:
        """The champion's answer without an assignment; raises the exceptions of ``predict``."""
        return self._answer_champion_arm(UNASSIGNED_CHAMPION, rows, started, predict)

    def _answer_champion_arm(
        self, choice: ArmChoice, rows: InputRows, started: float, predict: Predict
    ) -> RoutedAnswer:
        try:
            predictions, seconds = predict()
        except OverflowError:  # a fault of the request, not of the champion
            raise
        except Exception:
            self._count(self._roles[0], started, None, "error", choice.unit)
            raise
        self._count(self._roles[0], started, seconds, self._fault_kind(predictions, rows.count, started), choice.unit)
        return RoutedAnswer(
            predictions, self._route.live.version, *self._champion, rows, choice.bucket, unit=choice.unit
        )

    def _fault_kind(self, predictions: list[float], count: int, started: float) -> str:
        """Why this answer of the champion is bad, as it would have been as a candidate's; empty if it is not."""
        if prediction_fault(predictions, count, self._output):
            return "invalid"
        return "deadline" if time.perf_counter() - started > self._deadline_seconds else ""

    async def _answer_candidate_arm(
        self, choice: ArmChoice, rows: InputRows, started: float, predict: Predict
    ) -> RoutedAnswer:
        client, role = self._candidate_client, self._roles[1]
        if client is None or not client.ready or not client.breaker.allows_request():
            self._arm_counters.tally_of(self._arm_keys[role]).shed += 1
        else:
            try:
                ordered = self._in_candidate_order(rows, client)
                predictions, seconds = await client.predict(ordered.values, ordered.count, self._deadline_seconds)
            except CandidateFailed as error:
                self._count(role, started, error.seconds, error.kind, choice.unit)
                if client.breaker.record_failure():
                    client.restart()
            else:
                client.breaker.record_success()
                self._count(role, started, seconds, "", choice.unit)
                description = self._describe_candidate(client, role)
                version = client.served.version
                return RoutedAnswer(predictions, version, *description, ordered, choice.bucket, unit=choice.unit)
        predictions, _ = predict()
        self._arm_counters.tally_of(self._arm_keys[role]).fallback += 1
        version = self._route.live.version
        return RoutedAnswer(predictions, version, *self._fallback, rows, choice.bucket, fallback=True, unit=choice.unit)

    async def answer_by_version(self, version: str, rows: InputRows) -> RoutedAnswer | None:
        """The candidate's answer if this is its version, else None; it is not counted."""
        candidate = self._route.candidate
        return await self._answer_probe(rows) if candidate is not None and candidate.version == version else None

    async def _answer_probe(self, rows: InputRows, *, in_own_order: bool = False) -> RoutedAnswer:
        """The candidate's answer without fallback to the champion; it is not counted.

        ``in_own_order``: the rows have the candidate's own columns, else the champion's.
        """
        client = self._candidate_client
        if client is None or not client.ready:
            raise CandidateFailed("error", "the candidate is not loaded")
        ordered = rows if in_own_order else self._in_candidate_order(rows, client)
        predictions, _ = await client.predict(ordered.values, ordered.count, self._deadline_seconds)
        return RoutedAnswer(predictions, client.served.version, *self._describe_candidate(client, "probe"), ordered)

    def _describe_candidate(self, client: CandidateClient, role: str) -> tuple[Headers, LogColumns]:
        version = client.served.version
        columns = self._log.columns(self._model, version, client.names, client.types, role, self._record.rollout_id)
        return arm_headers(version, role), columns

    def _in_candidate_order(self, rows: InputRows, client: CandidateClient) -> InputRows:
        if client.names == self._names:
            return rows
        if set(client.names) != set(self._names):
            reason = "it has other columns than the live version; only its probes can ask it"
            raise Problem(409, [f"version {client.served.version} cannot be asked: {reason}"])
        values = [rows.values[self._names.index(name)] for name in client.names]
        return InputRows(values, rows.count, rows.ids, unseen=rows.unseen)

    def _count(self, role: str, started: float, model_seconds: float | None, bad: str, unit: int | None) -> None:
        """Count an answer that took ``model_seconds`` inside its model; None: it failed before that was known."""
        now = time.perf_counter()
        is_beyond = False
        if self._champion_latency is not None and model_seconds is not None:
            is_beyond = model_seconds * 1000 > max(self._champion_latency.limit_ms, self._least_slow_ms)
            if role == self._roles[0]:
                self._champion_latency.add(model_seconds, now)
        counted = unit if self._counts_units else None
        self._arm_counters.count_request(
            self._arm_keys[role], now - started, self._limits, bad=bad, unit=counted, beyond_p99=is_beyond
        )

    def mirror(self, routed: RoutedAnswer, logged: LoggedAnswer) -> None:
        """After the response: queue a sampled request of the champion for the shadow worker."""
        share = self._mirror_share
        if not share or routed.version != self._route.live.version:
            return
        if share < BUCKET_COUNT and bucket(logged.request_id, self._mirror_salt) >= share:
            return
        self._mirror_channel.send(logged)

    def _count_mirrored(self, sent: int, dropped: int) -> None:
        tally = self._arm_counters.tally_of(self._arm_keys["shadow"])
        tally.sent += sent
        tally.dropped += dropped
