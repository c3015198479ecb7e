"""A practice that compares two versions looks, waits without a worker, and looks again until it knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, Literal

from airflow.sdk import Context

from pipelines.messages.rollout import ArmCounts, RolloutState
from pipelines.spec.runner import StageRunner
from pipelines.verdict import Outcome, Verdict
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.rollout import Rollout
from practices._rollouts.trigger import RolloutWatch

HERE = StageRunner(on="process")
"""A look takes a moment: it is not worth a pod."""
LOOKS = 200
"""Looks within the declared time, about: the evidence does not depend on how often one looks."""


class ComparisonPractice(RolloutPractice):
    """The parent of the practices that weigh a candidate against the champion while both answer."""

    on_fail: ClassVar[Literal["skip", "fail"]] = "fail"

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open()
        if rollout.ticket.first:
            return self.nothing_to_compare()
        self._finish(rollout, context)
        self.go_on(rollout, context)
        before = self._passed_before(rollout, context)
        return self.look(context, rollout, 0) if before is None else self.leave(rollout, before)

    def resume(self, context: Context, event: dict[str, Any], blind: int = 0) -> dict[str, Any]:  # noqa: ARG002 - the target decides, not the event
        """Called when the next look is due, or the rollout has moved on."""
        rollout = self.open()
        self.go_on(rollout, context)
        return self.look(context, rollout, blind)

    def look(self, context: Context, rollout: Rollout, blind: int) -> dict[str, Any]:
        """Return the verdict, or wait; ``blind``: so many looks in a row before this one could not measure."""
        raise NotImplementedError

    def _finish(self, rollout: Rollout, context: Context) -> None:
        """Put on record what an earlier try took the candidate back for, if it was cut off before it could."""
        state = rollout.look()
        if (state.rollout_id, state.phase) == (rollout.ticket.rollout_id, "ROLLED_BACK"):
            reason = state.reason.removeprefix(self._mark)
            if reason != state.reason:
                verdict = Verdict.of(self.stem, failures=[reason])
                self.conclude(verdict, rollout, context, on_fail=self.on_fail, **act(context))

    @property
    def _mark(self) -> str:
        """How the target's reason begins for what this practice took back."""
        return f"{self.stem}: "

    def take_back_failed(self, rollout: Rollout, verdict: Verdict) -> None:
        """All traffic to the champion where the verdict is no."""
        if verdict.outcome is Outcome.FAIL:
            rollout.roll_back(self._mark + "; ".join(verdict.reasons))

    def counted(self, rollout: Rollout, state: RolloutState, wanted: Callable[[ArmCounts], bool]) -> dict[str, Any]:
        """What every measuring step is asked with: whose rollout, since when, and what the arms of interest met."""
        ticket, now = rollout.ticket, rollout.ports.clock()
        arms = [arm for arm in rollout.target.counts(self.model, ticket.rollout_id) if wanted(arm)]
        started = state.step_started or now
        return {"model": self.model, "rollout_id": ticket.rollout_id, "started": started, "now": now, "arms": arms}

    def _passed_before(self, rollout: Rollout, context: Context) -> dict[str, Any] | None:
        """The verdict that an earlier try of this task put on record when the candidate passed; None: there is none."""
        wanted = {"practice": self.stem, "outcome": "pass", **act(context)}
        for line in rollout.lines("rollout"):
            if wanted.items() <= line.details.items():
                return {name: line.details[name] for name in ("rule", "outcome", "reasons", "facts")}
        return None

    def leave(self, rollout: Rollout, verdict: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - for those who have something to tidy up
        """What is left to do once a candidate has passed; returns the verdict."""
        return verdict

    def wait(self, rollout: Rollout, state: RolloutState, longest: float, left: float, blind: int) -> None:
        """Defer until the next look, or for the seconds that are ``left``; ``longest``: of the whole comparison."""
        declared = rollout.spec.deployment
        pause = min(max(declared.analysis.interval, longest / LOOKS), max(left, 1.0))
        until = (rollout.ports.clock() + timedelta(seconds=pause)).isoformat()
        trigger = RolloutWatch(self.model, rollout.ticket.rollout_id, state.generation, until, declared.lease)
        self.defer(trigger=trigger, method_name="resume", kwargs={"blind": blind})


def act(context: Context) -> dict[str, Any]:
    """Names the act: a retried task repeats it, a cleared one starts it anew."""
    return {"cleared": getattr(context["dag_run"], "clear_number", 0) or 0}
