"""Watches a promoted version for the declared window, rolls it back if it breaks a limit, and finishes its rollout."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NoReturn

from airflow.sdk import Context

from pipelines.errors import Unavailable
from pipelines.messages.rollout import RolloutState, WatchEvidence, WatchRequest
from pipelines.rollout.from_spec import watch_alpha, watch_limits
from pipelines.rules.retirement import RetirementDecision, judge_retirement
from practices._operators import step_runner
from practices._rollouts.operator import RolloutPractice, log
from practices._rollouts.rollout import Rollout
from practices._rollouts.stage_operator import IN_PROCESS_RUNNER
from practices._rollouts.trigger import RolloutWatch


class Retirement(RolloutPractice):
    """Defer for ``deployment.rollback.window`` after the promotion, then finish the rollout.

    The gateway itself watches the promoted version; on other targets this task looks at its counts at each
    ``analysis.interval`` and rolls it back if it is shown to break a limit. The former version is kept, so that a later
    rollback can restore it. Fails with the recorded reason if the promotion was rolled back. Returns the verdict.
    """

    stem = "retirement"
    ui_color = "#d9d9d9"

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open_rollout(context)
        if (passed := self.pass_without_rollout(rollout.ticket)) is not None:
            return passed
        if (state := rollout.read_state()).rollout_id != rollout.ticket.rollout_id:
            rollout.running_state()
        decision = self._judge(rollout, state)
        if decision.action == "wait":
            log.info("%s", decision.verdict)
            self._defer_next(rollout, state, decision.left)
        if decision.action == "roll_back":
            rollout.roll_back("; ".join(decision.verdict.reasons))
        verdict = self.record(decision.verdict, rollout, context)
        rollout.retire()
        return verdict

    def look_again(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Called (a stored name) when the next look is due or the state at the target has changed."""
        return self.execute(context)

    def _judge(self, rollout: Rollout, state: RolloutState) -> RetirementDecision:
        released, declared = rollout.ledger_lines("release"), rollout.spec.deployment
        watched = declared.watch_seconds and not declared.is_delegated_to_target and state.phase == "FINALISING"
        return judge_retirement(
            rollout.ticket,
            state,
            promoted=released[0].at if released else None,
            now=rollout.ports.clock(),
            window=declared.rollback.window,
            evidence=self._weigh(rollout) if watched else None,
            alpha=watch_alpha(declared, state.step),
        )

    def _weigh(self, rollout: Rollout) -> WatchEvidence | None:
        """What the version has answered since its promotion; None if the target does not say."""
        try:
            arms = rollout.target.counts(self.model, rollout.ticket.rollout_id)
        except Unavailable as error:
            log.warning("the promoted version cannot be watched now: %s", error)
            return None
        limits = watch_limits(rollout.spec.deployment)
        request = WatchRequest(version=rollout.ticket.version, limits=limits, arms=arms)
        return step_runner.run_step("weigh_release", request, WatchEvidence, runner=IN_PROCESS_RUNNER)

    def _defer_next(self, rollout: Rollout, state: RolloutState, left: float) -> NoReturn:
        """Until the window closes, or until the next look where the target does not watch by itself."""
        declared = rollout.spec.deployment
        looks = declared.watch_seconds and not declared.guards_itself and not declared.is_delegated_to_target
        pause = min(left, declared.analysis.interval) if looks else left
        due = (rollout.ports.clock() + timedelta(seconds=pause)).isoformat()
        watch = RolloutWatch(self.model, rollout.ticket.rollout_id, state.generation, due)
        self.defer(trigger=watch, method_name="look_again")
