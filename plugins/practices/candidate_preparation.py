"""Begins a rollout: the target loads the candidate beside the champion and tests it; it gets no traffic yet."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.errors import Refused
from pipelines.messages.rollout import RolloutState
from pipelines.rollout.from_spec import plan_faults, target_plan
from pipelines.rules.candidate_preparation import judge_preparation
from practices._rollouts.next_steps import named_next_steps
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.rollout import Rollout


class CandidatePreparation(RolloutPractice):
    """Begin the rollout of the ticket and load its version with 0 % of the traffic.

    ``Refused`` for a plan that cannot be executed or decided, a champion that changed since the run began, and an
    active rollout of a newer version; an older rollout is superseded. Idempotent. Returns the verdict.
    """

    stem = "candidate_preparation"
    ui_color = "#cfe2f3"

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open_rollout(context)
        if (passed := self.pass_without_rollout(rollout.ticket)) is not None:
            return passed
        state = rollout.read_state()
        if state.rollout_id == rollout.ticket.rollout_id and rollout.running_state().phase != "PENDING":
            return self.trivial_pass(f"version {rollout.ticket.version} is prepared already", phase=state.phase)
        decision = judge_preparation(rollout.ticket, state, plan_faults(rollout.spec))
        verdict = self.record(decision.verdict, rollout, context)
        if state.rollout_id != rollout.ticket.rollout_id:
            rollout.create(state, target_plan(rollout.spec, supersede=decision.action == "supersede"))
        with named_next_steps(rollout):
            prepared = load_candidate(rollout)
        rollout.renew_idle_lease(prepared)
        return verdict


def load_candidate(rollout: Rollout) -> RolloutState:
    """Load the candidate; if the target refuses it, roll the rollout back."""
    try:
        return rollout.prepare()
    except Refused as error:
        reason = "; ".join(error.reasons) or error
        rollout.roll_back(f"version {rollout.ticket.version} could not be prepared: {reason}")
        raise
