"""Mirrors requests to a candidate and lets it go on only if it was shown to agree with the champion."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages.comparison import ShadowMeasure, ShadowRequest
from pipelines.messages.rollout import RolloutState
from pipelines.rules.shadow_comparison import judge_shadow, max_seconds, seconds_left
from pipelines.spec.strategy import WHOLE, Shadow
from practices._operators import step_runner
from practices._rollouts.rollout import Rollout
from practices._rollouts.stage_operator import HERE, ComparisonPractice


class ShadowComparison(ComparisonPractice):
    """Mirror requests to the candidate for the declared time, weigh its answers against the champion's, and decide.

    Nobody gets the candidate's answers. The clock is the target's record, so a task that is tried again goes on where
    it was. Disagreement, bad answers and, where labels are known, being wrong more often are tested sequentially: any
    number of looks is allowed. A limit shown to be broken rolls back first; what is not shown within ``max_duration``
    is refused. Returns the verdict, with the URIs of its report among the facts.
    """

    ui_color = "#d9d2e9"
    stem = "shadow_comparison"

    def observe(self, context: Context, rollout: Rollout, state: RolloutState, errors: int) -> dict[str, Any]:
        declared = rollout.spec.deployment
        shadow = declared.shadows or Shadow()
        state = rollout.mirror(max(1, round(shadow.sample_rate * WHOLE)))
        request = self._request(rollout, state)
        measure = step_runner.run_step("measure_shadow", request, ShadowMeasure, runner=HERE)
        errors = errors + 1 if measure.errors else 0
        decision = judge_shadow(measure, declared, consecutive_errors=errors)
        if decision.action == "look_again":
            self.log.info("after %.0f seconds: %s", measure.elapsed, decision.verdict)
            self.wait_on(rollout, state, max_seconds(shadow), seconds_left(measure.elapsed, shadow), errors)
        self.apply(decision, rollout, state)
        whole = request.model_copy(update={"report": True})
        measure = step_runner.run_step("measure_shadow", whole, ShadowMeasure, runner=HERE)
        decision = judge_shadow(measure, declared, consecutive_errors=errors)
        self.apply(decision, rollout, state)
        return self.leave(rollout, self.conclude(decision.verdict, rollout, context, **self.act(context)))

    def leave(self, rollout: Rollout, verdict: dict[str, Any]) -> dict[str, Any]:
        """Stop the mirror, and let the candidate live at 0 % for as long as people may take to approve it."""
        state = rollout.stop_mirror()
        if not rollout.share(state):
            rollout.wait_for_next(state)
        return verdict

    def _request(self, rollout: Rollout, state: RolloutState) -> ShadowRequest:
        version = rollout.ticket.version
        asked = self.counted(rollout, state, lambda arm: arm.role == "shadow" and arm.version == version)
        return ShadowRequest(champion=state.champion, version=version, **asked)
