"""Rolls back a model's rollout, or else restores its previous version: traffic first, then ledger and aliases."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.errors import Refused
from pipelines.messages.rollout import RolloutState
from pipelines.ports import DeploymentTarget, Ports
from pipelines.rollout.rollback_plan import PlannedRollback, rollback_reason
from pipelines.rules.release_rollback import earlier_rollback, judge_rollback, plan_rollback
from pipelines.verdict import Verdict
from practices._connections import installation
from practices._operators import run_context
from practices._operators.defaults import asset
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict
from practices._rollouts.aliases import move_aliases


class ReleaseRollback(ModelPractice):
    """Roll back an active rollout; without one restore the version before the live one.

    Needs nothing but the target until the traffic has moved. ``version``: roll back only this version (empty: the
    newest). ``Refused`` if there is no version to go back to. If the traffic was moved already (``airworthy rollback``,
    or a killed try), only ledger and aliases are updated. Returns the target's ``LiveState``.
    """

    template_fields = ("model", "reason", "version")
    ui_color = "#ea9999"

    def __init__(self, *, model: str, reason: str, version: str = "", **arguments: Any) -> None:
        super().__init__(model=model, **arguments)
        self.reason = reason
        self.version = version

    def execute(self, context: Context) -> dict[str, Any]:
        ports, key = installation.open_ports(), run_context.action_key(context)
        target = ports.target(self.model)
        before = target.rollout(self.model)
        verdict = judge_rollback(before, self.version or None)
        rollback = earlier_rollback(before, key)
        if rollback is None and verdict.passed:
            rollback = move_traffic_back(target, before, self.reason, key)
            self._record_verdict(verdict, before, ports, context)
        rollback = rollback or self._earlier_rollback(before, verdict, ports, context)
        state = target.state(self.model)
        details = {"from": rollback.takes, "to": state.version, "reason": self.reason, "generation": state.generation}
        details |= {"rollout_id": rollback.rollout_id, "run": key}
        actor = run_context.actor(context, ports.settings.actor)
        ports.ledger.append("rollback", self.model, state.version, details, actor=actor, key=key)
        move_aliases(ports.registry, state)
        context["outlet_events"][asset(self.model, "released")].extra = {"version": state.version, **details}
        return state.model_dump(mode="json", by_alias=True)

    def _earlier_rollback(
        self, state: RolloutState, verdict: Verdict, ports: Ports, context: Context
    ) -> PlannedRollback:
        """The rollback that was done before; ``Refused`` with the verdict if there was none.

        After a rollback the target has no previous version while the registry's alias still names the version that was
        rolled back, or the ledger has the rollback by this run.
        """
        lines = ports.ledger.entries(self.model, kind="rollback")
        for line in lines:
            if line.details.get("run") == run_context.action_key(context):
                return PlannedRollback(takes=line.details["from"], to=state.champion)
        former = ports.registry.by_alias(self.model, "champion")
        if former is None or former.version == state.champion or state.previous is not None:
            self._record_verdict(verdict, state, ports, context)
            raise Refused(f"no version of {self.model} was rolled back")
        return PlannedRollback(takes=former.version, to=state.champion)

    def _record_verdict(self, verdict: Verdict, state: RolloutState, ports: Ports, context: Context) -> None:
        record_verdict(
            verdict,
            subject=f"the rollback of {self.model} from version {verdict.facts.get('takes') or state.champion}",
            ledger_kind="gate",
            model=self.model,
            version=state.champion,
            ports=ports,
            context=context,
            details={"gate": "release_rollback", "reason": self.reason},
        )


def move_traffic_back(target: DeploymentTarget, before: RolloutState, reason: str, key: str) -> PlannedRollback:
    """Move the traffic. ``Refused`` if an earlier try of this run moved it and it was moved again since."""
    rollback = plan_rollback(before)
    assert rollback is not None, "the rule passed"
    if rollback.rollout_id is not None:
        signed_reason, rollback_key = rollback_reason(reason, rollback.takes, key), f"{key}/{rollback.rollout_id}"
        ended = target.roll_back(before.model, rollback.rollout_id, signed_reason, key=rollback_key)
        if ended.phase != "ROLLED_BACK":
            reasons = ["trigger the DAG again"]
            raise Refused(
                f"rollout {rollback.rollout_id} of {before.model} is now {ended.phase} and was not rolled back", reasons
            )
        return rollback
    target.restore_previous(before.model, key=key, reason=reason)
    if target.state(before.model).version == rollback.takes:
        reason = "it was released after an earlier try of this run moved traffic; trigger the DAG again to roll it back"
        raise Refused(f"version {rollback.takes} of {before.model} is live again", [reason])
    return rollback
