"""The states of a rollout: each change is a pure function from one record to the next, or ``Refused``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from pipelines.errors import Refused
from pipelines.rollout import rollback_plan
from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.rollback_plan import ACTIVE_PHASES, PlannedRollback

FULL_SHARE = 10_000
"""All traffic in basis points."""
ROLLOUT_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Phase = Literal[
    "PENDING",
    "READY",
    "SHADOWING",
    "BAKING",
    "PAUSED",
    "FINALISING",
    "SUCCEEDED",
    "FAILED",
    "ROLLED_BACK",
    "SUPERSEDED",
]
"""FAILED: the candidate was refused before it had any traffic."""


class Served(msgspec.Struct, frozen=True):
    """One version and the bundle it is served from."""

    version: str
    bundle: str
    sha256: str


class Mirror(msgspec.Struct, frozen=True):
    """The version that gets a copy of ``basis_points`` of the requests; callers never get its answers."""

    version: str
    basis_points: int


class RolloutStage(msgspec.Struct, frozen=True):
    """One stage of a rollout: basis points of the candidate, of a promoted version (all), and of the mirror."""

    number: int
    share: int
    mirror: int
    started: datetime


class RolloutRecord(msgspec.Struct, frozen=True):
    """The record of one rollout, written in one transaction with the traffic (except on SageMaker)."""

    rollout_id: str
    plan: RolloutPlan
    phase: Phase
    created: datetime
    lease_until: datetime
    champion: Served
    candidate: Served | None = None
    step: int = 0
    step_started: datetime | None = None
    reason: str = ""
    """Why the rollout was paused, failed, rolled back or superseded."""
    probe: str = ""
    """Requests with this secret in the header x-rollout-probe go to the candidate at any split."""
    steps: tuple[RolloutStage, ...] = ()
    """Every stage so far, oldest first."""

    @property
    def active(self) -> bool:
        return self.phase in ACTIVE_PHASES

    @property
    def watched_until(self) -> datetime | None:
        """Until when the guard watches a promoted version; None if it is not promoted, or is not watched."""
        if self.phase != "FINALISING" or not self.plan.watch.seconds or self.step_started is None:
            return None
        return self.step_started + timedelta(seconds=self.plan.watch.seconds)

    @property
    def can_roll_back(self) -> bool:
        """Whether a rollback has an effect: the rollout is active, or its promotion is not finished."""
        return self.active or self.phase == "FINALISING"


class Route(msgspec.Struct, frozen=True):
    """What one model serves: champion, previous version, candidate, traffic, mirror, rollout.

    ``split`` maps versions to basis points; if it is empty the champion gets all traffic.
    """

    live: Served
    previous: Served | None = None
    candidate: Served | None = None
    split: dict[str, int] = {}
    mirror: Mirror | None = None
    rollout: RolloutRecord | None = None

    def share(self) -> int:
        """Basis points of the candidate."""
        return self.split.get(self.candidate.version, 0) if self.candidate else 0


class UnreleasedVersion(msgspec.Struct, frozen=True):
    """A model's first version while it is tested: until then only requests with the secret ``probe`` reach it."""

    served: Served
    probe: str
    until: datetime


class RoutingTable(msgspec.Struct, frozen=True):
    """All routes of one generation, and the models without a live version whose first one is tested; immutable."""

    generation: int = 0
    routes: dict[str, Route] = {}
    unreleased: dict[str, UnreleasedVersion] = {}


def require_live(model: str, route: Route | None) -> Route:
    """The route itself. Raises ``Refused`` if the model has no live version yet."""
    if route is None:
        raise Refused(f"{model} has no champion yet; release a version first")
    return route


def check_route(route: Route) -> Route:
    """The route itself if it is valid. Raises ``Refused`` for a split that is not 10,000 or names another version."""
    known = {served.version for served in (route.live, route.candidate) if served}
    faults = [
        f"version {version!r} is neither champion nor candidate" for version in route.split if version not in known
    ]
    faults += [
        f"version {version!r} gets {share}" for version, share in route.split.items() if not 0 <= share <= FULL_SHARE
    ]
    if route.split and sum(route.split.values()) != FULL_SHARE:
        faults.append(f"the shares sum to {sum(route.split.values())}, they must sum to {FULL_SHARE} basis points")
    if route.mirror and (route.candidate is None or route.mirror.version != route.candidate.version):
        faults.append(f"the mirror's version {route.mirror.version!r} is not the prepared candidate")
    if route.mirror and not 0 < route.mirror.basis_points <= FULL_SHARE:
        faults.append(f"the mirror gets {route.mirror.basis_points}; it must get 1 to {FULL_SHARE} basis points")
    if faults:
        raise Refused("this traffic is refused", faults)
    return route


def active_rollout(route: Route, rollout_id: str) -> RolloutRecord:
    """The rollout of this id if it is active. Raises ``Refused`` if another one is the newest or it has ended."""
    rollout = route.rollout
    if rollout is None or rollout.rollout_id != rollout_id:
        raise Refused(
            f"rollout {rollout_id} is not the newest of the model, which is {rollout.rollout_id if rollout else 'none'}"
        )
    if not rollout.active:
        raise Refused(f"rollout {rollout_id} is {rollout.phase} ({rollout.reason or 'done'}); start a new one")
    return rollout


def release(model: str, route: Route | None, served: Served) -> Route:
    """``served`` becomes live, and the live version becomes the previous one. ``Refused`` while a rollout is active."""
    if route is None or route.live == served:
        return route or Route(served)
    record = route.rollout
    if record is not None and record.active:
        raise Refused(f"rollout {record.rollout_id} of {model} is {record.phase}; promote it or roll it back first")
    if record is not None and record.phase == "FINALISING":
        record = msgspec.structs.replace(record, phase="SUCCEEDED")
    rebuilt = route.live.version == served.version  # another bundle of the live version keeps the previous one
    return Route(served, route.previous if rebuilt else route.live, rollout=record)


def planned_rollback(route: Route) -> PlannedRollback | None:
    """What ``restore`` would do now; None if there is no version to roll back to."""
    record = route.rollout
    return rollback_plan.plan(
        champion=route.live.version,
        candidate=route.candidate.version if route.candidate else None,
        previous=route.previous.version if route.previous else None,
        phase=record.phase if record else None,
        rollout_id=record.rollout_id if record else None,
    )


def restore(model: str, route: Route | None, reason: str) -> Route:
    """Roll a rollout back if possible; otherwise the previous version becomes live and the live one is dropped.

    A rollout that had promoted the dropped version is ROLLED_BACK then, with this reason.
    """
    if route is not None and route.rollout is not None and route.rollout.can_roll_back:
        return roll_back(route, reason)
    if route is None or route.previous is None:
        raise Refused(f"{model} has no previous version to restore; release a version instead")
    record = route.rollout
    if record is not None and record.phase == "SUCCEEDED" and record.candidate == route.live:
        record = msgspec.structs.replace(record, phase="ROLLED_BACK", reason=reason)
    return Route(route.previous, rollout=record)


def create(route: Route, rollout_id: str, plan: RolloutPlan, now: datetime, probe: str, supersede: bool) -> Route:
    """Begin a rollout at 0 %. Raises ``Refused`` while another one is active, unless ``supersede`` is set."""
    faults = plan.faults()
    if not ROLLOUT_ID_PATTERN.fullmatch(rollout_id):
        faults.append(f"its id {rollout_id[:80]!r} does not match {ROLLOUT_ID_PATTERN.pattern}")
    before = route.rollout
    if before is not None and before.active and not supersede:
        faults.append(f"rollout {before.rollout_id} is {before.phase}; roll it back, or set supersede")
    if faults:
        raise Refused(f"rollout {rollout_id} is refused", faults)
    until = now + timedelta(seconds=plan.lease_seconds)
    record = RolloutRecord(rollout_id, plan, "PENDING", now, until, route.live, probe=probe)
    return Route(route.live, route.previous, rollout=record)


def prepare_candidate(route: Route, rollout_id: str, served: Served, now: datetime) -> Route:
    """The candidate is loaded and gets no traffic."""
    rollout = active_rollout(route, rollout_id)
    if served.version == route.live.version:
        raise Refused(f"version {served.version} is already the champion; prepare another version")
    if rollout.phase not in ("PENDING", "READY"):
        former = rollout.candidate
        raise Refused(
            f"rollout {rollout_id} is {rollout.phase} with candidate {former and former.version}; start another rollout"
        )
    steps = (RolloutStage(rollout.step, 0, 0, now),)
    record = msgspec.structs.replace(rollout, phase="READY", candidate=served, step_started=now, steps=steps)
    return msgspec.structs.replace(route, candidate=served, split={}, rollout=record)


def fail_preparation(route: Route, rollout_id: str, reason: str) -> Route:
    """The candidate was refused before it got any request: the rollout has ended and the champion is unchanged."""
    rollout = active_rollout(route, rollout_id)
    if rollout.phase not in ("PENDING", "READY"):
        raise Refused(f"rollout {rollout_id} is {rollout.phase}; roll it back instead")
    return Route(route.live, route.previous, rollout=msgspec.structs.replace(rollout, phase="FAILED", reason=reason))


def shift_traffic(route: Route, rollout_id: str, split: Mapping[str, int], now: datetime) -> Route:
    """Begin the next stage. A canary only grows and an A/B split stays, so that no caller changes versions."""
    rollout = active_rollout(route, rollout_id)
    if route.candidate is None:
        raise Refused(f"rollout {rollout_id} is {rollout.phase}; prepare its candidate before you shift traffic")
    if rollout.plan.strategy == "shadow":
        raise Refused(f"rollout {rollout_id} is a shadow; its candidate gets mirrored requests only")
    if rollout.plan.strategy == "all_at_once":
        raise Refused(f"rollout {rollout_id} is all_at_once; its candidate gets all traffic by its promotion")
    after = check_route(msgspec.structs.replace(route, split=dict(split)))
    least = route.share()
    if after.share() < least:
        raise Refused(f"the candidate has {least} basis points, which cannot shrink; roll back instead")
    if rollout.plan.strategy == "ab" and least not in (0, after.share()):
        raise Refused(f"an A/B split cannot change from {least} basis points; start another rollout")
    phase = "BAKING" if after.share() else "READY"
    return _with_next_stage(after, msgspec.structs.replace(rollout, phase=phase, reason=""), now)


def set_mirror(route: Route, rollout_id: str, mirror: Mirror | None, now: datetime) -> Route:
    """Start, change or stop the mirror, in a new stage with counts of its own."""
    rollout = active_rollout(route, rollout_id)
    after = check_route(msgspec.structs.replace(route, mirror=mirror))
    phase = rollout.phase
    if phase in ("READY", "SHADOWING"):
        phase = "SHADOWING" if mirror else "READY"
    return _with_next_stage(after, msgspec.structs.replace(rollout, phase=phase), now)


def _with_next_stage(route: Route, record: RolloutRecord, now: datetime) -> Route:
    """The route with a new stage of its present split and mirror."""
    number = record.step + 1
    step = RolloutStage(number, route.share(), route.mirror.basis_points if route.mirror else 0, now)
    record = msgspec.structs.replace(record, step=number, step_started=now, steps=(*record.steps, step))
    return msgspec.structs.replace(route, rollout=record)


def renew_lease(route: Route, rollout_id: str, seconds: float, now: datetime) -> Route:
    """The lease ends ``seconds`` from now."""
    record = msgspec.structs.replace(active_rollout(route, rollout_id), lease_until=now + timedelta(seconds=seconds))
    return msgspec.structs.replace(route, rollout=record)


def pause(route: Route, rollout_id: str, reason: str) -> Route:
    """Traffic stays; the guard and the lease remain active."""
    record = msgspec.structs.replace(active_rollout(route, rollout_id), phase="PAUSED", reason=reason)
    return msgspec.structs.replace(route, rollout=record)


def pause_without_candidate(route: Route, rollout_id: str, reason: str, now: datetime) -> Route:
    """Paused, with all traffic at the champion and no mirror, because the candidate cannot be loaded."""
    record = msgspec.structs.replace(active_rollout(route, rollout_id), phase="PAUSED", reason=reason)
    after = msgspec.structs.replace(route, split={route.live.version: FULL_SHARE}, mirror=None)
    return _with_next_stage(after, record, now)


def resume(route: Route, rollout_id: str, now: datetime) -> Route:
    """Back in the phase before the pause, with a full lease from now."""
    rollout = active_rollout(route, rollout_id)
    if rollout.phase != "PAUSED":
        raise Refused(f"rollout {rollout_id} is {rollout.phase}; only a PAUSED rollout can be resumed")
    phase = "BAKING" if route.share() else "SHADOWING" if route.mirror else "READY" if route.candidate else "PENDING"
    record = msgspec.structs.replace(rollout, phase=phase, reason="")
    return renew_lease(msgspec.structs.replace(route, rollout=record), rollout_id, rollout.plan.lease_seconds, now)


def promote(route: Route, rollout_id: str, version: str, now: datetime) -> Route:
    """The candidate becomes the champion, in a new stage; the former champion becomes the previous version."""
    rollout = active_rollout(route, rollout_id)
    if route.candidate is None or route.candidate.version != version:
        raise Refused(f"version {version} is not the prepared candidate of rollout {rollout_id}")
    stage = RolloutStage(rollout.step + 1, FULL_SHARE, 0, now)
    record = msgspec.structs.replace(
        rollout, phase="FINALISING", reason="", step=stage.number, step_started=now, steps=(*rollout.steps, stage)
    )
    return Route(route.candidate, route.live, rollout=record)


def roll_back(route: Route, reason: str) -> Route:
    """The champion gets all traffic. A promotion that is not finished is reverted to the former champion."""
    rollout = route.rollout
    if rollout is None or not rollout.can_roll_back:
        raise Refused("no rollout is active")
    if rollout.phase == "FINALISING":
        if route.previous is None:
            raise Refused(f"rollout {rollout.rollout_id} has no previous version left; release a version instead")
        return Route(route.previous, rollout=msgspec.structs.replace(rollout, phase="ROLLED_BACK", reason=reason))
    record = msgspec.structs.replace(rollout, phase="ROLLED_BACK", reason=reason)
    return Route(route.live, route.previous, rollout=record)


def roll_back_if_possible(route: Route, rollout_id: str, reason: str) -> Route:
    """Roll this rollout back if it can still be rolled back; otherwise the route stays unchanged."""
    record = route.rollout
    ends = record is not None and record.rollout_id == rollout_id and record.can_roll_back
    return roll_back(route, reason) if ends else route


def finish_promotion(route: Route, rollout_id: str, version: str | None) -> Route:
    """Finish a promotion; ``version``, if given, must be the previous one and is dropped."""
    rollout = route.rollout
    if rollout is None or rollout.rollout_id != rollout_id:
        raise Refused(f"rollout {rollout_id} is not the newest of this model")
    if rollout.active:
        raise Refused(f"rollout {rollout_id} is {rollout.phase}; promote it or roll it back, then retire a version")
    if version is not None and (route.previous is None or route.previous.version != version):
        raise Refused(f"version {version} is not the previous one; only the previous version can be retired")
    if rollout.phase == "FINALISING":
        rollout = msgspec.structs.replace(rollout, phase="SUCCEEDED")
    return Route(route.live, None if version else route.previous, rollout=rollout)
