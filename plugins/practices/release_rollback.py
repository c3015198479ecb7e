"""Ends a model's rollout, or else puts its previous version back: traffic first, then ledger and aliases."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.errors import Refused
from pipelines.messages.rollout import RolloutState
from pipelines.ports import DeploymentTarget, Ports
from pipelines.rules.release_rollback import RollbackTarget, full_reason, judge_rollback, own_rollback, rollback_target
from pipelines.verdict import Verdict
from practices._connections import installation
from practices._operators import run_context
from practices._operators.defaults import asset
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import settle
from practices._rollouts.aliases import follow_traffic


class ReleaseRollback(ModelPractice):
    """The rollback of a model: a rollout that goes on ends; without one the version before the live one is put back.

    Nothing but the target is asked before traffic has moved. ``version``: take back this one or nothing (empty:
    whatever is newest). Refuses when there is nothing to go back to. Where traffic went back already
    (``airworthy rollback``, or a try that was killed), the records alone are brought up to date. Returns the target's
    ``LiveState``.
    """

    template_fields = ("model", "reason", "version")
    ui_color = "#ea9999"

    def __init__(self, *, model: str, reason: str, version: str = "", **arguments: Any) -> None:
        super().__init__(model=model, **arguments)
        self.reason = reason
        self.version = version

    def execute(self, context: Context) -> dict[str, Any]:
        ports, key = installation.open_ports(), run_context.act_key(context)
        target = ports.target(self.model)
        before = target.rollout(self.model)
        verdict = judge_rollback(before, self.version or None)
        way = own_rollback(before, key)
        if way is None and verdict.passed:
            way = take_back(target, before, self.reason, key)
            self._settle(verdict, before, ports, context)
        way = way or self._known_already(before, verdict, ports, context)
        state = target.state(self.model)
        details = {"from": way.takes, "to": state.version, "reason": self.reason, "generation": state.generation}
        details |= {"rollout_id": way.rollout_id, "run": key}
        who = run_context.actor(context, ports.settings.actor)
        ports.ledger.append("rollback", self.model, state.version, details, actor=who, key=key)
        follow_traffic(ports.registry, state)
        context["outlet_events"][asset(self.model, "released")].extra = {"version": state.version, **details}
        return state.model_dump(mode="json", by_alias=True)

    def _known_already(self, state: RolloutState, verdict: Verdict, ports: Ports, context: Context) -> RollbackTarget:
        """What was taken back before; ``Refused`` with the verdict if nothing was.

        After a rollback the target holds no previous version while the registry still names what was taken back, or
        the ledger says that this run did it.
        """
        lines = ports.ledger.entries(self.model, kind="rollback")
        for line in lines:
            if line.details.get("run") == run_context.act_key(context):
                return RollbackTarget(takes=line.details["from"], to=state.champion)
        former = ports.registry.by_alias(self.model, "champion")
        if former is None or former.version == state.champion or state.previous is not None:
            self._settle(verdict, state, ports, context)
            raise Refused(f"nothing of {self.model} was taken back")
        return RollbackTarget(takes=former.version, to=state.champion)

    def _settle(self, verdict: Verdict, state: RolloutState, ports: Ports, context: Context) -> None:
        settle(
            verdict,
            subject=f"the rollback of {self.model} from version {verdict.facts.get('takes') or state.champion}",
            ledger_kind="gate",
            model=self.model,
            version=state.champion,
            ports=ports,
            context=context,
            details={"gate": "release_rollback", "reason": self.reason},
        )


def take_back(target: DeploymentTarget, before: RolloutState, reason: str, key: str) -> RollbackTarget:
    """Move the traffic. ``Refused`` if an earlier try of this run did, and another version was released since."""
    way = rollback_target(before)
    assert way is not None, "the rule passed"
    if way.rollout_id is not None:
        said, named = full_reason(reason, way.takes, key), f"{key}/{way.rollout_id}"
        ended = target.roll_back(before.model, way.rollout_id, said, key=named)
        if ended.phase != "ROLLED_BACK":
            raise Refused(f"rollout {way.rollout_id} of {before.model} is {ended.phase} by now", ["run again"])
        return way
    target.rollback(before.model, key=key, reason=reason)
    if target.state(before.model).version == way.takes:
        why = "an earlier try of this run moved traffic, and it was released since; run again to take it back"
        raise Refused(f"version {way.takes} of {before.model} is live again", [why])
    return way
