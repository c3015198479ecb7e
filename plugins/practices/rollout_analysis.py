"""Observes a rollout's stage until it is decided: passed, rolled back, or held for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from pipelines.messages.rollout import RolloutState
from pipelines.rules.rollout_analysis import judge_stage
from practices._rollouts.analysis import observation_log_line, observe_stage
from practices._rollouts.operator import log
from practices._rollouts.rollout import Rollout
from practices._rollouts.stage_operator import StagePractice


class RolloutAnalysis(StagePractice):
    """Observe a stage until it is decided; defers between observations, with the lease renewed.

    PASS after the bake time lets the next task begin. FAIL rolls back, then fails the task. Without a decision in time
    the traffic is held for a day and the task fails, so that a person decides. ``share``: basis points that the
    candidate must have.
    """

    template_fields: Sequence[str] = ("model", "ticket", "share")
    stem = "rollout_analysis"
    ui_color = "#f9cb9c"

    def __init__(self, *, model: str, ticket: Any, share: int | None = None, **arguments: Any) -> None:
        super().__init__(model=model, ticket=ticket, **arguments)
        self.share = share

    def look_again(self, context: Context, event: dict[str, Any], errors: int = 0) -> dict[str, Any]:
        """``resume`` for tasks that were deferred before 0.2.0, which stored this name and ``errors``."""
        return self.resume(context, event, errors)

    def observe(self, context: Context, rollout: Rollout, state: RolloutState, errors: int) -> dict[str, Any]:
        if state.phase in ("FINALISING", "SUCCEEDED"):
            return self.trivial_pass(f"version {state.champion} is promoted already")
        observation = observe_stage(rollout, state, self.share, errors)
        decision = judge_stage(observation)
        log.info("%s", observation_log_line(decision))
        if decision.action == "look_again":
            declared = rollout.spec.deployment
            rollout.renew_lease(state, declared.lease)
            interval, errors = declared.analysis.interval, observation.consecutive_errors
            self.defer_for(rollout, state.generation, interval, errors, lease=declared.lease)
        details: dict[str, Any] = {"share": rollout.share(state), "step": state.step}
        details |= self.apply_decision(decision, rollout, state)
        return self.record(decision.verdict, rollout, context, **details)
