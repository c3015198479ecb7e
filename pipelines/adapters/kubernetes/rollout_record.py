"""The record of what serves one model, stored in an annotation with the newest 40 answers, 10 rollouts, 40 changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from pipelines.adapters.kubernetes.pod_readings import ArmTotals, PodCounts, add_counter_growth
from pipelines.errors import Conflict, Refused
from pipelines.messages.rollout import ArmCounts, RolloutState
from pipelines.rollout.state import make_rollout_state
from pipelines.rollout.transitions import FULL_SHARE, RolloutRecord, Route, Served

RECORD_ANNOTATION = "airworthy.dev/rollout"
MAX_ANSWERS, MAX_ROLLOUTS, MAX_HISTORY = 40, 10, 40


class StoredAnswer(msgspec.Struct, frozen=True):
    """The digest of the request under one idempotency key, and its answer."""

    request: str
    state: dict[str, Any]


class HistoryEntry(msgspec.Struct, frozen=True):
    generation: int
    at: datetime
    action: str
    rollout_id: str


class ServingRecord(msgspec.Struct, frozen=True):
    """What serves one model, as stored in the annotation."""

    route: Route
    generation: int = 0
    answers: dict[str, StoredAnswer] = {}
    rollouts: dict[str, RolloutRecord] = {}
    """Rollouts before the newest one, oldest first."""
    history: list[HistoryEntry] = []
    leaving: list[Served] = []
    """Versions without traffic whose objects are not deleted yet."""
    arms: list[ArmTotals] = []
    pods: dict[str, PodCounts] = {}
    """Counters of each pod when the record was last written."""

    def find_rollout(self, rollout_id: str) -> RolloutRecord | None:
        newest = self.route.rollout
        return newest if newest and newest.rollout_id == rollout_id else self.rollouts.get(rollout_id)

    @staticmethod
    def parse(where: str, content: str) -> ServingRecord:
        """Parse an annotation. ``Refused`` if it is not a valid record."""
        try:
            return msgspec.json.decode(content, type=ServingRecord)
        except msgspec.DecodeError as error:
            raise Refused(f"annotation {RECORD_ANNOTATION} of {where} is not a valid record: {error}") from error

    def text(self) -> str:
        return msgspec.json.encode(self).decode()


class ObservedRecord(msgspec.Struct, frozen=True):
    """A record as read. ``resource_version`` guards the next write; ``split`` is the object's actual traffic split."""

    record: ServingRecord
    resource_version: str
    split: dict[str, int]
    applied: bool
    workers: int


def used_versions(route: Route) -> list[Served]:
    return [served for served in (route.live, route.previous, route.candidate) if served is not None]


def traffic_split(route: Route) -> dict[str, int]:
    return {version: share for version, share in route.split.items() if share} or {route.live.version: FULL_SHARE}


def request_digest(*request: Any) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True, default=str).encode()).hexdigest()


def newest(content: dict[str, Any], count: int) -> dict[str, Any]:
    return dict(list(content.items())[-count:])


def stored_answer(observed: ObservedRecord, key: str, request: str) -> RolloutState | None:
    """The answer stored under this idempotency key. ``Refused`` if the key was used for another request."""
    answer = observed.record.answers.get(key)
    if answer is not None and answer.request != request:
        raise Refused(f"idempotency key {key!r} was used for another request; take a new key")
    return None if answer is None else RolloutState.model_validate(answer.state)


def check_generation(model: str, observed: ObservedRecord, expect: int) -> None:
    if observed.record.generation != expect:
        raise Conflict(f"{model} is at generation {observed.record.generation}, not {expect}; read its state again")


def rollout_state(model: str, observed: ObservedRecord) -> RolloutState:
    record, workers, applied = observed.record, observed.workers, observed.applied
    return make_rollout_state(
        model, record.route, observed.split, generation=record.generation, workers=workers, applied=applied
    )


def with_pod_counts(record: ServingRecord, readings: Mapping[str, tuple[str, PodCounts]]) -> ServingRecord:
    """The record with the growth of the pods' counters added to the current stage."""
    rollout = record.route.rollout
    if rollout is None or not rollout.can_roll_back or not readings:
        return record
    arms: dict[str, tuple[ArmTotals, PodCounts]] = {
        pod: (arm_totals(record.route, rollout, version), reading) for pod, (version, reading) in readings.items()
    }
    totals, pods = add_counter_growth(record.arms, record.pods, arms)
    return msgspec.structs.replace(record, arms=totals, pods=pods)


def arm_totals(route: Route, record: RolloutRecord, version: str) -> ArmTotals:
    ab = record.plan.strategy == "ab" and record.active
    role = "control" if ab else "champion"
    if version != route.live.version:
        role = "shadow" if route.mirror else "variant" if ab else "candidate"
    share = route.share() if record.active else FULL_SHARE
    return ArmTotals(record.step, version, role, share, record.step_started)


def with_route(record: ServingRecord, after: Route, action: str, at: datetime, *, changed: bool) -> ServingRecord:
    """The record with a new route: its generation, history, and the versions that the route no longer uses."""
    number = record.generation + (1 if changed else 0)
    change = HistoryEntry(number, at, action, after.rollout.rollout_id if after.rollout else "")
    stay = used_versions(after)
    gone = [served for served in [*used_versions(record.route), *record.leaving] if served not in stay]
    return msgspec.structs.replace(
        record,
        route=after,
        generation=number,
        history=[*record.history, change][-MAX_HISTORY:] if changed else record.history,
        leaving=list(dict.fromkeys(gone)),
    )


def with_answer(record: ServingRecord, key: str, request: str, state: RolloutState) -> ServingRecord:
    """The record with the answer that repeated calls under ``key`` get."""
    answers = record.answers | {key: StoredAnswer(request, state.model_dump(mode="json", by_alias=True))}
    return msgspec.structs.replace(record, answers=newest(answers, MAX_ANSWERS))


def arm_counts(record: ServingRecord) -> list[ArmCounts]:
    """One message per stage and version, oldest stage first. The unit is the request."""
    return [
        ArmCounts.model_validate(
            {"step": arm.step, "version": arm.version, "role": arm.role, "share": arm.share}
            | {"requests": arm.counted.requests, "failed": arm.counted.failed, "seconds": arm.counted.seconds}
            | {"bad": {"error": arm.counted.failed}, "slow": arm.counted.slow, "step_started": arm.started}
            | {"units": arm.counted.requests, "bad_units": arm.counted.failed, "slow_units": arm.counted.slow}
        )
        for arm in sorted(record.arms, key=lambda arm: (arm.step, arm.version))
    ]
