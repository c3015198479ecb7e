"""The parents of practices that judge a stage: observe, defer without a worker, observe again until decided."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, Literal, NoReturn

from airflow.sdk import Context

from pipelines.errors import Unavailable
from pipelines.messages.rollout import ArmCounts, RolloutState
from pipelines.rollout.decision import StageDecision
from pipelines.spec.runner import StageRunner
from pipelines.verdict import Verdict
from practices._operators import run_context
from practices._rollouts.operator import RolloutPractice, log
from practices._rollouts.rollout import Rollout
from practices._rollouts.trigger import RolloutWatch

IN_PROCESS = StageRunner(on="process")
"""An observation takes a moment: it is not worth a pod."""
ObserveMethod = Callable[[Context, Rollout, RolloutState, int], dict[str, Any]]
OBSERVATION_COUNT = 200
"""Observations within the declared time, about: the evidence does not depend on their number."""


class StagePractice(RolloutPractice):
    """The parent of the practices that judge a candidate while the champion answers, too.

    Each observation ends in a ``StageDecision``. ``roll_back`` and ``hold`` are done at the target before anything is
    written down. The clocks are those of the target's record, so a killed worker or triggerer costs nothing.
    """

    on_fail: ClassVar[Literal["skip", "fail"]] = "fail"

    def execute(self, context: Context) -> dict[str, Any]:
        return self._begin(context, 0, self.start)

    def resume(self, context: Context, event: dict[str, Any], blind: int = 0) -> dict[str, Any]:  # noqa: ARG002
        """Called when an observation is due, or the target decided something by itself; its record tells what.

        ``blind``: observations in a row that measured nothing; Airflow's database holds both names.
        """
        return self._begin(context, blind, self.observe)

    def _begin(self, context: Context, errors: int, observe: ObserveMethod) -> dict[str, Any]:
        rollout = self.open()
        if rollout.ticket.first:
            return self.pass_first_version()
        try:
            self._record_rollback(rollout, context)
            state = self.resume_if_paused(rollout, context)
        except Unavailable as error:
            self._defer_until_reachable(rollout, errors + 1, error)
        return observe(context, rollout, state, errors)

    def start(self, context: Context, rollout: Rollout, state: RolloutState, errors: int) -> dict[str, Any]:
        """The first observation of a try."""
        return self.observe(context, rollout, state, errors)

    def observe(self, context: Context, rollout: Rollout, state: RolloutState, errors: int) -> dict[str, Any]:
        """Return the verdict, or wait. ``errors``: observations in a row before this one that measured nothing."""
        raise NotImplementedError

    def apply_decision(self, decision: StageDecision, rollout: Rollout, state: RolloutState) -> dict[str, Any]:
        """Move or hold the traffic as decided; returns what the ledger line says of it."""
        reasons = "; ".join(decision.verdict.reasons)
        if decision.action == "roll_back":
            rollout.roll_back(self._reason_prefix + reasons)
        if decision.action == "hold":
            return {"held_at": rollout.hold(state, reasons).generation}
        return {}

    @property
    def _reason_prefix(self) -> str:
        """How the target's reason begins for what this practice took back."""
        return f"{self.stem}: "

    def _record_rollback(self, rollout: Rollout, context: Context) -> None:
        """Put on record what an earlier try took the candidate back for, if it was cut off before it could."""
        state = rollout.read_state()
        if (state.rollout_id, state.phase) == (rollout.ticket.rollout_id, "ROLLED_BACK"):
            reason = state.reason.removeprefix(self._reason_prefix)
            if reason != state.reason:
                verdict = Verdict.of(self.stem, failures=[reason])
                self.record(verdict, rollout, context, on_fail=self.on_fail, **self.clear_details(context))

    def clear_details(self, context: Context) -> dict[str, Any]:
        """Names the act in its ledger line: a retried task repeats it, a cleared one starts it anew."""
        return {"cleared": run_context.clear_count(context)}

    def defer_for(
        self, rollout: Rollout, generation: int, pause: float, errors: int, *, lease: float | None
    ) -> NoReturn:
        """Defer for ``pause`` seconds, or until the target decides something by itself."""
        until = (rollout.ports.clock() + timedelta(seconds=pause)).isoformat()
        trigger = RolloutWatch(self.model, rollout.ticket.rollout_id, generation, until, lease)
        self.defer(trigger=trigger, method_name="resume", kwargs={"blind": errors})

    def _defer_until_reachable(self, rollout: Rollout, errors: int, error: Unavailable) -> NoReturn:
        """The target does not answer: its own guard and lease go on. Defer until it does, so many times at most."""
        declared = rollout.spec.deployment.analysis
        log.warning("the target does not answer (%s of %s in a row): %s", errors, declared.consecutive_errors, error)
        if errors >= declared.consecutive_errors:
            raise error
        self.defer_for(rollout, -1, declared.interval, errors, lease=None)


class ComparisonPractice(StagePractice):
    """The parent of the practices that compare the answers of two versions over a declared time."""

    def start(self, context: Context, rollout: Rollout, state: RolloutState, errors: int) -> dict[str, Any]:
        before = self._earlier_pass(rollout, context)
        return self.observe(context, rollout, state, errors) if before is None else self.finish_passed(rollout, before)

    def finish_passed(self, rollout: Rollout, verdict: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - for those who have something to tidy up
        """What is left to do once a candidate has passed; returns the verdict."""
        return verdict

    def measure_arguments(
        self, rollout: Rollout, state: RolloutState, of: Callable[[ArmCounts], bool]
    ) -> dict[str, Any]:
        """What every measuring step is asked with: whose rollout, since when, and what the arms of interest met."""
        ticket, now = rollout.ticket, rollout.ports.clock()
        arms = [arm for arm in rollout.target.counts(self.model, ticket.rollout_id) if of(arm)]
        started = state.step_started or now
        return {"model": self.model, "rollout_id": ticket.rollout_id, "started": started, "now": now, "arms": arms}

    def defer_observation(
        self, rollout: Rollout, state: RolloutState, longest: float, left: float, errors: int
    ) -> NoReturn:
        """Defer until the next observation, or for the seconds that are ``left``; ``longest``: the whole comparison."""
        declared = rollout.spec.deployment
        pause = min(max(declared.analysis.interval, longest / OBSERVATION_COUNT), max(left, 1.0))
        self.defer_for(rollout, state.generation, pause, errors, lease=declared.lease)

    def _earlier_pass(self, rollout: Rollout, context: Context) -> dict[str, Any] | None:
        """The verdict that an earlier try of this task put on record when the candidate passed; None: there is none."""
        passed = {"practice": self.stem, "outcome": "pass", **self.clear_details(context)}
        for line in rollout.ledger_lines("rollout"):
            if passed.items() <= line.details.items():
                return {name: line.details[name] for name in ("rule", "outcome", "reasons", "facts")}
        return None
