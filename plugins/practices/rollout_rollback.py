"""Ends a deploy run: its candidate is rolled back unless it was promoted or is held for a person."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages.rollout import RolloutState
from pipelines.rules.rollout_rollback import CANDIDATE_REJECTED, judge_end
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.rollout import Rollout


class RolloutRollback(RolloutPractice):
    """The end of a staged deploy run: take the candidate's traffic away, unless it was promoted or waits for a person.

    A rollback by the target itself (guard, lease) is written down here, too. A candidate that failed is marked
    ``rolled_back`` in the registry, so that no later run takes it by itself. Returns the verdict.
    """

    stem = "rollout_rollback"
    ui_color = "#ea9999"

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open()
        if rollout.ticket.first or not rollout.spec.deployment.staged:
            return self.said("there was no rollout")
        state, failed = rollout.look(), failed_tasks(context)
        decision = judge_end(rollout.ticket, state, failed, recorded=recorded(rollout))
        self.log.info("%s: %s", decision.action, decision.reason)
        if decision.action == "roll_back":
            state = rollout.roll_back(decision.reason)
            write_down(rollout, state, "run", decision.reason)
        elif decision.action == "record":
            write_down(rollout, state, who_did(rollout), decision.reason)
        if decision.failed_with_traffic:
            rollout.ports.registry.set_tags(self.model, rollout.ticket.version, {"airworthy.status": "rolled_back"})
        return self.conclude(decision.verdict, rollout, context)


def failed_tasks(context: Any) -> list[str] | None:
    """Tasks of this run that failed, by name; None where that cannot be asked."""
    instance, run = context["ti"], context["dag_run"]
    ask = getattr(instance, "get_task_states", None)
    if ask is None:
        return None
    states = ask(dag_id=run.dag_id, run_ids=[run.run_id]).get(run.run_id, {})
    return sorted(task for task, state in states.items() if state == "failed" and task != instance.task_id)


def recorded(rollout: Rollout) -> bool:
    """Whether the ledger has the end of this rollout."""
    lines = rollout.ports.ledger.entries(model=rollout.ticket.model)
    ours = [line for line in lines if line.details.get("rollout_id") == rollout.ticket.rollout_id]
    return any(line.kind in ("rollback", "rollout_end") for line in ours)


def who_did(rollout: Rollout) -> str:
    """``analysis`` if a verdict of this run said so, else ``target``: its guard, its lease, or a person who asked."""
    said = any(line.details.get("outcome") == "fail" for line in rollout.lines("rollout"))
    return "analysis" if said else "target"


def write_down(rollout: Rollout, state: RolloutState, by: str, why: str) -> None:
    """One line about one rollback, whoever did it; ``rollout_end`` where nothing was wrong with the candidate."""
    ports, ticket = rollout.ports, rollout.ticket
    details = {"from": ticket.version, "to": state.champion, "reason": why, "by": by, "generation": state.generation}
    details |= rollout.named
    key = f"{ticket.rollout_id}/rollback"
    kind = "rollout_end" if why == CANDIDATE_REJECTED else "rollback"
    ports.ledger.append(kind, ticket.model, state.champion, details, actor=ports.settings.actor, key=key)
