"""The changes of a rollout: each is one transaction, fenced by the model's generation and repeatable by its key."""

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
from pipelines.rollout import transitions as moves
from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.transitions import WHOLE, Mirror, RolloutRecord, Route, Served
from pipelines.serving.control_plane.counts import RolloutCounts
from pipelines.serving.control_plane.releases import Releases, Unloadable
from pipelines.serving.control_plane.state import GatewayState, GenerationMismatch, KeyReused

log = logging.getLogger("airworthy.gateway")

Answer = dict[str, Any]
Move = Callable[[Route], Route]


class Rollouts:
    """The verbs of a rollout. ``expect``: the model's generation that the caller decided on; a rollback has none.

    Every verb answers with the state of the model (``state``). Raises ``GenerationMismatch`` if the model has another
    generation, ``Refused`` for a move that the record does not allow. ``gather`` has every process report its counts.
    """

    def __init__(
        self,
        state: GatewayState,
        releases: Releases,
        counts: RolloutCounts,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        gather: Callable[[], Awaitable[None]],
    ) -> None:
        self._state, self._releases, self._counts, self._now, self._gather = state, releases, counts, now, gather

    def state(self, model: str) -> Answer:
        """Champion, candidate, traffic in basis points, mirror, the rollout's record, and the model's generation."""
        return self._with_workers(describe(model, self._route(model)) | {"generation": self._state.generation(model)})

    def record(self, model: str, rollout_id: str) -> RolloutRecord:
        """The record of any rollout there ever was."""
        record = self._state.rollout(model, rollout_id)
        if record is None:
            raise Refused(f"{model} never had a rollout {rollout_id}")
        return record

    async def counts(self, model: str, rollout_id: str) -> Answer:
        """What each version did in each step, oldest step first; the present one up to now."""
        record = self.record(model, rollout_id)
        await self._gather()
        names = [f"{limit.over_ms:g}" for limit in record.plan.guard.latency]
        steps = {step.number: step for step in record.steps}
        arms = []
        for arm in self._counts.report(model, rollout_id, names):
            step = steps.get(arm["step"])
            known = {"share": step.share, "step_started": step.started} if step else {"share": 0, "step_started": None}
            if not record.plan.routing.counts_keys and arm["role"] != "shadow":
                known |= {"units": arm["requests"], "bad_units": arm["failed"], "slow_units": arm["slow"]}
            arms.append(arm | known)
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
        """Begin a rollout at 0 %; asked for again it is the same one, whatever became of it."""
        request = {"create": model, "rollout_id": rollout_id, "plan": msgspec.to_builtins(plan)}
        known = self._state.rollout(model, rollout_id)
        if known is not None and known.plan == plan:
            return self.state(model)
        if known is not None:
            raise Refused(f"rollout {rollout_id} of {model} was created with another plan; take a new id")
        before = self._route(model).rollout
        ended = None
        if before is not None and before.active:
            ended = msgspec.structs.replace(before, phase="SUPERSEDED", reason=f"by {rollout_id}")
        probe, now = secrets.token_urlsafe(18), self._now()

        def move(route: Route) -> Route:
            return moves.create(route, rollout_id, plan, now, probe, supersede)

        answer = await self._change(request, move, key=key, expect=expect, ended=ended)
        self._counts.forget(
            {(name, route.rollout.rollout_id) for name, route in self._releases.table.routes.items() if route.rollout}
        )
        return answer

    async def prepare(self, model: str, rollout_id: str, served: Served, *, expect: int, key: str) -> Answer:
        """Load the candidate in every worker, in processes of its own, and try it; it gets no traffic yet.

        One that is refused ends the rollout as FAILED, with every reason.
        """
        request = {"prepare": model, "rollout_id": rollout_id, "served": msgspec.to_builtins(served)}
        if (stored := self._stored(key, request, expect)) is not None:
            return stored
        now = self._now()
        moves.prepared(self._route(model), rollout_id, served, now)
        try:
            await self._releases.load(model, served, moves.current(self._route(model), rollout_id).plan)
        except Refused as error:
            await self._fail(model, rollout_id, error, expect)
            raise
        return await self._change(
            request, lambda route: moves.prepared(route, rollout_id, served, now), key=key, expect=expect
        )

    async def _fail(self, model: str, rollout_id: str, error: Refused, expect: int) -> None:
        """Nothing if somebody else decided otherwise while it was tried."""
        reason = "; ".join([error.subject, *error.reasons])
        request = {"fail": model, "rollout_id": rollout_id, "reason": reason}
        key = f"{rollout_id}/{uuid.uuid4()}"
        with contextlib.suppress(GenerationMismatch, Refused):
            await self._change(request, lambda route: moves.failed(route, rollout_id, reason), key=key, expect=expect)
            log.warning("rollout %s of %s has failed: %s", rollout_id, model, reason)

    async def traffic(self, model: str, rollout_id: str, split: dict[str, int], *, expect: int, key: str) -> Answer:
        """The next step: ``split`` maps versions to basis points, 10,000 in all."""
        request = {"traffic": model, "rollout_id": rollout_id, "split": split}
        now = self._now()
        return await self._change(
            request, lambda route: moves.shifted(route, rollout_id, split, now), key=key, expect=expect
        )

    async def mirror(
        self, model: str, rollout_id: str, version: str | None, basis_points: int, *, expect: int, key: str
    ) -> Answer:
        """Copy this share of the champion's requests to the candidate, or (version None) stop that."""
        request = {"mirror": model, "rollout_id": rollout_id, "version": version, "basis_points": basis_points}
        mirror = None if version is None else Mirror(version, basis_points)
        now = self._now()
        return await self._change(
            request, lambda route: moves.mirrored(route, rollout_id, mirror, now), key=key, expect=expect
        )

    async def lease(self, model: str, rollout_id: str, seconds: float, *, expect: int, key: str) -> Answer:
        """The lease counts from now; the generation stays, since nothing changes for any request."""
        request = {"lease": model, "rollout_id": rollout_id, "seconds": seconds}
        now = self._now()
        return await self._change(
            request,
            lambda route: moves.renewed(route, rollout_id, seconds, now),
            key=key,
            expect=expect,
            generation=False,
        )

    async def pause(self, model: str, rollout_id: str, reason: str, *, expect: int, key: str) -> Answer:
        """Nothing moves on; guard and lease go on."""
        request = {"pause": model, "rollout_id": rollout_id, "reason": reason}
        return await self._change(
            request, lambda route: moves.paused(route, rollout_id, reason), key=key, expect=expect
        )

    async def resume(self, model: str, rollout_id: str, *, expect: int, key: str) -> Answer:
        """Back to the step at which it was paused, with a new lease."""
        request = {"resume": model, "rollout_id": rollout_id}
        now = self._now()
        return await self._change(request, lambda route: moves.resumed(route, rollout_id, now), key=key, expect=expect)

    async def promote(self, model: str, rollout_id: str, version: str, *, expect: int, key: str) -> Answer:
        """The candidate becomes the champion in one switch; the former one is the version to put back."""
        request = {"promote": model, "rollout_id": rollout_id, "version": version}
        if (stored := self._stored(key, request, expect)) is not None:
            return stored
        candidate = moves.promoted(self._route(model), rollout_id, version).live
        await self._releases.load(model, candidate)
        return await self._change(
            request, lambda route: moves.promoted(route, rollout_id, version), key=key, expect=expect
        )

    async def retire(self, model: str, rollout_id: str, version: str | None, *, expect: int, key: str) -> Answer:
        """Finish a promotion; ``version``, if named, can no longer be put back."""
        request = {"retire": model, "rollout_id": rollout_id, "version": version}
        return await self._change(
            request, lambda route: moves.retired(route, rollout_id, version), key=key, expect=expect
        )

    async def rollback(self, model: str, rollout_id: str, reason: str, *, key: str) -> Answer:
        """All traffic back to the champion; it needs no generation and wins over everything."""
        await self._releases.rollback(model, key=key, reason=reason, rollout_id=rollout_id)
        return self.state(model)

    # ---- what the gateway decides by itself ----------------------------------------------------------------------

    async def give_up(self, model: str, record: RolloutRecord, reason: str) -> None:
        """Roll back without being asked; nothing if the rollout has ended meanwhile."""
        await self.rollback(model, record.rollout_id, reason, key=f"{record.rollout_id}/{uuid.uuid4()}")
        log.warning("rollout %s of %s is rolled back: %s", record.rollout_id, model, reason)

    async def hold(self, model: str, record: RolloutRecord, reason: str, *, stop_mirror: bool = False) -> None:
        """Pause; with ``stop_mirror`` no request is copied any more."""

        def move(route: Route) -> Route:
            after = moves.paused(route, record.rollout_id, reason)
            return msgspec.structs.replace(after, mirror=None if stop_mirror else after.mirror)

        await self._decide(model, record, move, reason)

    async def unload(self, refused: list[Unloadable]) -> None:
        """Candidates that cannot be loaded lose their traffic to the champion; their rollouts are paused."""
        for model, sha256, reasons in refused:
            route = self._releases.table.routes.get(model)
            if route is None or route.candidate is None or route.candidate.sha256 != sha256 or route.rollout is None:
                continue
            if not route.rollout.active or (route.rollout.phase == "PAUSED" and not route.share() and not route.mirror):
                continue
            reason = f"version {route.candidate.version} cannot be loaded: {'; '.join(reasons)}"
            rollout_id, now = route.rollout.rollout_id, self._now()

            def move(latest: Route, rollout_id: str = rollout_id, why: str = reason, now: datetime = now) -> Route:
                return moves.unloaded(latest, rollout_id, why, now)

            await self._decide(model, route.rollout, move, reason)

    async def _decide(self, model: str, record: RolloutRecord, move: Move, reason: str) -> None:
        request = {"decide": model, "rollout_id": record.rollout_id, "reason": reason}
        log.warning("rollout %s of %s is paused: %s", record.rollout_id, model, reason)
        await self._change(request, move, key=f"{record.rollout_id}/{uuid.uuid4()}", expect=None, action="pause")

    # ---- one write -----------------------------------------------------------------------------------------------

    async def _change(
        self,
        request: Answer,
        move: Move,
        *,
        key: str,
        expect: int | None,
        action: str = "",
        generation: bool = True,
        ended: RolloutRecord | None = None,
    ) -> Answer:
        """One compare-and-swap write. The request begins with its action and its model."""
        if (stored := self._stored(key, request, expect)) is not None:
            return stored
        first, model = next(iter(request.items()))
        action = action or first
        after = move(self._route(model))
        answer = describe(model, after)
        table = self._state.change(
            model,
            after,
            key=key,
            request=request,
            action=action,
            at=self._now().isoformat(),
            expect=expect,
            answer=answer,
            generation=generation,
            ended=ended,
        )
        log.info("generation %s: %s of %s", table.generation, action, model)
        number = self._state.generation(model)
        if generation:
            refused = await self._releases.become(table)
            if refused:
                await self.unload(refused)
        else:
            self._releases.table = table
        return self._with_workers(answer | {"generation": number})

    def _stored(self, key: str, request: Answer, expect: int | None) -> Answer | None:
        """The former answer to this request. ``GenerationMismatch`` if there is none and it names an old generation."""
        try:
            known = self._state.answered(key, request) is not None
        except KeyReused as error:
            raise Refused(str(error)) from error
        answer = self._state.stored(key) if known else None
        if answer is not None:
            return self._with_workers(answer)
        model = next(iter(request.values()))
        generation = self._state.generation(model)
        if expect is not None and expect != generation:
            raise GenerationMismatch(model, expect, generation)
        return None

    def _with_workers(self, answer: Answer) -> Answer:
        return answer | {"workers": self._releases.workers, "applied": self._releases.applied}

    def _route(self, model: str) -> Route:
        route = self._releases.table.routes.get(model)
        if route is None:
            raise Refused(f"{model} has no champion yet; release one first")
        return route


def describe(model: str, route: Route) -> Answer:
    """One row as people and programs read it."""
    record = route.rollout
    return {
        "model": model,
        "champion": msgspec.to_builtins(route.live),
        "previous": msgspec.to_builtins(route.previous),
        "candidate": msgspec.to_builtins(route.candidate),
        "split": route.split or {route.live.version: WHOLE},
        "mirror": msgspec.to_builtins(route.mirror),
        "rollout": None if record is None else msgspec.to_builtins(record),
    }
