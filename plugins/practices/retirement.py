"""Finishes a rollout once the promoted version has been live for the declared window."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Context

from pipelines.rules.retirement import judge_retirement
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.trigger import RolloutWatch


class Retirement(RolloutPractice):
    """Defer for ``deployment.rollback.window`` after the promotion, then finish the rollout.

    The former version is kept, so that a later rollback can restore it. Fails with the recorded reason if the
    promotion was rolled back meanwhile. Returns the verdict.
    """

    stem = "retirement"
    ui_color = "#d9d9d9"

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open_rollout()
        if rollout.ticket.first or not rollout.spec.deployment.is_staged:
            return self.trivial_pass("there was no rollout: nothing to retire")
        if (state := rollout.read_state()).rollout_id != rollout.ticket.rollout_id:
            rollout.running_state()
        released, now = rollout.ledger_lines("release"), rollout.ports.clock()
        promoted, window = released[0].at if released else None, rollout.spec.deployment.rollback.window
        decision = judge_retirement(rollout.ticket, state, promoted=promoted, now=now, window=window)
        if decision.action == "wait":
            due = (now + timedelta(seconds=decision.left)).isoformat()
            watch = RolloutWatch(self.model, rollout.ticket.rollout_id, state.generation, due)
            self.defer(trigger=watch, method_name="look_again")
        verdict = self.record(decision.verdict, rollout, context)
        rollout.retire()
        return verdict

    def look_again(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Called (a stored name) when the window is over or the state at the target has changed."""
        return self.execute(context)
