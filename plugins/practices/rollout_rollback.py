"""Ends a deploy run: rolls its candidate back unless it was promoted or is held for a person."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.ledger.run_verdicts import refusals
from pipelines.ledger.version_state import ROLLBACK_KINDS
from pipelines.messages.rollout import RolloutState
from pipelines.ports import LedgerEntry
from pipelines.rollout.next_steps import answering_text
from pipelines.rules.rollout_rollback import is_rejection, judge_rollout_end
from pipelines.versions.records import append_rollback, measured_traffic, update_registry
from practices._connections import installation
from practices._operators import run_context
from practices._operators.recorded_results import recorded_ticket
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.rollout import Rollout


class RolloutRollback(RolloutPractice):
    """End a staged deploy run: roll the candidate back unless it was promoted or is held for a person.

    The ledger says which rollout it was, so that an edited XCom keeps no candidate. A rollback by the target itself
    (guard, lease) is recorded here, too, also one after the promotion. A candidate that was taken back from callers is
    ``rolled_back`` then, and no later run deploys it unless its version is given; one that no caller met is
    ``failed_before_traffic``. Returns the verdict.
    """

    stem = "rollout_rollback"
    ui_color = "#ea9999"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        rollout = Rollout(ports, recorded_ticket(self.model, ports, context))
        if rollout.ticket.first:
            rollout.target.unload_unreleased(self.model)  # its load test may have been killed
        if (passed := self.pass_without_rollout(rollout.ticket)) is not None:
            return passed
        state, failed = rollout.read_state(), failed_tasks(context)
        line = recorded_end(rollout, state)
        decision = judge_rollout_end(
            rollout.ticket,
            state,
            failed,
            recorded=line is not None,
            reasons=refusals(ports.ledger.entries(self.model), run_context.run_key(context)),
        )
        if decision.action == "roll_back":
            state, traffic = rollout.roll_back(decision.reason), rollout.share(state)
            line = record_rollback(rollout, state, "run", decision.reason, traffic)
        elif decision.action == "record":
            line = record_targets_end(rollout, state, decision.reason)
        if line is not None:
            update_registry(rollout.ports, line, rollout.target.state(self.model))
        self.log.info("%s: %s; %s", decision.action, decision.reason, answering_text(state))
        return self.record(decision.verdict, rollout, context)


def failed_tasks(context: Any) -> list[str] | None:
    """Ids of this run's failed tasks; None if the task instance cannot query them."""
    ti, run = context["ti"], context["dag_run"]
    get_task_states = getattr(ti, "get_task_states", None)
    if get_task_states is None:
        return None
    states = get_task_states(dag_id=run.dag_id, run_ids=[run.run_id]).get(run.run_id, {})
    return sorted(task for task, state in states.items() if state == "failed" and task != ti.task_id)


def recorded_end(rollout: Rollout, state: RolloutState) -> LedgerEntry | None:
    """The line about the end of this rollout: its rollback, or its promotion if a newer rollout came after it."""
    ticket, released = rollout.ticket, rollout.ledger_lines("release")
    ends = [
        line
        for line in rollout.ports.ledger.entries(model=ticket.model)
        if line.kind in ROLLBACK_KINDS
        and (
            line.details.get("rollout_id") == ticket.rollout_id
            or (released and line.number > released[-1].number and line.details.get("from") == ticket.version)
        )
    ]
    if not ends and state.rollout_id != ticket.rollout_id:
        ends = released
    return ends[-1] if ends else None


def met_callers(rollout: Rollout, state: RolloutState) -> int | None:
    """Basis points at which callers met a version that the target has taken back."""
    if state.phase == "FAILED":
        return 0
    return measured_traffic(rollout.target, *rollout.model_and_id, rollout.ticket.version)


def record_targets_end(rollout: Rollout, state: RolloutState, reason: str) -> LedgerEntry:
    """Write the line about an end that the run did not make."""
    return record_rollback(rollout, state, rollback_initiator(rollout), reason, met_callers(rollout, state))


def rollback_initiator(rollout: Rollout) -> str:
    """``analysis`` if a verdict of this rollout is FAIL, else ``target``: its guard, its lease, or a person."""
    by_analysis = any(line.details.get("outcome") == "fail" for line in rollout.ledger_lines("rollout"))
    return "analysis" if by_analysis else "target"


def record_rollback(rollout: Rollout, state: RolloutState, by: str, reason: str, traffic: int | None) -> LedgerEntry:
    """Write one line about the rollback; kind ``rollout_end`` if nothing spoke against the candidate."""
    ports, ticket = rollout.ports, rollout.ticket
    harmless = is_rejection(reason) or state.rollout_id != ticket.rollout_id
    return append_rollback(
        ports,
        ticket.model,
        taken_back=ticket.version,
        put_back=state.champion,
        reason=reason,
        traffic=traffic,
        actor=ports.settings.actor,
        key=f"{ticket.rollout_id}/rollback",
        kind="rollout_end" if harmless else "rollback",
        by=by,
        generation=state.generation,
        **rollout.ledger_ids,
    )
