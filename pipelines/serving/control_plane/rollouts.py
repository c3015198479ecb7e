"""The changes of a rollout: each is one transaction, checked against the model's generation, idempotent by its key."""

from __future__ import annotations

import contextlib
import logging
import secrets
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from pipelines.errors import Refused
from pipelines.rollout import transitions
from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.transitions import FULL_SHARE, Mirror, RolloutRecord, Route, Served
from pipelines.serving.control_plane.counts import RolloutCounts
from pipelines.serving.control_plane.releases import Releases, UnloadableCandidate
from pipelines.serving.control_plane.state import GatewayState, GenerationMismatch, KeyReused

log = logging.getLogger("airworthy.gateway")

Answer = dict[str, Any]
Transition = Callable[[Route], Route]


class Rollouts:
    """The verbs of a rollout. ``expect``: the model's generation that the caller has read; a rollback needs none.

    Every verb returns the state of the model (``state``). Raises ``GenerationMismatch`` if the model has another
    generation, ``Refused`` for a change that the record does not allow. ``collect_counts``: all processes report.
    """

    def __init__(
        self,
        state: GatewayState,
        releases: Releases,
        counts: RolloutCounts,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        collect_counts: Callable[[], Awaitable[None]],
    ) -> None:
        self._state, self._releases, self._counts, self._now = state, releases, counts, now
        self._collect_counts = collect_counts

    def state(self, model: str) -> Answer:
        """Champion, candidate, traffic in basis points, mirror, the rollout's record, and the model's generation."""
        return self._with_worker_state(
            describe_route(model, self._route(model)) | {"generation": self._state.generation(model)}
        )

    def record(self, model: str, rollout_id: str) -> RolloutRecord:
        """The record of an active or ended rollout."""
        record = self._state.rollout(model, rollout_id)
        if record is None:
            raise Refused(f"{model} never had a rollout {rollout_id}")
        return record

    async def counts(self, model: str, rollout_id: str) -> Answer:
        """Counts of each version in each stage, oldest stage first, the current one up to now."""
        record = self.record(model, rollout_id)
        await self._collect_counts()
        names = [f"{limit.over_ms:g}" for limit in record.plan.guard.latency]
        steps = {step.number: step for step in record.steps}
        arms = []
        for arm in self._counts.report(model, rollout_id, names):
            step = steps.get(arm["step"])
            stage = {"share": step.share, "step_started": step.started} if step else {"share": 0, "step_started": None}
            if not record.plan.routing.counts_keys and arm["role"] != "shadow":
                events = {"bad": arm["failed"], "beyond_p99": arm["beyond_p99"], **arm["slow"]}
                stage |= {"units": arm["requests"], "new_units": arm["requests"], "event_units": events}
                stage |= {"bad_units": arm["failed"], "slow_units": arm["slow"]}
                stage |= {"beyond_p99_units": arm["beyond_p99"]}
            arms.append(arm | stage)
        return {
            "model": model,
            "rollout_id": rollout_id,
            "step": record.step,
            "step_started": record.step_started,
            "arms": arms,
        }

    async def create(
        self, model: str, rollout_id: str, plan: RolloutPlan, supersede: bool, *, expect: int, key: str
    ) -> Answer:
        """Begin a rollout at 0 %; a repeated call with the same id and plan changes nothing, even after its end."""
        request = {"create": model, "rollout_id": rollout_id, "plan": msgspec.to_builtins(plan)}
        existing = self._state.rollout(model, rollout_id)
        if existing is not None and existing.plan == plan:
            return self.state(model)
        if existing is not None:
            raise Refused(f"rollout {rollout_id} of {model} was created with another plan; take a new id")
        before = self._route(model).rollout
        superseded = None
        if before is not None and before.active:
            superseded = msgspec.structs.replace(before, phase="SUPERSEDED", reason=f"by {rollout_id}")
        probe, now = secrets.token_urlsafe(18), self._now()

        def transition(route: Route) -> Route:
            return transitions.create(route, rollout_id, plan, now, probe, supersede)

        answer = await self._write(request, transition, key=key, expect=expect, superseded=superseded)
        self._counts.keep_only_rollouts(
            {(name, route.rollout.rollout_id) for name, route in self._releases.table.routes.items() if route.rollout}
        )
        return answer

    async def prepare(self, model: str, rollout_id: str, served: Served, *, expect: int, key: str) -> Answer:
        """Load and test the candidate in every worker, without traffic; a refused one ends the rollout as FAILED."""
        request = {"prepare": model, "rollout_id": rollout_id, "served": msgspec.to_builtins(served)}
        if (repeated := self._repeated_answer(key, request, expect)) is not None:
            return repeated
        now = self._now()
        transitions.prepare_candidate(self._route(model), rollout_id, served, now)
        try:
            await self._releases.load_bundle(
                model, served, transitions.active_rollout(self._route(model), rollout_id).plan
            )
        except Refused as error:
            await self._record_failed_preparation(model, rollout_id, error, expect)
            raise
        return await self._write(
            request, lambda route: transitions.prepare_candidate(route, rollout_id, served, now), key=key, expect=expect
        )

    async def _record_failed_preparation(self, model: str, rollout_id: str, error: Refused, expect: int) -> None:
        """Do nothing if another change came while the candidate was loaded."""
        reason = "; ".join([error.subject, *error.reasons])
        request = {"fail": model, "rollout_id": rollout_id, "reason": reason}
        key = f"{rollout_id}/{uuid.uuid4()}"
        with contextlib.suppress(GenerationMismatch, Refused):
            await self._write(
                request, lambda route: transitions.fail_preparation(route, rollout_id, reason), key=key, expect=expect
            )
            log.warning("rollout %s of %s has failed: %s", rollout_id, model, reason)

    async def set_traffic(self, model: str, rollout_id: str, split: dict[str, int], *, expect: int, key: str) -> Answer:
        """Begin the next stage: ``split`` maps versions to basis points that sum to 10,000."""
        request = {"traffic": model, "rollout_id": rollout_id, "split": split}
        now = self._now()
        return await self._write(
            request, lambda route: transitions.shift_traffic(route, rollout_id, split, now), key=key, expect=expect
        )

    async def set_mirror(
        self, model: str, rollout_id: str, version: str | None, basis_points: int, *, expect: int, key: str
    ) -> Answer:
        """Mirror this share of the champion's requests to the candidate; version None stops it."""
        request = {"mirror": model, "rollout_id": rollout_id, "version": version, "basis_points": basis_points}
        mirror = None if version is None else Mirror(version, basis_points)
        now = self._now()
        return await self._write(
            request, lambda route: transitions.set_mirror(route, rollout_id, mirror, now), key=key, expect=expect
        )

    async def renew_lease(self, model: str, rollout_id: str, seconds: float, *, expect: int, key: str) -> Answer:
        """Renew the lease from now; the generation stays, because routing does not change."""
        request = {"lease": model, "rollout_id": rollout_id, "seconds": seconds}
        now = self._now()
        return await self._write(
            request,
            lambda route: transitions.renew_lease(route, rollout_id, seconds, now),
            key=key,
            expect=expect,
            new_generation=False,
        )

    async def pause(self, model: str, rollout_id: str, reason: str, *, expect: int, key: str) -> Answer:
        """Hold the rollout at its stage; guard and lease stay in force."""
        request = {"pause": model, "rollout_id": rollout_id, "reason": reason}
        return await self._write(
            request, lambda route: transitions.pause(route, rollout_id, reason), key=key, expect=expect
        )

    async def resume(self, model: str, rollout_id: str, *, expect: int, key: str) -> Answer:
        """Continue at the stage at which it was paused, with a new lease."""
        request = {"resume": model, "rollout_id": rollout_id}
        now = self._now()
        return await self._write(
            request, lambda route: transitions.resume(route, rollout_id, now), key=key, expect=expect
        )

    async def promote(self, model: str, rollout_id: str, version: str, *, expect: int, key: str) -> Answer:
        """Make the candidate the champion in one write; the former champion is the previous version."""
        request = {"promote": model, "rollout_id": rollout_id, "version": version}
        if (repeated := self._repeated_answer(key, request, expect)) is not None:
            return repeated
        now = self._now()
        candidate = transitions.promote(self._route(model), rollout_id, version, now).live
        await self._releases.load_bundle(model, candidate)
        now = self._now()  # loading takes a while, and the watch begins with the traffic
        return await self._write(
            request, lambda route: transitions.promote(route, rollout_id, version, now), key=key, expect=expect
        )

    async def retire(self, model: str, rollout_id: str, version: str | None, *, expect: int, key: str) -> Answer:
        """Finish a promotion; ``version``, if given, can no longer be restored."""
        request = {"retire": model, "rollout_id": rollout_id, "version": version}
        return await self._write(
            request, lambda route: transitions.finish_promotion(route, rollout_id, version), key=key, expect=expect
        )

    async def roll_back(
        self, model: str, rollout_id: str, reason: str, *, key: str, version: str | None = None
    ) -> Answer:
        """Route all traffic to the champion; it needs no generation and takes precedence over every other change."""
        only = {"rollout_id": rollout_id, "version": version}
        await self._releases.restore_previous(model, key=key, reason=reason, **only)
        return self.state(model)

    # ---- decisions of the gateway itself -------------------------------------------------------------------------

    async def roll_back_automatically(self, model: str, record: RolloutRecord, reason: str) -> None:
        """Roll back on a decision of the guard; do nothing if the rollout has ended meanwhile."""
        await self.roll_back(model, record.rollout_id, reason, key=f"{record.rollout_id}/{uuid.uuid4()}")
        log.warning("rollout %s of %s is rolled back: %s", record.rollout_id, model, reason)

    async def pause_automatically(self, model: str, record: RolloutRecord, reason: str, *, stop_mirror: bool) -> None:
        """Pause; ``stop_mirror`` also stops the mirror."""

        def transition(route: Route) -> Route:
            after = transitions.pause(route, record.rollout_id, reason)
            return msgspec.structs.replace(after, mirror=None if stop_mirror else after.mirror)

        await self._pause(model, record, transition, reason)

    async def pause_unloadable(self, refused: list[UnloadableCandidate]) -> None:
        """Pause the rollouts of candidates that cannot be loaded, with all traffic at the champion."""
        for model, sha256, reasons in refused:
            route = self._releases.table.routes.get(model)
            if route is None or route.candidate is None or route.candidate.sha256 != sha256 or route.rollout is None:
                continue
            if not route.rollout.active or (route.rollout.phase == "PAUSED" and not route.share() and not route.mirror):
                continue
            reason = f"version {route.candidate.version} cannot be loaded: {'; '.join(reasons)}"
            rollout_id, now = route.rollout.rollout_id, self._now()

            def transition(current: Route, id_: str = rollout_id, cause: str = reason, now: datetime = now) -> Route:
                return transitions.pause_without_candidate(current, id_, cause, now)

            await self._pause(model, route.rollout, transition, reason)

    async def _pause(self, model: str, record: RolloutRecord, transition: Transition, reason: str) -> None:
        request = {"decide": model, "rollout_id": record.rollout_id, "reason": reason}
        log.warning("rollout %s of %s is paused: %s", record.rollout_id, model, reason)
        await self._write(request, transition, key=f"{record.rollout_id}/{uuid.uuid4()}", expect=None, action="pause")

    # ---- writing -------------------------------------------------------------------------------------------------

    async def _write(
        self,
        request: Answer,
        transition: Transition,
        *,
        key: str,
        expect: int | None,
        action: str = "",
        new_generation: bool = True,
        superseded: RolloutRecord | None = None,
    ) -> Answer:
        """Change the route by compare and swap. The first item of ``request`` is its action and its model."""
        if (repeated := self._repeated_answer(key, request, expect)) is not None:
            return repeated
        verb, model = next(iter(request.items()))
        action = action or verb
        after = transition(self._route(model))
        answer = describe_route(model, after)
        table = self._state.change(
            model,
            after,
            key=key,
            request=request,
            action=action,
            at=self._now().isoformat(),
            expect=expect,
            answer=answer,
            new_generation=new_generation,
            superseded=superseded,
        )
        log.info("generation %s: %s of %s", table.generation, action, model)
        number = self._state.generation(model)
        if new_generation:
            refused = await self._releases.serve_table(table)
            if refused:
                await self.pause_unloadable(refused)
        else:
            self._releases.keep_table(table)
        return self._with_worker_state(answer | {"generation": number})

    def _repeated_answer(self, key: str, request: Answer, expect: int | None) -> Answer | None:
        """The stored answer of a repeated request. Raises ``GenerationMismatch`` for a new one of an old generation."""
        try:
            is_repeated = self._state.find_generation(key, request) is not None
        except KeyReused as error:
            raise Refused(str(error)) from error
        answer = self._state.stored_answer(key) if is_repeated else None
        if answer is not None:
            return self._with_worker_state(answer)
        model = next(iter(request.values()))
        generation = self._state.generation(model)
        if expect is not None and expect != generation:
            raise GenerationMismatch(model, expect, generation)
        return None

    def _with_worker_state(self, answer: Answer) -> Answer:
        return answer | {"workers": self._releases.worker_count, "applied": self._releases.is_applied}

    def _route(self, model: str) -> Route:
        route = self._releases.table.routes.get(model)
        if route is None:
            raise Refused(f"{model} has no champion yet; release one first")
        return route


def describe_route(model: str, route: Route) -> Answer:
    """The route of one model as the API returns it."""
    record = route.rollout
    return {
        "model": model,
        "champion": msgspec.to_builtins(route.live),
        "previous": msgspec.to_builtins(route.previous),
        "candidate": msgspec.to_builtins(route.candidate),
        "split": route.split or {route.live.version: FULL_SHARE},
        "mirror": msgspec.to_builtins(route.mirror),
        "rollout": None if record is None else msgspec.to_builtins(record),
    }
