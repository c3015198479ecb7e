"""A fake ``DeploymentTarget`` in memory that uses the real transitions and a fixed clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from pipelines.errors import Conflict, Refused, Unavailable
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import ArmCounts, RolloutState
from pipelines.ports import Clock
from pipelines.rollout import transitions
from pipelines.rollout.plan import parse_plan
from pipelines.rollout.state import make_live_state, make_rollout_state
from pipelines.rollout.transitions import FULL_SHARE, Mirror, Route, Served
from pipelines.testing.fixed_clock import FixedClock

Role = Literal["champion", "candidate", "control", "variant", "shadow"]


class FakeTarget:
    """A ``DeploymentTarget`` with version ``champion`` live (None: no version is). While ``down`` it does not answer.

    ``counts`` returns ``arms``, and ``add_counts`` adds to them; ``calls`` lists all calls, oldest first:
    ``("set_traffic", "r1", {...})``.
    """

    def __init__(self, champion: str | None = "1", *, clock: Clock | None = None) -> None:
        self.down = False
        self.refusal_reasons: list[str] = []
        """Reasons to refuse the next candidate, so that its rollout is FAILED; empty: it is accepted."""
        self.arms: list[ArmCounts] = []
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.unreleased: dict[str, Served] = {}
        """First versions under test, by model."""
        self._clock = clock or FixedClock()
        self._routes: dict[str, Route] = {}
        self._champion = Served(champion, f"bundles/{champion}", "0" * 64) if champion else None
        self._generation = 1 if champion else 0
        self._live_answers: dict[str, LiveState] = {}
        self._answers: dict[str, tuple[Any, RolloutState]] = {}
        self._known: set[tuple[str, str]] = set()

    def rollout(self, model: str) -> RolloutState:
        self._check_available()
        route = self._route(model)
        split = route.split or {route.live.version: FULL_SHARE}
        return make_rollout_state(model, route, split, generation=self._generation, workers=1)

    def add_counts(self, model: str, version: str, role: Role, **counts: Any) -> None:
        """Add these counts of ``version`` to the current stage."""
        record = self._route(model).rollout
        assert record is not None, f"{model} has no rollout"
        step = record.steps[-1]
        known = {"step": step.number, "share": step.share, "step_started": step.started}
        self.arms.append(ArmCounts(version=version, role=role, **known, **counts))

    def expire_lease(self, model: str) -> None:
        """Let the lease expire: the target rolls the rollout back by itself."""
        self._routes[model] = transitions.roll_back(self._route(model), "its lease ended")
        self._generation += 1

    def create_rollout(
        self, model: str, rollout_id: str, plan: Mapping[str, Any], *, expect: int, key: str
    ) -> RolloutState:
        new_plan, now = parse_plan(plan), self._clock()
        rollout = self._route(model).rollout
        if rollout is not None and rollout.rollout_id == rollout_id and rollout.plan == new_plan:
            return self.rollout(model)
        supersede = bool(plan.get("supersede"))
        begin = partial(
            transitions.create, rollout_id=rollout_id, plan=new_plan, now=now, probe="probe", supersede=supersede
        )
        return self._change_rollout("create_rollout", model, rollout_id, dict(plan), begin, expect, key)

    def prepare(
        self, model: str, rollout_id: str, version: str, bundle: str, sha256: str, *, expect: int, key: str
    ) -> RolloutState:
        served, now = Served(version, bundle, sha256), self._clock()
        body = {"version": version, "bundle": bundle, "sha256": sha256}
        if self.refusal_reasons and key not in self._answers:
            subject, reasons = f"bundle {bundle} of {model} version {version} is refused", self.refusal_reasons
            why = "; ".join([subject, *reasons])
            transitions.prepare_candidate(self._route(model), rollout_id, served, now)
            fail = partial(transitions.fail_preparation, rollout_id=rollout_id, reason=why)
            self._change_rollout("prepare", model, rollout_id, body, fail, expect, f"{key}/no")
            raise Refused(subject, reasons)
        load = partial(transitions.prepare_candidate, rollout_id=rollout_id, served=served, now=now)
        return self._change_rollout("prepare", model, rollout_id, body, load, expect, key)

    def set_traffic(
        self, model: str, rollout_id: str, split: Mapping[str, int], *, expect: int, key: str
    ) -> RolloutState:
        shift = partial(transitions.shift_traffic, rollout_id=rollout_id, split=split, now=self._clock())
        return self._change_rollout("set_traffic", model, rollout_id, dict(split), shift, expect, key)

    def set_mirror(
        self, model: str, rollout_id: str, version: str | None, basis_points: int, *, expect: int, key: str
    ) -> RolloutState:
        mirror = None if version is None else Mirror(version, basis_points)
        body = {"version": version, "basis_points": basis_points}
        copy = partial(transitions.set_mirror, rollout_id=rollout_id, mirror=mirror, now=self._clock())
        return self._change_rollout("set_mirror", model, rollout_id, body, copy, expect, key)

    def renew_lease(self, model: str, rollout_id: str, seconds: float, *, expect: int, key: str) -> RolloutState:
        renew = partial(transitions.renew_lease, rollout_id=rollout_id, seconds=seconds, now=self._clock())
        return self._change_rollout("renew_lease", model, rollout_id, {"seconds": seconds}, renew, expect, key, 0)

    def pause(self, model: str, rollout_id: str, reason: str, *, expect: int, key: str) -> RolloutState:
        pause = partial(transitions.pause, rollout_id=rollout_id, reason=reason)
        return self._change_rollout("pause", model, rollout_id, {"reason": reason}, pause, expect, key)

    def resume(self, model: str, rollout_id: str, *, expect: int, key: str) -> RolloutState:
        now = self._clock()
        return self._change_rollout(
            "resume", model, rollout_id, {}, lambda r: transitions.resume(r, rollout_id, now), expect, key
        )

    def promote(self, model: str, rollout_id: str, version: str, *, expect: int, key: str) -> RolloutState:
        switch = partial(transitions.promote, rollout_id=rollout_id, version=version, now=self._clock())
        return self._change_rollout("promote", model, rollout_id, {"version": version}, switch, expect, key)

    def retire(self, model: str, rollout_id: str, version: str | None, *, expect: int, key: str) -> RolloutState:
        finish = partial(transitions.finish_promotion, rollout_id=rollout_id, version=version)
        return self._change_rollout("retire", model, rollout_id, {"version": version}, finish, expect, key)

    def roll_back(self, model: str, rollout_id: str, reason: str, *, key: str) -> RolloutState:
        rollout = self._route(model).rollout
        if rollout is None or (model, rollout_id) not in self._known:
            raise Refused(f"{model} never had a rollout {rollout_id}")
        if rollout.rollout_id != rollout_id:
            return self.rollout(model)

        back = partial(transitions.roll_back_if_possible, rollout_id=rollout_id, reason=reason)
        return self._change_rollout("roll_back", model, rollout_id, {"reason": reason}, back, None, key)

    def counts(self, model: str, rollout_id: str) -> list[ArmCounts]:
        self._check_available()
        if self._route(model).rollout is None:
            raise Refused(f"{model} never had a rollout {rollout_id}")
        return list(self.arms)

    # ---- the live version -------------------------------------------------------------------------------------------

    def state(self, model: str) -> LiveState:
        self._check_available()
        route = self._current_route(model)
        return (
            make_live_state(model, route, generation=self._generation, workers=1) if route else LiveState(model=model)
        )

    def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> LiveState:
        body, served = {"version": version, "bundle": bundle, "key": key}, Served(version, bundle, sha256)
        return self._switch("release", model, body, key, lambda route: transitions.release(model, route, served))

    def restore_previous(self, model: str, *, key: str, reason: str) -> LiveState:
        body = {"reason": reason, "key": key}
        return self._switch("rollback", model, body, key, lambda route: transitions.restore(model, route, reason))

    def load_unreleased(self, model: str, version: str, bundle: str, sha256: str, *, seconds: float) -> str:
        self._check_available()
        if (route := self._current_route(model)) is not None:
            raise Refused(f"version {route.live.version} of {model} is live; begin a rollout to test another one")
        self.calls.append(("load_unreleased", "", {"version": version, "bundle": bundle, "seconds": seconds}))
        self.unreleased[model] = Served(version, bundle, sha256)
        return "probe"

    def unload_unreleased(self, model: str) -> None:
        self._check_available()
        self.unreleased.pop(model, None)

    def _switch(
        self, verb: str, model: str, body: dict[str, Any], key: str, transition: Callable[[Route | None], Route]
    ) -> LiveState:
        self._check_available()
        self.calls.append((verb, "", {"model": model, **body}))
        if key not in self._live_answers:
            self._routes[model] = transition(self._current_route(model))
            self._generation += 1
            self._live_answers[key] = self.state(model)
        return self._live_answers[key]

    # ---- one change -------------------------------------------------------------------------------------------------

    def _change_rollout(
        self,
        verb: str,
        model: str,
        rollout_id: str,
        body: dict[str, Any],
        transition: Callable[[Route], Route],
        expect: int | None,
        key: str,
        step: int = 1,
    ) -> RolloutState:
        self._check_available()
        self.calls.append((verb, rollout_id, body))
        request = (verb, rollout_id, body)
        if key in self._answers:
            first_request, answer = self._answers[key]
            if first_request != request:
                raise Refused(f"idempotency key {key!r} was used for {first_request}; take a new key")
            return answer
        if expect is not None and expect != self._generation:
            raise Conflict(f"{model} is at generation {self._generation}, not {expect}")
        before = self._route(model)
        self._routes[model] = transition(before)
        self._generation += step if self._routes[model] != before else 0
        state = self.rollout(model)
        self._answers[key] = request, state
        self._known.add((model, rollout_id))
        return state

    def _route(self, model: str) -> Route:
        return transitions.require_live(model, self._current_route(model))

    def _current_route(self, model: str) -> Route | None:
        return self._routes.get(model) or (Route(self._champion) if self._champion else None)

    def _check_available(self) -> None:
        if self.down:
            raise Unavailable("the endpoint does not answer")
