"""The states of a rollout: each change is a pure function from one record to the next, or ``Refused``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from pipelines.errors import Refused
from pipelines.rollout.plan import RolloutPlan

WHOLE = 10_000
"""All traffic in basis points."""
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ACTIVE = frozenset({"PENDING", "READY", "SHADOWING", "BAKING", "PAUSED"})
"""Phases in which a candidate may get requests and a rollback takes them all away."""

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
    """The version that sees a copy of ``basis_points`` of the requests; nobody gets its answers."""

    version: str
    basis_points: int


class Stage(msgspec.Struct, frozen=True):
    """What was set when a step began: basis points of the candidate, and of the mirror."""

    number: int
    share: int
    mirror: int
    started: datetime


class RolloutRecord(msgspec.Struct, frozen=True):
    """The record of one rollout. SageMaker aside, it is written in one transaction with the traffic."""

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
    """Why it is paused, failed, rolled back or superseded."""
    probe: str = ""
    """Requests that carry this secret in the header x-rollout-probe go to the candidate, whatever the split."""
    steps: tuple[Stage, ...] = ()
    """Every step so far, oldest first."""

    @property
    def active(self) -> bool:
        return self.phase in ACTIVE

    @property
    def can_be_taken_back(self) -> bool:
        """Whether a rollback changes anything: it is active, or its promotion is being finished."""
        return self.active or self.phase == "FINALISING"


class Route(msgspec.Struct, frozen=True):
    """What one model serves: champion, the version to put back, candidate, traffic, mirror, rollout.

    ``split`` maps versions to basis points; empty means that the champion has them all.
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


class RoutingTable(msgspec.Struct, frozen=True):
    """All routes of one generation. Never changed, only replaced."""

    generation: int = 0
    routes: dict[str, Route] = {}


def live(model: str, route: Route | None) -> Route:
    """The route itself. Raises ``Refused`` where nothing is served yet."""
    if route is None:
        raise Refused(f"{model} has no champion yet; release one first")
    return route


def check(route: Route) -> Route:
    """The row itself if it may be written. Raises ``Refused`` for a split that is not whole or names a stranger."""
    known = {served.version for served in (route.live, route.candidate) if served}
    faults = [
        f"version {version!r} is neither champion nor candidate" for version in route.split if version not in known
    ]
    faults += [f"version {version!r} gets {share}" for version, share in route.split.items() if not 0 <= share <= WHOLE]
    if route.split and sum(route.split.values()) != WHOLE:
        faults.append(f"the shares sum to {sum(route.split.values())}, they must sum to {WHOLE} basis points")
    if route.mirror and (route.candidate is None or route.mirror.version != route.candidate.version):
        faults.append(f"version {route.mirror.version!r} is mirrored to, but it is not the prepared candidate")
    if route.mirror and not 0 < route.mirror.basis_points <= WHOLE:
        faults.append(f"the mirror gets {route.mirror.basis_points}; give 1 to {WHOLE} basis points")
    if faults:
        raise Refused("this traffic is refused", faults)
    return route


def current(route: Route, rollout_id: str) -> RolloutRecord:
    """The rollout of this id if it still runs. Raises ``Refused`` if another one does or it has ended."""
    rollout = route.rollout
    if rollout is None or rollout.rollout_id != rollout_id:
        raise Refused(f"rollout {rollout_id} does not run; {rollout.rollout_id if rollout else 'none'} is the newest")
    if not rollout.active:
        raise Refused(f"rollout {rollout_id} is {rollout.phase} ({rollout.reason or 'done'}); start a new one")
    return rollout


def released(model: str, route: Route | None, served: Served) -> Route:
    """``served`` is live, and what was live is the version to put back. ``Refused`` while a rollout is active."""
    if route is None or route.live == served:
        return route or Route(served)
    record = route.rollout
    if record is not None and record.active:
        raise Refused(f"rollout {record.rollout_id} of {model} is {record.phase}; promote it or roll it back first")
    if record is not None and record.phase == "FINALISING":
        record = msgspec.structs.replace(record, phase="SUCCEEDED")
    rebuilt = route.live.version == served.version  # going back to itself would be no way back
    return Route(served, route.previous if rebuilt else route.live, rollout=record)


def put_back(model: str, route: Route | None, reason: str) -> Route:
    """A rollout that can be taken back is; without one the previous version is live, and what was live is let go."""
    if route is not None and route.rollout is not None and route.rollout.can_be_taken_back:
        return rolled_back(route, reason)
    if route is None or route.previous is None:
        raise Refused(f"{model} has no previous version to put back; release one instead")
    return Route(route.previous, rollout=route.rollout)


def create(route: Route, rollout_id: str, plan: RolloutPlan, now: datetime, probe: str, supersede: bool) -> Route:
    """A new rollout at 0 %. Raises ``Refused`` while another one runs, unless it is to be superseded."""
    faults = plan.faults()
    if not ID.fullmatch(rollout_id):
        faults.append(f"its id {rollout_id[:80]!r} does not match {ID.pattern}")
    before = route.rollout
    if before is not None and before.active and not supersede:
        faults.append(f"rollout {before.rollout_id} is {before.phase}; roll it back, or say supersede")
    if faults:
        raise Refused(f"rollout {rollout_id} is refused", faults)
    until = now + timedelta(seconds=plan.lease_seconds)
    record = RolloutRecord(rollout_id, plan, "PENDING", now, until, route.live, probe=probe)
    return Route(route.live, route.previous, rollout=record)


def prepared(route: Route, rollout_id: str, served: Served, now: datetime) -> Route:
    """The candidate is loaded, at 0 %."""
    rollout = current(route, rollout_id)
    if served.version == route.live.version:
        raise Refused(f"version {served.version} is the champion itself; prepare another one")
    if rollout.phase not in ("PENDING", "READY"):
        raise Refused(
            f"rollout {rollout_id} is {rollout.phase} with version {rollout.candidate and rollout.candidate.version}"
        )
    steps = (Stage(rollout.step, 0, 0, now),)
    record = msgspec.structs.replace(rollout, phase="READY", candidate=served, step_started=now, steps=steps)
    return msgspec.structs.replace(route, candidate=served, split={}, rollout=record)


def failed(route: Route, rollout_id: str, reason: str) -> Route:
    """The candidate was refused before any request met it: the rollout has ended, the champion never noticed."""
    rollout = current(route, rollout_id)
    if rollout.phase not in ("PENDING", "READY"):
        raise Refused(f"rollout {rollout_id} is {rollout.phase}; roll it back instead")
    return Route(route.live, route.previous, rollout=msgspec.structs.replace(rollout, phase="FAILED", reason=reason))


def shifted(route: Route, rollout_id: str, split: Mapping[str, int], now: datetime) -> Route:
    """The next step. A canary only grows and an A/B split stays, so that nobody changes sides."""
    rollout = current(route, rollout_id)
    if route.candidate is None:
        raise Refused(f"rollout {rollout_id} is {rollout.phase}; prepare its candidate before it gets traffic")
    if rollout.plan.strategy == "shadow":
        raise Refused(f"rollout {rollout_id} is a shadow; its candidate gets no caller's traffic")
    after = check(msgspec.structs.replace(route, split=dict(split)))
    least = route.share()
    if after.share() < least:
        raise Refused(f"the candidate has {least} basis points and keeps them; roll back to take them away")
    if rollout.plan.strategy == "ab" and least not in (0, after.share()):
        raise Refused(f"an A/B split stays as it began, at {least} basis points; start another rollout")
    phase = "BAKING" if after.share() else "READY"
    return _begun(after, msgspec.structs.replace(rollout, phase=phase, reason=""), now)


def mirrored(route: Route, rollout_id: str, mirror: Mirror | None, now: datetime) -> Route:
    """Start, change or stop the mirror; its counts begin anew."""
    rollout = current(route, rollout_id)
    after = check(msgspec.structs.replace(route, mirror=mirror))
    phase = rollout.phase
    if phase in ("READY", "SHADOWING"):
        phase = "SHADOWING" if mirror else "READY"
    return _begun(after, msgspec.structs.replace(rollout, phase=phase), now)


def _begun(route: Route, record: RolloutRecord, now: datetime) -> Route:
    """The next step begins with what ``route`` says, and with counts of its own."""
    number = record.step + 1
    step = Stage(number, route.share(), route.mirror.basis_points if route.mirror else 0, now)
    record = msgspec.structs.replace(record, step=number, step_started=now, steps=(*record.steps, step))
    return msgspec.structs.replace(route, rollout=record)


def renewed(route: Route, rollout_id: str, seconds: float, now: datetime) -> Route:
    """The lease counts from now."""
    record = msgspec.structs.replace(current(route, rollout_id), lease_until=now + timedelta(seconds=seconds))
    return msgspec.structs.replace(route, rollout=record)


def paused(route: Route, rollout_id: str, reason: str) -> Route:
    """Traffic stays; the guard and the lease go on."""
    record = msgspec.structs.replace(current(route, rollout_id), phase="PAUSED", reason=reason)
    return msgspec.structs.replace(route, rollout=record)


def unloaded(route: Route, rollout_id: str, reason: str, now: datetime) -> Route:
    """Paused, with all traffic at the champion and no mirror: the candidate cannot be loaded any more."""
    record = msgspec.structs.replace(current(route, rollout_id), phase="PAUSED", reason=reason)
    after = msgspec.structs.replace(route, split={route.live.version: WHOLE}, mirror=None)
    return _begun(after, record, now)


def resumed(route: Route, rollout_id: str, now: datetime) -> Route:
    """Back to where it was paused, with the lease counted from now."""
    rollout = current(route, rollout_id)
    if rollout.phase != "PAUSED":
        raise Refused(f"rollout {rollout_id} is {rollout.phase}, not PAUSED")
    phase = "BAKING" if route.share() else "SHADOWING" if route.mirror else "READY" if route.candidate else "PENDING"
    record = msgspec.structs.replace(rollout, phase=phase, reason="")
    return renewed(msgspec.structs.replace(route, rollout=record), rollout_id, rollout.plan.lease_seconds, now)


def promoted(route: Route, rollout_id: str, version: str) -> Route:
    """The candidate is the champion; the former champion is the version to put back."""
    rollout = current(route, rollout_id)
    if route.candidate is None or route.candidate.version != version:
        raise Refused(f"version {version} is not the prepared candidate of rollout {rollout_id}")
    record = msgspec.structs.replace(rollout, phase="FINALISING", reason="")
    return Route(route.candidate, route.live, rollout=record)


def rolled_back(route: Route, reason: str) -> Route:
    """The champion has all traffic again, in one write. A promotion that is being finished is taken back."""
    rollout = route.rollout
    if rollout is None or not rollout.can_be_taken_back:
        raise Refused("no rollout is active")
    if rollout.phase == "FINALISING":
        if route.previous is None:
            raise Refused(f"rollout {rollout.rollout_id} has let go of the version to put back; release one instead")
        return Route(route.previous, rollout=msgspec.structs.replace(rollout, phase="ROLLED_BACK", reason=reason))
    record = msgspec.structs.replace(rollout, phase="ROLLED_BACK", reason=reason)
    return Route(route.live, route.previous, rollout=record)


def given_up(route: Route, rollout_id: str, reason: str) -> Route:
    """This rollout is rolled back where it can still be taken back; what has ended stays as it is."""
    record = route.rollout
    ends = record is not None and record.rollout_id == rollout_id and record.can_be_taken_back
    return rolled_back(route, reason) if ends else route


def retired(route: Route, rollout_id: str, version: str | None) -> Route:
    """A promotion is finished; ``version`` is let go of, if one is named."""
    rollout = route.rollout
    if rollout is None or rollout.rollout_id != rollout_id:
        raise Refused(f"rollout {rollout_id} is not the newest of this model")
    if rollout.active:
        raise Refused(
            f"rollout {rollout_id} is {rollout.phase}; promote it or roll it back before a version is retired"
        )
    if version is not None and (route.previous is None or route.previous.version != version):
        raise Refused(f"version {version} is not the previous one; only that can be retired")
    if rollout.phase == "FINALISING":
        rollout = msgspec.structs.replace(rollout, phase="SUCCEEDED")
    return Route(route.live, None if version else route.previous, rollout=rollout)
