"""The record of one model's serving in an annotation, with the newest 40 answers, 10 rollouts and 40 changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from pipelines.adapters.kubernetes.pod_readings import ArmTotals, PodCounts, grown
from pipelines.errors import Conflict, Refused
from pipelines.messages.rollout import ArmCounts, RolloutState
from pipelines.rollout.state import state_of
from pipelines.rollout.transitions import WHOLE, RolloutRecord, Route, Served

ANNOTATION = "airworthy.dev/rollout"
KEPT_ANSWERS, KEPT_ROLLOUTS, KEPT_HISTORY = 40, 10, 40


class StoredState(msgspec.Struct, frozen=True):
    """What a key asked for (its digest), and the very answer."""

    request: str
    state: dict[str, Any]


class HistoryEntry(msgspec.Struct, frozen=True):
    generation: int
    at: datetime
    action: str
    rollout_id: str


class ServingRecord(msgspec.Struct, frozen=True):
    """All that is known of one model's serving, as it stands in the annotation."""

    route: Route
    generation: int = 0
    answers: dict[str, StoredState] = {}
    rollouts: dict[str, RolloutRecord] = {}
    """Rollouts that the newest took the place of, oldest first."""
    history: list[HistoryEntry] = []
    leaving: list[Served] = []
    """Versions that get no traffic any more and whose objects are not deleted yet."""
    arms: list[ArmTotals] = []
    pods: dict[str, PodCounts] = {}
    """What each pod had counted when the record was last written."""

    def known(self, rollout_id: str) -> RolloutRecord | None:
        newest = self.route.rollout
        return newest if newest and newest.rollout_id == rollout_id else self.rollouts.get(rollout_id)

    @staticmethod
    def parse(where: str, content: str) -> ServingRecord:
        """Raises ``Refused`` for what is no record."""
        try:
            return msgspec.json.decode(content, type=ServingRecord)
        except msgspec.DecodeError as error:
            raise Refused(f"annotation {ANNOTATION} of {where} is no record: {error}") from error

    def text(self) -> str:
        return msgspec.json.encode(self).decode()


class ObservedRecord(msgspec.Struct, frozen=True):
    """A record as it was read. ``fence`` is what the next write may replace; ``split`` the traffic itself."""

    record: ServingRecord
    fence: str
    split: dict[str, int]
    applied: bool
    workers: int


def needed(route: Route) -> list[Served]:
    return [served for served in (route.live, route.previous, route.candidate) if served is not None]


def split_of(route: Route) -> dict[str, int]:
    return {version: share for version, share in route.split.items() if share} or {route.live.version: WHOLE}


def digest(*request: Any) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()


def last(content: dict[str, Any], count: int) -> dict[str, Any]:
    return dict(list(content.items())[-count:])


def stored(observed: ObservedRecord, key: str, request: str) -> RolloutState | None:
    """The answer that this key got. ``Refused`` if it asked for something else."""
    answer = observed.record.answers.get(key)
    if answer is not None and answer.request != request:
        raise Refused(f"idempotency key {key!r} was used for another request; take a new key")
    return None if answer is None else RolloutState.model_validate(answer.state)


def expected(model: str, observed: ObservedRecord, expect: int) -> None:
    if observed.record.generation != expect:
        raise Conflict(f"{model} is at generation {observed.record.generation}, not {expect}; read it and decide anew")


def told(model: str, observed: ObservedRecord) -> RolloutState:
    record = observed.record
    return state_of(
        model,
        record.route,
        observed.split,
        generation=record.generation,
        workers=observed.workers,
        applied=observed.applied,
    )


def counted(record: ServingRecord, readings: Mapping[str, tuple[str, PodCounts]]) -> ServingRecord:
    """The record with all that the pods counted up to these readings, in the step that goes on now."""
    rollout = record.route.rollout
    if rollout is None or not rollout.active or not readings:
        return record
    arms: dict[str, tuple[ArmTotals, PodCounts]] = {
        pod: (arm_of(record.route, rollout, version), reading) for pod, (version, reading) in readings.items()
    }
    counted, pods = grown(record.arms, record.pods, arms)
    return msgspec.structs.replace(record, arms=counted, pods=pods)


def arm_of(route: Route, record: RolloutRecord, version: str) -> ArmTotals:
    ab = record.plan.strategy == "ab"
    role = "control" if ab else "champion"
    if version != route.live.version:
        role = "shadow" if route.mirror else "variant" if ab else "candidate"
    return ArmTotals(record.step, version, role, route.share(), record.step_started)


def moved(record: ServingRecord, after: Route, action: str, at: datetime, *, grew: bool) -> ServingRecord:
    """The record of the route after a move: generation, history, and which versions lost their place."""
    number = record.generation + (1 if grew else 0)
    change = HistoryEntry(number, at, action, after.rollout.rollout_id if after.rollout else "")
    stay = needed(after)
    gone = [served for served in [*needed(record.route), *record.leaving] if served not in stay]
    return msgspec.structs.replace(
        record,
        route=after,
        generation=number,
        history=[*record.history, change][-KEPT_HISTORY:] if grew else record.history,
        leaving=list(dict.fromkeys(gone)),
    )


def answered(record: ServingRecord, key: str, request: str, state: RolloutState) -> ServingRecord:
    """The record with the answer that repeats of ``key`` get."""
    answers = record.answers | {key: StoredState(request, state.model_dump(mode="json", by_alias=True))}
    return msgspec.structs.replace(record, answers=last(answers, KEPT_ANSWERS))


def told_counts(record: ServingRecord) -> list[ArmCounts]:
    """One message per step and version, oldest step first. The unit is the request."""
    return [
        ArmCounts.model_validate(
            {"step": arm.step, "version": arm.version, "role": arm.role, "share": arm.share}
            | {"requests": arm.counted.requests, "failed": arm.counted.failed, "seconds": arm.counted.seconds}
            | {"bad": {"error": arm.counted.failed}, "slow": arm.counted.slow, "step_started": arm.started}
            | {"units": arm.counted.requests, "bad_units": arm.counted.failed, "slow_units": arm.counted.slow}
        )
        for arm in sorted(record.arms, key=lambda arm: (arm.step, arm.version))
    ]
