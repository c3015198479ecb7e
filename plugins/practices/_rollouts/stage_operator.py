"""Base classes of operators that judge a stage: observe, defer, and observe again until it is decided."""

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
from practices._connections import installation
from practices._operators import run_context
from practices._operators.recorded_results import unchecked_ticket
from practices._rollouts.operator import RolloutPractice, log
from practices._rollouts.rollout import Rollout
from practices._rollouts.trigger import RolloutWatch

IN_PROCESS_RUNNER = StageRunner(on="process")
"""Observations run in the task's process: they take less time than starting a pod."""
ObserveMethod = Callable[[Context, Rollout, RolloutState, int], dict[str, Any]]
OBSERVATION_COUNT = 200
"""Approximate number of observations within the declared time; the evidence does not depend on it."""


class StagePractice(RolloutPractice):
    """Base class of operators that judge a candidate beside the serving champion.

    Each observation ends in a ``StageDecision``. ``roll_back`` and ``hold`` are applied at the target before they are
    recorded. All times come from the target's record, so a killed worker or triggerer restarts no clock.
    """

    on_fail: ClassVar[Literal["skip", "fail"]] = "fail"

    def execute(self, context: Context) -> dict[str, Any]:
        return self._run_observation(context, 0, self.start)

    def resume(self, context: Context, event: dict[str, Any], blind: int = 0) -> dict[str, Any]:  # noqa: ARG002
        """Called when an observation is due or the state at the target has changed.

        ``blind``: consecutive errors. Airflow stores the names ``resume`` and ``blind`` with deferred tasks: keep them.
        """
        return self._run_observation(context, blind, self.observe)

    def _run_observation(self, context: Context, errors: int, observe: ObserveMethod) -> dict[str, Any]:
        rollout = self._open_observed(context)
        if (passed := self.pass_without_rollout(rollout.ticket)) is not None:
            return passed
        try:
            self._record_rollback(rollout, context)
            state = self.resume_if_paused(rollout, context)
        except Unavailable as error:
            self._defer_until_reachable(rollout, errors + 1, error)
        return observe(context, rollout, state, errors)

    def _open_observed(self, context: Context) -> Rollout:
        """The rollout of this run. While the ledger does not answer, that of the ticket as it is in the XCom.

        A candidate that fails must lose its traffic all the same, and without the ledger none is given any.
        """
        try:
            return self.open_rollout(context)
        except Unavailable as error:
            log.warning("the ticket is not compared with the ledger's: %s", error)
            return Rollout(installation.open_ports(), unchecked_ticket(self.ticket))

    def start(self, context: Context, rollout: Rollout, state: RolloutState, errors: int) -> dict[str, Any]:
        """The first observation of a try."""
        return self.observe(context, rollout, state, errors)

    def observe(self, context: Context, rollout: Rollout, state: RolloutState, errors: int) -> dict[str, Any]:
        """Return the verdict, or defer. ``errors``: consecutive observations before this one that measured nothing."""
        raise NotImplementedError

    def apply_decision(self, decision: StageDecision, rollout: Rollout, state: RolloutState) -> dict[str, Any]:
        """Roll back or hold at the target as decided; returns details for the ledger line."""
        reasons = "; ".join(decision.verdict.reasons)
        if decision.action == "roll_back":
            rollout.roll_back(self._reason_prefix + reasons)
        if decision.action == "hold":
            return {"held_at": rollout.hold(state, reasons).generation}
        return {}

    @property
    def _reason_prefix(self) -> str:
        """Prefix of the reason at the target of a rollback by this operator."""
        return f"{self.stem}: "

    def _record_rollback(self, rollout: Rollout, context: Context) -> None:
        """Record a rollback by an earlier try that was killed before it could record it."""
        state = rollout.read_state()
        if (state.rollout_id, state.phase) == (rollout.ticket.rollout_id, "ROLLED_BACK"):
            reason = state.reason.removeprefix(self._reason_prefix)
            if reason != state.reason:
                verdict = Verdict.of(self.stem, failures=[reason])
                self.record(verdict, rollout, context, on_fail=self.on_fail, **self.clear_details(context))

    def clear_details(self, context: Context) -> dict[str, Any]:
        """Ledger detail that distinguishes a cleared run, which compares anew, from a retry, which does not."""
        return {"cleared": run_context.clear_count(context)}

    def defer_for(self, rollout: Rollout, generation: int, pause: float, errors: int, lease: float | None) -> NoReturn:
        """Defer for ``pause`` seconds, or until the state at the target changes."""
        until = (rollout.ports.clock() + timedelta(seconds=pause)).isoformat()
        trigger = RolloutWatch(self.model, rollout.ticket.rollout_id, generation, until, lease)
        self.defer(trigger=trigger, method_name="resume", kwargs={"blind": errors})

    def _defer_until_reachable(self, rollout: Rollout, errors: int, error: Unavailable) -> NoReturn:
        """Defer until the target answers; after ``consecutive_errors`` attempts raise ``error``."""
        declared = rollout.spec.deployment.analysis
        log.warning("the target does not answer (%s of %s in a row): %s", errors, declared.consecutive_errors, error)
        if errors >= declared.consecutive_errors:
            raise error
        self.defer_for(rollout, -1, declared.interval, errors, lease=None)


class ComparisonPractice(StagePractice):
    """Base class of operators that compare the answers of two versions over a declared time."""

    def start(self, context: Context, rollout: Rollout, state: RolloutState, errors: int) -> dict[str, Any]:
        passed = self._earlier_pass(rollout, context)
        return self.observe(context, rollout, state, errors) if passed is None else self.after_pass(rollout, passed)

    def after_pass(self, rollout: Rollout, verdict: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Clean up after a candidate has passed; returns the verdict."""
        return verdict

    def measure_args(self, rollout: Rollout, state: RolloutState, of: Callable[[ArmCounts], bool]) -> dict[str, Any]:
        """Common arguments of the requests of measuring steps; ``of`` selects the arms whose counts are passed."""
        ticket, now = rollout.ticket, rollout.ports.clock()
        arms = [arm for arm in rollout.target.counts(self.model, ticket.rollout_id) if of(arm)]
        started = state.step_started or now
        return {"model": self.model, "rollout_id": ticket.rollout_id, "started": started, "now": now, "arms": arms}

    def defer_next(self, rollout: Rollout, state: RolloutState, longest: float, left: float, errors: int) -> NoReturn:
        """Defer until the next observation, at most ``left`` seconds; ``longest``: those of the whole comparison."""
        declared = rollout.spec.deployment
        pause = min(max(declared.analysis.interval, longest / OBSERVATION_COUNT), max(left, 1.0))
        self.defer_for(rollout, state.generation, pause, errors, lease=declared.lease)

    def _earlier_pass(self, rollout: Rollout, context: Context) -> dict[str, Any] | None:
        """The PASS that an earlier try of this task recorded; None if there is none."""
        passed = {"practice": self.stem, "outcome": "pass", **self.clear_details(context)}
        for line in rollout.ledger_lines("rollout"):
            if passed.items() <= line.details.items():
                return {name: line.details[name] for name in ("rule", "outcome", "reasons", "facts")}
        return None
