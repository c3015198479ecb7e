"""Observes a stage until it is decided: passed, rolled back at once, or held for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from pipelines.messages.rollout import RolloutState
from pipelines.rules.rollout_analysis import judge_stage
from practices._rollouts.analysis import observe_stage, summary
from practices._rollouts.operator import log
from practices._rollouts.rollout import Rollout
from practices._rollouts.stage_operator import StagePractice


class RolloutAnalysis(StagePractice):
    """Observe a stage until it is decided, deferred between two observations, with the lease kept alive.

    PASS after the bake time lets the next task begin. FAIL rolls back first and then fails. What is not decided in time
    is held: the traffic stays for a day, and the task fails and asks a person. ``share``: basis points the candidate
    must have.
    """

    template_fields: Sequence[str] = ("model", "ticket", "share")
    stem = "rollout_analysis"
    ui_color = "#f9cb9c"

    def __init__(self, *, model: str, ticket: Any, share: int | None = None, **arguments: Any) -> None:
        super().__init__(model=model, ticket=ticket, **arguments)
        self.share = share

    def look_again(self, context: Context, event: dict[str, Any], errors: int = 0) -> dict[str, Any]:
        """The name of ``resume`` in tasks that were deferred before 0.2.0."""
        return self.resume(context, event, errors)

    def observe(self, context: Context, rollout: Rollout, state: RolloutState, errors: int) -> dict[str, Any]:
        if state.phase in ("FINALISING", "SUCCEEDED"):
            return self.pass_with_note(f"version {state.champion} is promoted already")
        observation = observe_stage(rollout, state, self.share, errors)
        decision = judge_stage(observation)
        log.info("%s", summary(decision))
        if decision.action == "look_again":
            declared = rollout.spec.deployment
            rollout.renew_lease(state, declared.lease)
            pause, blind = declared.analysis.interval, observation.consecutive_errors
            self.defer_for(rollout, state.generation, pause, blind, lease=declared.lease)
        details = {
            "share": rollout.candidate_share(state),
            "step": state.step,
            **self.apply_decision(decision, rollout, state),
        }
        return self.record(decision.verdict, rollout, context, **details)
