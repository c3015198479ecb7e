"""Ends a deploy run: rolls its candidate back unless it was promoted or is held for a person."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages.rollout import RolloutState
from pipelines.rules.rollout_rollback import CANDIDATE_REJECTED, judge_rollout_end
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.rollout import Rollout


class RolloutRollback(RolloutPractice):
    """End a staged deploy run: roll the candidate back unless it was promoted or is held for a person.

    A rollback by the target itself (guard, lease) is recorded here, too. A candidate that failed with traffic is marked
    ``rolled_back`` in the registry, so that no later run deploys it unless its version is given. Returns the verdict.
    """

    stem = "rollout_rollback"
    ui_color = "#ea9999"

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open_rollout()
        if rollout.ticket.first or not rollout.spec.deployment.is_staged:
            return self.trivial_pass("there was no rollout")
        state, failed = rollout.read_state(), failed_tasks(context)
        decision = judge_rollout_end(rollout.ticket, state, failed, recorded=is_end_recorded(rollout))
        self.log.info("%s: %s", decision.action, decision.reason)
        if decision.action == "roll_back":
            state = rollout.roll_back(decision.reason)
            record_rollback(rollout, state, "run", decision.reason)
        elif decision.action == "record":
            record_rollback(rollout, state, rollback_initiator(rollout), decision.reason)
        if decision.failed_with_traffic:
            rollout.ports.registry.set_tags(self.model, rollout.ticket.version, {"airworthy.status": "rolled_back"})
        return self.record(decision.verdict, rollout, context)


def failed_tasks(context: Any) -> list[str] | None:
    """Ids of this run's failed tasks; None if the task instance cannot query them."""
    ti, run = context["ti"], context["dag_run"]
    get_task_states = getattr(ti, "get_task_states", None)
    if get_task_states is None:
        return None
    states = get_task_states(dag_id=run.dag_id, run_ids=[run.run_id]).get(run.run_id, {})
    return sorted(task for task, state in states.items() if state == "failed" and task != ti.task_id)


def is_end_recorded(rollout: Rollout) -> bool:
    """Whether the ledger has a rollback or end of this rollout."""
    lines = rollout.ports.ledger.entries(model=rollout.ticket.model)
    own_lines = [line for line in lines if line.details.get("rollout_id") == rollout.ticket.rollout_id]
    return any(line.kind in ("rollback", "rollout_end") for line in own_lines)


def rollback_initiator(rollout: Rollout) -> str:
    """``analysis`` if a verdict of this rollout is FAIL, else ``target``: its guard, its lease, or a person."""
    by_analysis = any(line.details.get("outcome") == "fail" for line in rollout.ledger_lines("rollout"))
    return "analysis" if by_analysis else "target"


def record_rollback(rollout: Rollout, state: RolloutState, actor: str, reason: str) -> None:
    """Write one line about the rollback; kind ``rollout_end`` if the candidate had not failed."""
    ports, ticket = rollout.ports, rollout.ticket
    details: dict[str, Any] = {"from": ticket.version, "to": state.champion, "reason": reason, "by": actor}
    details |= {"generation": state.generation, **rollout.ledger_ids}
    key = f"{ticket.rollout_id}/rollback"
    kind = "rollout_end" if reason == CANDIDATE_REJECTED else "rollback"
    ports.ledger.append(kind, ticket.model, state.champion, details, actor=ports.settings.actor, key=key)
