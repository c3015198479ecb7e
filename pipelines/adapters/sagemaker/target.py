"""The ``DeploymentTarget`` port over SageMaker; what AWS cannot do is ``Refused``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from pipelines.adapters.sagemaker.changes import EndpointChanges, Move, variant_name
from pipelines.adapters.sagemaker.counts import measure
from pipelines.errors import Refused
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import ArmCounts, RolloutState
from pipelines.rollout import transitions as moves
from pipelines.rollout.plan import plan_of
from pipelines.rollout.state import live_state_of
from pipelines.rollout.transitions import Route, Served


class SageMakerTarget:
    """``DeploymentTarget`` of one model on one endpoint; how a change is made is told in ``EndpointChanges``.

    Calls that need instances wait for them, some minutes each. A call that is cut off goes on where it was when it is
    repeated with the same key.
    """

    def __init__(self, changes: EndpointChanges) -> None:
        self._changes, self._model, self._now = changes, changes.model, changes.now

    # ---- the rollout ------------------------------------------------------------------------------------------------

    def rollout(self, model: str) -> RolloutState:
        self._check(model)
        return self._changes.told(*self._changes.observe())

    def create_rollout(
        self, model: str, rollout_id: str, plan: Mapping[str, Any], *, expect: int, key: str
    ) -> RolloutState:
        self._check(model)
        supersede, now = bool(plan.get("supersede")), self._now()
        new_plan = plan_of(plan)
        known = self._record(rollout_id)
        if known is not None and known.plan == new_plan:
            return self.rollout(model)
        if known is not None:
            raise Refused(f"rollout {rollout_id} of {model} was created with another plan; take a new id")
        request = {"create": rollout_id, "plan": msgspec.to_builtins(new_plan)}

        begin = partial(moves.create, rollout_id=rollout_id, plan=new_plan, now=now, probe="", supersede=supersede)
        return self._step("create", model, request, begin, expect, key)

    def prepare(
        self, model: str, rollout_id: str, version: str, bundle: str, sha256: str, *, expect: int, key: str
    ) -> RolloutState:
        """Instances come up beside the champion's, with weight 0. Mode ``guardrail``: SageMaker's model is made."""
        served = Served(version, bundle, sha256)
        request = {"prepare": rollout_id, "served": msgspec.to_builtins(served)}
        change = partial(moves.prepared, rollout_id=rollout_id, served=served, now=self._now())
        return self._step("prepare", model, request, change, expect, key)

    def set_traffic(
        self, model: str, rollout_id: str, split: Mapping[str, int], *, expect: int, key: str
    ) -> RolloutState:
        if self._changes.guarded:
            raise Refused(
                f"{model} is deployed in mode guardrail: SageMaker shifts the traffic by itself",
                ["promote the candidate, or say mode: variants to shift it step by step"],
            )
        request = {"traffic": rollout_id, "split": dict(split)}
        change = partial(moves.shifted, rollout_id=rollout_id, split=split, now=self._now())
        return self._step("traffic", model, request, change, expect, key)

    def set_mirror(
        self,
        model: str,
        rollout_id: str,
        version: str | None,  # noqa: ARG002 - the port's
        basis_points: int,  # noqa: ARG002 - the port's
        *,
        expect: int,  # noqa: ARG002 - the port's
        key: str,  # noqa: ARG002 - the port's
    ) -> RolloutState:
        raise Refused(
            f"rollout {rollout_id} of {model} gets no mirror: nobody compares what SageMaker's shadow variants answer",
            ["take another target for a shadow, or leave the shadow out"],
        )

    def renew_lease(self, model: str, rollout_id: str, seconds: float, *, expect: int, key: str) -> RolloutState:  # noqa: ARG002
        """Again is the same as once, so no key is kept."""
        self._check(model)
        now = self._now()
        return self._changes.renew(lambda route: moves.renewed(route, rollout_id, seconds, now), expect)

    def pause(self, model: str, rollout_id: str, reason: str, *, expect: int, key: str) -> RolloutState:
        request = {"pause": rollout_id, "reason": reason}
        return self._step("pause", model, request, lambda route: moves.paused(route, rollout_id, reason), expect, key)

    def resume(self, model: str, rollout_id: str, *, expect: int, key: str) -> RolloutState:
        request, now = {"resume": rollout_id}, self._now()
        return self._step("resume", model, request, lambda route: moves.resumed(route, rollout_id, now), expect, key)

    def promote(self, model: str, rollout_id: str, version: str, *, expect: int, key: str) -> RolloutState:
        """All weight to the candidate. Mode ``guardrail``: SageMaker shifts and watches its alarms, for hours."""
        request = {"promote": rollout_id, "version": version}
        change = partial(moves.promoted, rollout_id=rollout_id, version=version)
        return self._step("promote", model, request, change, expect, key)

    def retire(self, model: str, rollout_id: str, version: str | None, *, expect: int, key: str) -> RolloutState:
        """Instances of a retired version are stopped; nobody waits for that."""
        request = {"retire": rollout_id, "version": version}
        change = partial(moves.retired, rollout_id=rollout_id, version=version)
        return self._step("retire", model, request, change, expect, key)

    def roll_back(self, model: str, rollout_id: str, reason: str, *, key: str) -> RolloutState:
        """Weights first. What is pending is overruled; what has ended stays so, and its traffic is put right."""
        self._check(model)
        if self._record(rollout_id) is None:
            raise Refused(f"{model} never had a rollout {rollout_id}")

        move = partial(moves.given_up, rollout_id=rollout_id, reason=reason)
        return self._step("roll_back", model, {"roll_back": rollout_id, "reason": reason}, move, None, key)

    def counts(self, model: str, rollout_id: str) -> list[ArmCounts]:
        """Empty in mode ``guardrail``: CloudWatch does not tell the old instances of a variant from the new ones."""
        self._check(model)
        row, record = self._changes.read(), self._record(rollout_id)
        if record is None:
            raise Refused(f"{model} never had a rollout {rollout_id}")
        if self._changes.guarded:
            return []
        name, now = self._changes.endpoint.name, self._now()
        return measure(self._changes.cloudwatch, name, record, variant_name, row.ended or now, now)

    # ---- the live version -------------------------------------------------------------------------------------------

    def state(self, model: str) -> LiveState:
        self._check(model)
        row, seen = self._changes.observe()
        if row.route is None:
            return LiveState(model=model, applied=row.intent is None)
        now = self._changes.told(row, seen)
        return live_state_of(model, row.route, generation=row.generation, workers=now.workers, applied=now.applied)

    def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> LiveState:
        """In one switch; the former version is known, but its instances are stopped."""
        self._check(model)
        served = Served(version, bundle, sha256)
        request = {"release": msgspec.to_builtins(served)}
        self._changes.make("release", request, lambda route: moves.released(model, route, served), None, key)
        return self.state(model)

    def rollback(self, model: str, *, key: str, reason: str) -> LiveState:
        self._check(model)
        request = {"rollback": model, "reason": reason}
        self._changes.make("rollback", request, lambda route: moves.put_back(model, route, reason), None, key)
        return self.state(model)

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _step(
        self,
        action: str,
        model: str,
        request: Mapping[str, Any],
        move: Callable[[Route], Route],
        expect: int | None,
        key: str,
    ) -> RolloutState:
        self._check(model)
        whole: Move = lambda route: move(moves.live(model, route))  # noqa: E731 - it only adds the check
        return RolloutState.model_validate(self._changes.make(action, request, whole, expect, key))

    def _record(self, rollout_id: str) -> moves.RolloutRecord | None:
        row = self._changes.read()
        newest = row.route.rollout if row.route else None
        return newest if newest and newest.rollout_id == rollout_id else row.superseded.get(rollout_id)

    def _check(self, model: str) -> None:
        if model != self._model:
            raise Refused(f"this target serves {self._model}, not {model}")
