"""A ``DeploymentTarget`` whose record is an annotation of the object that splits the traffic: both are one write."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import msgspec

from pipelines.adapters.kubernetes import rollout_record as rec
from pipelines.adapters.kubernetes.pod_readings import PodCounts
from pipelines.adapters.kubernetes.rollout_record import ObservedRecord, ServingRecord
from pipelines.errors import AirworthyError, Conflict, Refused, Unavailable
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import ArmCounts, RolloutState
from pipelines.ports import Clock
from pipelines.rollout import transitions as moves
from pipelines.rollout.plan import RolloutPlan, plan_of
from pipelines.rollout.state import live_state_of
from pipelines.rollout.transitions import Mirror, Route, Served

TRIES = 8
"""Writes that lose against writes of others before it is given up."""


class AnnotatedRollouts(ABC):
    """``DeploymentTarget`` whose record is an annotation of the object that splits the traffic."""

    mirrors = True
    """Whether the target can copy requests to a candidate."""
    linger: float = 0
    """Seconds that a version stays after its last traffic: proxies get a change a moment after its controller."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    # ---- what a kind of target does -----------------------------------------------------------------------------

    @abstractmethod
    def _find(self, model: str) -> ObservedRecord | None:
        """The record and the traffic as they are now; None before the first release."""

    @abstractmethod
    def _put(self, model: str, record: ServingRecord, before: ObservedRecord | None) -> None:
        """Write record and traffic at once. ``Conflict`` if what was read as ``before`` is there no more."""

    @abstractmethod
    def _make(self, model: str, served: Served) -> None:
        """Return once this version can answer. ``Refused`` with the reasons why it never will."""

    @abstractmethod
    def _unmake(self, model: str, served: Served) -> None:
        """Let go of a version that gets no traffic; nothing happens if it is gone."""

    @abstractmethod
    def _drained(self, model: str) -> bool:
        """Whether nobody routes by anything older than the newest write; waits a little for it."""

    @abstractmethod
    def _readings(self, model: str, route: Route) -> dict[str, tuple[str, PodCounts]]:
        """Version and counters of every pod that serves; ``Unavailable`` if one that is ready does not answer."""

    @abstractmethod
    def _faults(self, plan: RolloutPlan) -> list[str]:
        """What of a plan this kind of target has no means for."""

    # ---- the live version ---------------------------------------------------------------------------------------

    def state(self, model: str) -> LiveState:
        observed = self._find(model)
        if observed is None:
            return LiveState(model=model)
        record, workers = observed.record, observed.workers
        return live_state_of(
            model, record.route, generation=record.generation, workers=workers, applied=observed.applied
        )

    def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> LiveState:
        served = Served(version, bundle, sha256)
        request = rec.digest("release", version, bundle, sha256)
        observed = self._find(model)
        if observed is None or (rec.stored(observed, key, request) is None and observed.record.route.live != served):
            moves.released(model, observed.record.route if observed else None, served)
            self._announce(model, served)
            with self._taken_back(model, served):
                self._make(model, served)
        self._change(model, "release", lambda route: moves.released(model, route, served), key, request)
        return self.state(model)

    def rollback(self, model: str, *, key: str, reason: str) -> LiveState:
        request = rec.digest("rollback", reason)
        self._change(model, "rollback", lambda route: moves.put_back(model, route, reason), key, request)
        return self.state(model)

    # ---- a rollout ----------------------------------------------------------------------------------------------

    def rollout(self, model: str) -> RolloutState:
        return rec.told(model, self._there(model))

    def create_rollout(
        self, model: str, rollout_id: str, plan: Mapping[str, Any], *, expect: int, key: str
    ) -> RolloutState:
        new_plan, supersede = plan_of(plan), bool(plan.get("supersede"))
        observed = self._there(model)
        known = observed.record.known(rollout_id)
        if known is not None and known.plan == new_plan:
            return rec.told(model, observed)
        if known is not None:
            raise Refused(f"rollout {rollout_id} of {model} was created with another plan; take a new id")
        if faults := self._faults(new_plan):
            raise Refused(f"rollout {rollout_id} is refused", faults)
        probe, now = secrets.token_urlsafe(18), self._clock()
        readings = self._readings(model, observed.record.route)

        def begin(record: ServingRecord) -> ServingRecord:
            before = record.route.rollout
            ended = dict(record.rollouts)
            if before is not None:
                if before.active:
                    before = msgspec.structs.replace(before, phase="SUPERSEDED", reason=f"by {rollout_id}")
                ended[before.rollout_id] = before
            pods = {pod: reading for pod, (_, reading) in readings.items()}
            return msgspec.structs.replace(record, rollouts=rec.last(ended, rec.KEPT_ROLLOUTS), arms=[], pods=pods)

        move = partial(moves.create, rollout_id=rollout_id, plan=new_plan, now=now, probe=probe, supersede=supersede)
        request = rec.digest("create", rollout_id, msgspec.to_builtins(new_plan))
        return self._step(model, "create", move, key, request, expect=expect, adapt=begin)

    def prepare(
        self, model: str, rollout_id: str, version: str, bundle: str, sha256: str, *, expect: int, key: str
    ) -> RolloutState:
        served, now = Served(version, bundle, sha256), self._clock()
        request = rec.digest("prepare", rollout_id, version, bundle, sha256)
        observed = self._there(model)
        if rec.stored(observed, key, request) is None:
            rec.expected(model, observed, expect)
            moves.prepared(observed.record.route, rollout_id, served, now)
            self._announce(model, served)
            with self._taken_back(model, served):
                self._make(model, served)

        move = partial(moves.prepared, rollout_id=rollout_id, served=served, now=now)
        return self._step(model, "prepare", move, key, request, expect=expect)

    def set_traffic(
        self, model: str, rollout_id: str, split: Mapping[str, int], *, expect: int, key: str
    ) -> RolloutState:
        now, request = self._clock(), rec.digest("traffic", rollout_id, dict(split))
        observed = self._there(model)
        if (answer := rec.stored(observed, key, request)) is not None:
            return answer
        readings = self._readings(model, observed.record.route)

        move = partial(moves.shifted, rollout_id=rollout_id, split=split, now=now)
        return self._step(model, "traffic", move, key, request, expect=expect, readings=readings)

    def set_mirror(
        self, model: str, rollout_id: str, version: str | None, basis_points: int, *, expect: int, key: str
    ) -> RolloutState:
        if version is not None and not self.mirrors:
            raise Refused(f"{model} is served where no request can be copied; leave the shadow out")
        now, mirror = self._clock(), None if version is None else Mirror(version, basis_points)
        request = rec.digest("mirror", rollout_id, version, basis_points)
        observed = self._there(model)
        # To stop copying must be possible whatever became of the pods.
        readings = self._measured(model, observed) if mirror is None else self._readings(model, observed.record.route)

        move = partial(moves.mirrored, rollout_id=rollout_id, mirror=mirror, now=now)
        return self._step(model, "mirror", move, key, request, expect=expect, readings=readings)

    def renew_lease(self, model: str, rollout_id: str, seconds: float, *, expect: int, key: str) -> RolloutState:
        now, request = self._clock(), rec.digest("lease", rollout_id, seconds)

        move = partial(moves.renewed, rollout_id=rollout_id, seconds=seconds, now=now)
        readings = self._measured(model, self._there(model))
        return self._step(model, "lease", move, key, request, expect=expect, generation=False, readings=readings)

    def pause(self, model: str, rollout_id: str, reason: str, *, expect: int, key: str) -> RolloutState:
        move = partial(moves.paused, rollout_id=rollout_id, reason=reason)
        return self._step(model, "pause", move, key, rec.digest("pause", rollout_id, reason), expect=expect)

    def resume(self, model: str, rollout_id: str, *, expect: int, key: str) -> RolloutState:
        now = self._clock()

        move = partial(moves.resumed, rollout_id=rollout_id, now=now)
        return self._step(model, "resume", move, key, rec.digest("resume", rollout_id), expect=expect)

    def promote(self, model: str, rollout_id: str, version: str, *, expect: int, key: str) -> RolloutState:
        request = rec.digest("promote", rollout_id, version)
        observed = self._there(model)
        if rec.stored(observed, key, request) is None:
            rec.expected(model, observed, expect)
            self._make(model, moves.promoted(observed.record.route, rollout_id, version).live)

        move = partial(moves.promoted, rollout_id=rollout_id, version=version)
        return self._step(model, "promote", move, key, request, expect=expect, readings=self._measured(model, observed))

    def retire(self, model: str, rollout_id: str, version: str | None, *, expect: int, key: str) -> RolloutState:
        move = partial(moves.retired, rollout_id=rollout_id, version=version)
        return self._step(model, "retire", move, key, rec.digest("retire", rollout_id, version), expect=expect)

    def roll_back(self, model: str, rollout_id: str, reason: str, *, key: str) -> RolloutState:
        if self._there(model).record.known(rollout_id) is None:
            raise Refused(f"{model} never had a rollout {rollout_id}")

        move = partial(moves.given_up, rollout_id=rollout_id, reason=reason)
        return self._step(model, "rollback", move, key, rec.digest("roll_back", rollout_id, reason))

    def counts(self, model: str, rollout_id: str) -> list[ArmCounts]:
        record = self._there(model).record
        if record.known(rollout_id) is None:
            raise Refused(f"{model} never had a rollout {rollout_id}")
        rollout = record.route.rollout
        if rollout is None or rollout.rollout_id != rollout_id:
            return []
        return rec.told_counts(rec.counted(record, self._readings(model, record.route)) if rollout.active else record)

    # ---- one write ----------------------------------------------------------------------------------------------

    def _there(self, model: str) -> ObservedRecord:
        observed = self._find(model)
        if observed is None:
            raise Refused(f"{model} has no champion yet; release one first")
        return observed

    def _step(self, model: str, action: str, move: Callable[[Route], Route], *how: str, **more: Any) -> RolloutState:
        """``_change`` of a model that has a champion."""
        return self._change(model, action, lambda route: move(moves.live(model, route)), *how, **more)

    def _change(
        self,
        model: str,
        action: str,
        move: Callable[[Route | None], Route],
        key: str,
        request: str,
        *,
        expect: int | None = None,
        generation: bool = True,
        readings: Mapping[str, tuple[str, PodCounts]] | None = None,
        adapt: Callable[[ServingRecord], ServingRecord] = lambda record: record,
    ) -> RolloutState:
        """Write what ``move`` makes of the route, unless ``key`` has been answered or the generation is another.

        ``readings`` are counted in the step that ends. ``generation=False`` neither counts as a change nor keeps its
        answer: asked for again, it is done again.
        """
        for _ in range(TRIES):
            before = self._find(model)
            stored = None if before is None else rec.stored(before, key, request)
            if before is not None and stored is not None:
                self._tidy(model, before)
                return stored
            if before is not None and expect is not None:
                rec.expected(model, before, expect)
            route = None if before is None else before.record.route
            after = moves.check(move(route))
            record = rec.counted(adapt(before.record), readings or {}) if before else ServingRecord(after)
            record = rec.moved(record, after, action, self._clock(), grew=generation and after != route)
            state = rec.told(
                model, ObservedRecord(record, "", rec.split_of(after), True, before.workers if before else 0)
            )
            if generation:
                record = rec.answered(record, key, request, state)
            try:
                self._put(model, record, before)
            except Conflict:
                continue  # somebody else wrote in between: what they wrote decides whether ours still holds
            observed = self._there(model)
            if generation and not observed.applied and self._drained(model):
                observed = self._there(model)
            if observed.record == record and observed.split != rec.split_of(after):
                split = rec.split_of(after)
                raise Refused(f"{action} of {model} did not take: its traffic is {observed.split}, written was {split}")
            self._tidy(model, observed)
            return state.model_copy(update={"workers": observed.workers, "applied": observed.applied})
        raise Unavailable(f"{action} of {model} lost against other writers {TRIES} times; try again")

    def _measured(self, model: str, observed: ObservedRecord) -> Mapping[str, tuple[str, PodCounts]]:
        """What the pods have counted; nothing if they cannot be asked now, which is made up for by the next reading."""
        try:
            return self._readings(model, observed.record.route)
        except AirworthyError:
            return {}

    def _announce(self, model: str, served: Served) -> None:
        """Note a version as one to let go of, before it is made: whoever dies while it is made leaves no orphan."""
        for _ in range(TRIES):
            observed = self._find(model)
            if observed is None or served in [*rec.needed(observed.record.route), *observed.record.leaving]:
                return
            record = msgspec.structs.replace(observed.record, leaving=[*observed.record.leaving, served])
            with suppress(Conflict):
                self._put(model, record, observed)
                return
        raise Unavailable(f"{model} is changed by others all the time; try again")

    @contextmanager
    def _taken_back(self, model: str, served: Served) -> Iterator[None]:
        """What is made of a version for nothing is taken away again."""
        try:
            yield
        except Refused:
            observed = self._find(model)
            if observed is None or served not in rec.needed(observed.record.route):
                self._unmake(model, served)
            raise

    def _tidy(self, model: str, observed: ObservedRecord) -> None:
        """Delete what has no place in the route any more, once nobody routes to it; else the next change does."""
        if not observed.record.leaving or not observed.applied:
            return
        time.sleep(self.linger)
        try:
            current = self._there(model)
            unused = [served for served in current.record.leaving if served in observed.record.leaving]
            for served in unused:
                self._unmake(model, served)
            current = self._there(model)
            leaving = [served for served in current.record.leaving if served not in unused]
            if leaving != current.record.leaving:
                self._put(model, msgspec.structs.replace(current.record, leaving=leaving), current)
        except (Conflict, Unavailable):
            return  # the record still says what is to be deleted
