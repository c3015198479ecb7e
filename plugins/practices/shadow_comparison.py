"""Mirrors requests to a candidate and passes it only if it was shown to agree with the champion."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages.comparison import ShadowMeasure, ShadowRequest
from pipelines.messages.rollout import RolloutState
from pipelines.rules.shadow_comparison import judge_shadow, max_shadow_seconds, seconds_left
from pipelines.spec.strategy import FULL_SHARE, Shadow
from practices._operators import step_runner
from practices._rollouts.rollout import Rollout
from practices._rollouts.stage_operator import IN_PROCESS_RUNNER, ComparisonPractice


class ShadowComparison(ComparisonPractice):
    """Mirror requests to the candidate for the declared time, compare its answers with the champion's, and decide.

    No caller gets the candidate's answers. Times come from the target's record, so a retry continues the comparison.
    Disagreement, bad answers and (where labels are known) wrong answers are tested sequentially, which allows any
    number of observations. A limit shown to be exceeded rolls the candidate back; what is not shown within
    ``max_duration`` is refused. Returns the verdict, with the URIs of its report among the facts.
    """

    ui_color = "#d9d2e9"
    stem = "shadow_comparison"

    def observe(self, context: Context, rollout: Rollout, state: RolloutState, errors: int) -> dict[str, Any]:
        declared = rollout.spec.deployment
        shadow = declared.shadow_plan or Shadow()
        state = rollout.mirror(max(1, round(shadow.sample_rate * FULL_SHARE)))
        request = self._request(rollout, state)
        measure = step_runner.run_step("measure_shadow", request, ShadowMeasure, runner=IN_PROCESS_RUNNER)
        errors = errors + 1 if measure.errors else 0
        decision = judge_shadow(measure, declared, consecutive_errors=errors)
        if decision.action == "look_again":
            self.log.info("after %.0f seconds: %s", measure.elapsed, decision.verdict)
            self.defer_next(rollout, state, max_shadow_seconds(shadow), seconds_left(measure.elapsed, shadow), errors)
        self.apply_decision(decision, rollout, state)
        report_request = request.model_copy(update={"report": True})
        measure = step_runner.run_step("measure_shadow", report_request, ShadowMeasure, runner=IN_PROCESS_RUNNER)
        decision = judge_shadow(measure, declared, consecutive_errors=errors)
        self.apply_decision(decision, rollout, state)
        return self.after_pass(rollout, self.record(decision.verdict, rollout, context, **self.clear_details(context)))

    def after_pass(self, rollout: Rollout, verdict: dict[str, Any]) -> dict[str, Any]:
        """Stop the mirror, and renew the lease of the candidate (at 0 %) for the time that approvers have."""
        state = rollout.stop_mirror()
        if not rollout.share(state):
            rollout.renew_idle_lease(state)
        return verdict

    def _request(self, rollout: Rollout, state: RolloutState) -> ShadowRequest:
        version, step = rollout.ticket.version, state.step
        request = ShadowRequest(
            champion=state.champion, version=version, **self.measure_args(rollout, state, lambda arm: arm.step == step)
        )
        answered = [arm for arm in request.arms if arm.role != "shadow"]
        mirrored = [arm for arm in request.arms if arm.role == "shadow" and arm.version == version]
        callers = {
            "callers": sum(arm.requests for arm in answered),
            "callers_failed": sum(arm.failed for arm in answered),
        }
        return request.model_copy(update={"arms": mirrored, **callers})
