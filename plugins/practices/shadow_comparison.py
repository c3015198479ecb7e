"""A candidate that nobody hears yet answers what the champion is asked; it goes on only if it was shown to agree."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.messages.comparison import ShadowMeasure, ShadowRequest
from pipelines.messages.rollout import RolloutState
from pipelines.rules.shadow_comparison import goes_on, judge_shadow, longest
from pipelines.spec.strategy import WHOLE, Shadow
from practices._operators import step_runner
from practices._rollouts.comparison_operator import HERE, ComparisonPractice, act
from practices._rollouts.rollout import Rollout


class ShadowComparison(ComparisonPractice):
    """Mirror requests to the candidate for the declared time, weigh its answers against the champion's, and decide.

    Nobody gets the candidate's answers. The clock is the target's record, so a task that is tried again goes on where
    it was. Disagreement, bad answers and, where labels are known, being wrong more often are tested sequentially: any
    number of looks is allowed. A limit shown to be broken rolls back first; what is not shown within ``max_duration``
    is refused. Returns the verdict, with the URIs of its report among the facts.
    """

    ui_color = "#d9d2e9"
    stem = "shadow_comparison"

    def look(self, context: Context, rollout: Rollout, blind: int) -> dict[str, Any]:
        declared, version = rollout.spec.deployment, rollout.ticket.version
        shadow = declared.shadows or Shadow()
        share = max(1, round(shadow.sample_rate * WHOLE))
        state = rollout.bring(lambda state: state.mirror == version, "set_mirror", version, share)
        request = self._request(rollout, state)
        found = step_runner.run_step("measure_shadow", request, ShadowMeasure, runner=HERE)
        verdict, blind = judge_shadow(found, declared), blind + 1 if found.errors else 0
        if goes_on(verdict, found.elapsed, shadow) and blind < declared.analysis.consecutive_errors:
            self.log.info("after %.0f seconds: %s", found.elapsed, verdict)
            left = shadow.duration - found.elapsed
            self.wait(rollout, state, longest(shadow), left if left > 0 else longest(shadow) - found.elapsed, blind)
        self.take_back_failed(rollout, verdict)
        whole = request.model_copy(update={"report": True})
        verdict = judge_shadow(step_runner.run_step("measure_shadow", whole, ShadowMeasure, runner=HERE), declared)
        self.take_back_failed(rollout, verdict)
        return self.leave(rollout, self.conclude(verdict, rollout, context, **act(context)))

    def leave(self, rollout: Rollout, verdict: dict[str, Any]) -> dict[str, Any]:
        """Stop the mirror, and let the candidate live at 0 % for as long as people may take to approve it."""
        state = rollout.bring(lambda state: state.mirror is None, "set_mirror", None, 0)
        if not rollout.share(state):
            rollout.wait_for_next(state)
        return verdict

    def _request(self, rollout: Rollout, state: RolloutState) -> ShadowRequest:
        version = rollout.ticket.version
        asked = self.counted(rollout, state, lambda arm: arm.role == "shadow" and arm.version == version)
        return ShadowRequest(champion=state.champion, version=version, **asked)
