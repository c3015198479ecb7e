"""The ``DeploymentTarget`` port over SageMaker; operations that AWS does not support are ``Refused``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from pipelines.adapters.sagemaker.changes import EndpointChanges, Transition, variant_name
from pipelines.adapters.sagemaker.counts import read_arm_counts
from pipelines.errors import Refused
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import ArmCounts, RolloutState
from pipelines.rollout import transitions
from pipelines.rollout.plan import parse_plan
from pipelines.rollout.state import make_live_state
from pipelines.rollout.transitions import Route, Served


class SageMakerTarget:
    """``DeploymentTarget`` of one model on one endpoint; ``EndpointChanges`` describes how a change is made.

    Calls that need instances wait for them, some minutes each. An interrupted call is resumed when it is repeated with
    the same key.
    """

    def __init__(self, changes: EndpointChanges) -> None:
        self._changes, self._model, self._now = changes, changes.model, changes.now

    # ---- the rollout ------------------------------------------------------------------------------------------------

    def rollout(self, model: str) -> RolloutState:
        self._check_model(model)
        return self._changes.state(*self._changes.observe())

    def create_rollout(
        self, model: str, rollout_id: str, plan: Mapping[str, Any], *, expect: int, key: str
    ) -> RolloutState:
        self._check_model(model)
        supersede, now = bool(plan.get("supersede")), self._now()
        new_plan = parse_plan(plan)
        known = self._find_rollout(rollout_id)
        if known is not None and known.plan == new_plan:
            return self.rollout(model)
        if known is not None:
            raise Refused(f"rollout {rollout_id} of {model} was created with another plan; take a new id")
        request = {"create": rollout_id, "plan": msgspec.to_builtins(new_plan)}

        edit = partial(transitions.create, rollout_id=rollout_id, plan=new_plan, now=now, probe="", supersede=supersede)
        return self._apply_change("create", model, request, edit, expect, key)

    def prepare(
        self, model: str, rollout_id: str, version: str, bundle: str, sha256: str, *, expect: int, key: str
    ) -> RolloutState:
        """Start the candidate's instances with weight 0. Mode ``guardrail``: only create SageMaker's model."""
        served = Served(version, bundle, sha256)
        request = {"prepare": rollout_id, "served": msgspec.to_builtins(served)}
        edit = partial(transitions.prepare_candidate, rollout_id=rollout_id, served=served, now=self._now())
        return self._apply_change("prepare", model, request, edit, expect, key)

    def set_traffic(
        self, model: str, rollout_id: str, split: Mapping[str, int], *, expect: int, key: str
    ) -> RolloutState:
        if self._changes.guarded:
            raise Refused(
                f"{model} is deployed in mode guardrail, in which SageMaker itself shifts the traffic",
                ["promote the candidate, or declare mode: variants to shift it stage by stage"],
            )
        request = {"traffic": rollout_id, "split": dict(split)}
        edit = partial(transitions.shift_traffic, rollout_id=rollout_id, split=split, now=self._now())
        return self._apply_change("traffic", model, request, edit, expect, key)

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
            f"rollout {rollout_id} of {model} cannot mirror: answers of SageMaker's shadow variants are not compared",
            ["use another target for a shadow, or remove the shadow"],
        )

    def renew_lease(self, model: str, rollout_id: str, seconds: float, *, expect: int, key: str) -> RolloutState:  # noqa: ARG002
        """Renewing twice has the effect of renewing once, so the key is not stored."""
        self._check_model(model)
        now = self._now()
        return self._changes.renew_lease(lambda route: transitions.renew_lease(route, rollout_id, seconds, now), expect)

    def pause(self, model: str, rollout_id: str, reason: str, *, expect: int, key: str) -> RolloutState:
        request = {"pause": rollout_id, "reason": reason}
        edit = partial(transitions.pause, rollout_id=rollout_id, reason=reason)
        return self._apply_change("pause", model, request, edit, expect, key)

    def resume(self, model: str, rollout_id: str, *, expect: int, key: str) -> RolloutState:
        edit = partial(transitions.resume, rollout_id=rollout_id, now=self._now())
        return self._apply_change("resume", model, {"resume": rollout_id}, edit, expect, key)

    def promote(self, model: str, rollout_id: str, version: str, *, expect: int, key: str) -> RolloutState:
        """Give the candidate all weight. Mode ``guardrail``: SageMaker shifts the traffic and watches its alarms."""
        request = {"promote": rollout_id, "version": version}
        edit = partial(transitions.promote, rollout_id=rollout_id, version=version, now=self._now())
        return self._apply_change("promote", model, request, edit, expect, key)

    def retire(self, model: str, rollout_id: str, version: str | None, *, expect: int, key: str) -> RolloutState:
        """Finish the promotion; instances of a retired version stop in the background."""
        request = {"retire": rollout_id, "version": version}
        edit = partial(transitions.finish_promotion, rollout_id=rollout_id, version=version)
        return self._apply_change("retire", model, request, edit, expect, key)

    def roll_back(self, model: str, rollout_id: str, reason: str, *, key: str) -> RolloutState:
        """Roll back, replacing a pending change; a rollout that has ended stays ended, with its traffic corrected."""
        self._check_model(model)
        if self._find_rollout(rollout_id) is None:
            raise Refused(f"{model} never had a rollout {rollout_id}")
        edit = partial(transitions.roll_back_if_possible, rollout_id=rollout_id, reason=reason)
        return self._apply_change("roll_back", model, {"roll_back": rollout_id, "reason": reason}, edit, None, key)

    def counts(self, model: str, rollout_id: str) -> list[ArmCounts]:
        """Empty in mode ``guardrail``: CloudWatch does not distinguish a variant's old instances from its new ones."""
        self._check_model(model)
        record, rollout = self._changes.read_record(), self._find_rollout(rollout_id)
        if rollout is None:
            raise Refused(f"{model} never had a rollout {rollout_id}")
        if self._changes.guarded:
            return []
        name, now = self._changes.endpoint.name, self._now()
        return read_arm_counts(self._changes.cloudwatch, name, rollout, variant_name, record.ended or now, now)

    # ---- the live version -------------------------------------------------------------------------------------------

    def state(self, model: str) -> LiveState:
        self._check_model(model)
        record, current = self._changes.observe()
        if (route := record.route) is None:
            return LiveState(model=model, applied=record.intent is None)
        state = self._changes.state(record, current)
        return make_live_state(model, route, generation=record.generation, workers=state.workers, applied=state.applied)

    def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> LiveState:
        """Switch all traffic at once; the former version stays recorded, but its instances stop."""
        self._check_model(model)
        served = Served(version, bundle, sha256)
        request = {"release": msgspec.to_builtins(served)}
        self._changes.change("release", request, lambda route: transitions.release(model, route, served), None, key)
        return self.state(model)

    def restore_previous(self, model: str, *, key: str, reason: str) -> LiveState:
        self._check_model(model)
        request = {"rollback": model, "reason": reason}
        self._changes.change("rollback", request, lambda route: transitions.restore(model, route, reason), None, key)
        return self.state(model)

    def load_unreleased(self, model: str, version: str, bundle: str, sha256: str, *, seconds: float) -> str:  # noqa: ARG002
        raise Refused(f"SageMaker cannot load version {version} of {model} without traffic; remove load_test")

    def unload_unreleased(self, model: str) -> None:
        """There is none."""

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _apply_change(
        self,
        action: str,
        model: str,
        request: Mapping[str, Any],
        edit: Callable[[Route], Route],
        expect: int | None,
        key: str,
    ) -> RolloutState:
        self._check_model(model)
        checked: Transition = lambda route: edit(transitions.require_live(model, route))  # noqa: E731 - it only adds the check
        return RolloutState.model_validate(self._changes.change(action, request, checked, expect, key))

    def _find_rollout(self, rollout_id: str) -> transitions.RolloutRecord | None:
        record = self._changes.read_record()
        newest = record.route.rollout if record.route else None
        return newest if newest and newest.rollout_id == rollout_id else record.superseded.get(rollout_id)

    def _check_model(self, model: str) -> None:
        if model != self._model:
            raise Refused(f"this target serves {self._model}, not {model}")
