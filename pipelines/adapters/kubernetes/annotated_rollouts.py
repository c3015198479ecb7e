"""A ``DeploymentTarget`` whose record is an annotation of the object that splits traffic: one write changes both."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import msgspec

from pipelines.adapters.kubernetes import rollout_record as records
from pipelines.adapters.kubernetes.pod_readings import PodCounts
from pipelines.adapters.kubernetes.rollout_record import ObservedRecord, ServingRecord
from pipelines.errors import AirworthyError, Conflict, Refused, Unavailable
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import ArmCounts, RolloutState
from pipelines.ports import Clock
from pipelines.rollout import transitions
from pipelines.rollout.plan import RolloutPlan, parse_plan
from pipelines.rollout.state import make_live_state
from pipelines.rollout.transitions import Mirror, Route, Served

MAX_WRITE_CONFLICTS = 8
"""Write conflicts after which a change raises ``Unavailable``."""


class AnnotatedRollouts(ABC):
    """``DeploymentTarget`` that stores its record in an annotation of the object that splits the traffic."""

    can_mirror = True
    """Whether the target can copy requests to a candidate."""
    linger_seconds: float = 0
    """Seconds that a version stays after its last traffic, because proxies apply a change after the controller."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    # ---- what each kind of target implements --------------------------------------------------------------------

    @abstractmethod
    def _observe(self, model: str) -> ObservedRecord | None:
        """The record and the traffic as they are now; None before the first release."""

    @abstractmethod
    def _write(self, model: str, record: ServingRecord, before: ObservedRecord | None) -> None:
        """Write record and traffic in one request. ``Conflict`` if the object changed since ``before`` was read."""

    @abstractmethod
    def _deploy_version(self, model: str, served: Served) -> None:
        """Return once this version can answer. ``Refused`` with the reasons if it never will."""

    @abstractmethod
    def _delete_version(self, model: str, served: Served) -> None:
        """Delete a version that gets no traffic; a missing version is no error."""

    @abstractmethod
    def _wait_applied(self, model: str) -> bool:
        """Whether the newest write is applied everywhere; waits up to ``applied_seconds`` for it."""

    @abstractmethod
    def _read_pods(self, model: str, route: Route) -> dict[str, tuple[str, PodCounts]]:
        """Version and counters of every serving pod; ``Unavailable`` if a ready pod does not answer."""

    @abstractmethod
    def _plan_faults(self, plan: RolloutPlan) -> list[str]:
        """Every part of a plan that this kind of target does not support."""

    # ---- the live version ---------------------------------------------------------------------------------------

    def state(self, model: str) -> LiveState:
        observed = self._observe(model)
        if observed is None:
            return LiveState(model=model)
        record, workers, applied = observed.record, observed.workers, observed.applied
        return make_live_state(model, record.route, generation=record.generation, workers=workers, applied=applied)

    def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> LiveState:
        served = Served(version, bundle, sha256)
        request = records.request_digest("release", version, bundle, sha256)
        observed = self._observe(model)
        route = observed.record.route if observed else None
        if not (observed and route) or (records.stored_answer(observed, key, request) is None and route.live != served):
            transitions.release(model, route, served)
            self._record_unused(model, served)
            with self._delete_if_refused(model, served):
                self._deploy_version(model, served)
        self._change(model, "release", lambda route: transitions.release(model, route, served), key, request)
        return self.state(model)

    @abstractmethod
    def load_unreleased(self, model: str, version: str, bundle: str, sha256: str, *, seconds: float) -> str:
        """See ``LiveVersion``."""

    @abstractmethod
    def unload_unreleased(self, model: str) -> None:
        """See ``LiveVersion``."""

    def restore_previous(self, model: str, *, key: str, reason: str) -> LiveState:
        request = records.request_digest("rollback", reason)
        self._change(model, "rollback", lambda route: transitions.restore(model, route, reason), key, request)
        return self.state(model)

    # ---- a rollout ----------------------------------------------------------------------------------------------

    def rollout(self, model: str) -> RolloutState:
        return records.rollout_state(model, self._require_record(model))

    def create_rollout(
        self, model: str, rollout_id: str, plan: Mapping[str, Any], *, expect: int, key: str
    ) -> RolloutState:
        new_plan, supersede = parse_plan(plan), bool(plan.get("supersede"))
        observed = self._require_record(model)
        known = observed.record.find_rollout(rollout_id)
        if known is not None and known.plan == new_plan:
            return records.rollout_state(model, observed)
        if known is not None:
            raise Refused(f"rollout {rollout_id} of {model} was created with another plan; take a new id")
        if faults := self._plan_faults(new_plan):
            raise Refused(f"rollout {rollout_id} is refused", faults)
        probe, now = secrets.token_urlsafe(18), self._clock()
        readings = self._read_pods(model, observed.record.route)

        def begin(record: ServingRecord) -> ServingRecord:
            before = record.route.rollout
            ended = dict(record.rollouts)
            if before is not None:
                if before.active:
                    before = msgspec.structs.replace(before, phase="SUPERSEDED", reason=f"by {rollout_id}")
                ended[before.rollout_id] = before
            pods = {pod: reading for pod, (_, reading) in readings.items()}
            rollouts = records.newest(ended, records.MAX_ROLLOUTS)
            return msgspec.structs.replace(record, rollouts=rollouts, arms=[], pods=pods)

        edit = partial(
            transitions.create, rollout_id=rollout_id, plan=new_plan, now=now, probe=probe, supersede=supersede
        )
        request = records.request_digest("create", rollout_id, msgspec.to_builtins(new_plan))
        return self._edit_live(model, "create", edit, key, request, expect=expect, update=begin)

    def prepare(
        self, model: str, rollout_id: str, version: str, bundle: str, sha256: str, *, expect: int, key: str
    ) -> RolloutState:
        served, now = Served(version, bundle, sha256), self._clock()
        request = records.request_digest("prepare", rollout_id, version, bundle, sha256)
        observed = self._require_record(model)
        if records.stored_answer(observed, key, request) is None:
            records.check_generation(model, observed, expect)
            transitions.prepare_candidate(observed.record.route, rollout_id, served, now)
            self._record_unused(model, served)
            with self._delete_if_refused(model, served):
                self._deploy_version(model, served)
        edit = partial(transitions.prepare_candidate, rollout_id=rollout_id, served=served, now=now)
        return self._edit_live(model, "prepare", edit, key, request, expect=expect)

    def set_traffic(
        self, model: str, rollout_id: str, split: Mapping[str, int], *, expect: int, key: str
    ) -> RolloutState:
        now, request = self._clock(), records.request_digest("traffic", rollout_id, dict(split))
        observed = self._require_record(model)
        if (answer := records.stored_answer(observed, key, request)) is not None:
            return answer
        readings = self._read_pods(model, observed.record.route)
        edit = partial(transitions.shift_traffic, rollout_id=rollout_id, split=split, now=now)
        return self._edit_live(model, "traffic", edit, key, request, expect=expect, readings=readings)

    def set_mirror(
        self, model: str, rollout_id: str, version: str | None, basis_points: int, *, expect: int, key: str
    ) -> RolloutState:
        if version is not None and not self.can_mirror:
            raise Refused(f"the deployment target of {model} cannot mirror requests; remove the shadow")
        now, mirror = self._clock(), None if version is None else Mirror(version, basis_points)
        request = records.request_digest("mirror", rollout_id, version, basis_points)
        observed = self._require_record(model)
        # The mirror can be stopped even while pods do not answer.
        readings = (self._read_pods if mirror else self._try_read_pods)(model, observed.record.route)
        edit = partial(transitions.set_mirror, rollout_id=rollout_id, mirror=mirror, now=now)
        return self._edit_live(model, "mirror", edit, key, request, expect=expect, readings=readings)

    def renew_lease(self, model: str, rollout_id: str, seconds: float, *, expect: int, key: str) -> RolloutState:
        now, request = self._clock(), records.request_digest("lease", rollout_id, seconds)
        edit = partial(transitions.renew_lease, rollout_id=rollout_id, seconds=seconds, now=now)
        readings = self._try_read_pods(model, self._require_record(model).record.route)
        return self._edit_live(
            model, "lease", edit, key, request, expect=expect, new_generation=False, readings=readings
        )

    def pause(self, model: str, rollout_id: str, reason: str, *, expect: int, key: str) -> RolloutState:
        edit = partial(transitions.pause, rollout_id=rollout_id, reason=reason)
        return self._edit_live(
            model, "pause", edit, key, records.request_digest("pause", rollout_id, reason), expect=expect
        )

    def resume(self, model: str, rollout_id: str, *, expect: int, key: str) -> RolloutState:
        now = self._clock()
        edit = partial(transitions.resume, rollout_id=rollout_id, now=now)
        return self._edit_live(model, "resume", edit, key, records.request_digest("resume", rollout_id), expect=expect)

    def promote(self, model: str, rollout_id: str, version: str, *, expect: int, key: str) -> RolloutState:
        request = records.request_digest("promote", rollout_id, version)
        observed = self._require_record(model)
        if records.stored_answer(observed, key, request) is None:
            records.check_generation(model, observed, expect)
            promoted = transitions.promote(observed.record.route, rollout_id, version, self._clock()).live
            self._deploy_version(model, promoted)
        edit = partial(transitions.promote, rollout_id=rollout_id, version=version, now=self._clock())
        readings = self._try_read_pods(model, observed.record.route)
        return self._edit_live(model, "promote", edit, key, request, expect=expect, readings=readings)

    def retire(self, model: str, rollout_id: str, version: str | None, *, expect: int, key: str) -> RolloutState:
        edit = partial(transitions.finish_promotion, rollout_id=rollout_id, version=version)
        return self._edit_live(
            model, "retire", edit, key, records.request_digest("retire", rollout_id, version), expect=expect
        )

    def roll_back(self, model: str, rollout_id: str, reason: str, *, key: str) -> RolloutState:
        if self._require_record(model).record.find_rollout(rollout_id) is None:
            raise Refused(f"{model} never had a rollout {rollout_id}")
        edit = partial(transitions.roll_back_if_possible, rollout_id=rollout_id, reason=reason)
        return self._edit_live(model, "rollback", edit, key, records.request_digest("roll_back", rollout_id, reason))

    def counts(self, model: str, rollout_id: str) -> list[ArmCounts]:
        record = self._require_record(model).record
        if record.find_rollout(rollout_id) is None:
            raise Refused(f"{model} never had a rollout {rollout_id}")
        rollout = record.route.rollout
        if rollout is None or rollout.rollout_id != rollout_id:
            return []
        if rollout.can_roll_back:
            record = records.with_pod_counts(record, self._read_pods(model, record.route))
        return records.arm_counts(record)

    # ---- one write ----------------------------------------------------------------------------------------------

    def _require_record(self, model: str) -> ObservedRecord:
        observed = self._observe(model)
        if observed is None:
            raise Refused(f"{model} has no champion yet; release a version first")
        return observed

    def _edit_live(
        self, model: str, action: str, edit: Callable[[Route], Route], *args: str, **kw: Any
    ) -> RolloutState:
        """``_change`` of a model that has a champion."""
        return self._change(model, action, lambda route: edit(transitions.require_live(model, route)), *args, **kw)

    def _change(
        self,
        model: str,
        action: str,
        edit: Callable[[Route | None], Route],
        key: str,
        request: str,
        *,
        expect: int | None = None,
        new_generation: bool = True,
        readings: Mapping[str, tuple[str, PodCounts]] | None = None,
        update: Callable[[ServingRecord], ServingRecord] = lambda record: record,
    ) -> RolloutState:
        """Write what ``edit`` makes of the route, unless ``key`` has been answered or the generation is another.

        ``readings`` count for the stage that ends. With ``new_generation=False`` the generation stays and no answer
        is stored, so a repeated call changes the record again.
        """
        for _ in range(MAX_WRITE_CONFLICTS):
            before = self._observe(model)
            stored = None if before is None else records.stored_answer(before, key, request)
            if before is not None and stored is not None:
                self._delete_unused(model, before)
                return stored
            if before is not None and expect is not None:
                records.check_generation(model, before, expect)
            route = None if before is None else before.record.route
            after = transitions.check_route(edit(route))
            record = records.with_pod_counts(update(before.record), readings or {}) if before else ServingRecord(after)
            record = records.with_route(record, after, action, self._clock(), changed=new_generation and after != route)
            state = records.rollout_state(
                model, ObservedRecord(record, "", records.traffic_split(after), True, before.workers if before else 0)
            )
            if new_generation:
                record = records.with_answer(record, key, request, state)
            try:
                self._write(model, record, before)
            except Conflict:
                continue  # another writer changed the object: check the change against the new state
            observed = self._require_record(model)
            if new_generation and not observed.applied and self._wait_applied(model):
                observed = self._require_record(model)
            if observed.record == record and observed.split != records.traffic_split(after):
                split = records.traffic_split(after)
                raise Refused(f"{action} of {model} was not applied: its split is {observed.split}, not {split}")
            self._delete_unused(model, observed)
            return state.model_copy(update={"workers": observed.workers, "applied": observed.applied})
        raise Unavailable(f"{action} of {model} met {MAX_WRITE_CONFLICTS} write conflicts in a row; try again")

    def _try_read_pods(self, model: str, route: Route) -> Mapping[str, tuple[str, PodCounts]]:
        """Counters of the pods, or nothing if they do not answer; the next reading then includes these counts."""
        try:
            return self._read_pods(model, route)
        except AirworthyError:
            return {}

    def _record_unused(self, model: str, served: Served) -> None:
        """Record a version as unused before its objects are created, so that a crash leaves no orphaned objects."""
        for _ in range(MAX_WRITE_CONFLICTS):
            observed = self._observe(model)
            if observed is None or served in [*records.used_versions(observed.record.route), *observed.record.leaving]:
                return
            record = msgspec.structs.replace(observed.record, leaving=[*observed.record.leaving, served])
            with suppress(Conflict):
                self._write(model, record, observed)
                return
        raise Unavailable(f"{model} met {MAX_WRITE_CONFLICTS} write conflicts in a row; try again")

    @contextmanager
    def _delete_if_refused(self, model: str, served: Served) -> Iterator[None]:
        """Delete the objects of a version that is refused, unless the route uses it."""
        try:
            yield
        except Refused:
            observed = self._observe(model)
            if observed is None or served not in records.used_versions(observed.record.route):
                self._delete_version(model, served)
            raise

    def _delete_unused(self, model: str, observed: ObservedRecord) -> None:
        """Delete versions that the applied route no longer uses; if that fails the next change tries again."""
        if not observed.record.leaving or not observed.applied:
            return
        time.sleep(self.linger_seconds)
        try:
            current = self._require_record(model)
            unused = [served for served in current.record.leaving if served in observed.record.leaving]
            for served in unused:
                self._delete_version(model, served)
            current = self._require_record(model)
            leaving = [served for served in current.record.leaving if served not in unused]
            if leaving != current.record.leaving:
                self._write(model, msgspec.structs.replace(current.record, leaving=leaving), current)
        except (Conflict, Unavailable):
            return  # the record still lists the versions to delete
