"""A bad candidate loses its traffic before anything else happens, and none goes on for want of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

from airflow.sdk import Context

from pipelines.errors import Unavailable
from pipelines.messages.rollout import RolloutState
from pipelines.rules.rollout_analysis import judge_look
from practices._rollouts import analysis
from practices._rollouts.operator import RolloutPractice, log
from practices._rollouts.rollout import Rollout
from practices._rollouts.trigger import RolloutWatch


class RolloutAnalysis(RolloutPractice):
    """Look at a step until it is decided, deferred between two looks, with the lease kept alive.

    The clocks are those of the target's record, so a killed worker or triggerer costs nothing. PASS after the bake
    time lets the next task begin. FAIL rolls back first and then fails. What is not decided in time is held: the
    traffic stays for a day, and the task fails and asks a person. ``share``: basis points the candidate must have.
    """

    template_fields: Sequence[str] = ("model", "ticket", "share")
    stem = "rollout_analysis"
    ui_color = "#f9cb9c"

    def __init__(self, *, model: str, ticket: Any, share: int | None = None, **arguments: Any) -> None:
        super().__init__(model=model, ticket=ticket, **arguments)
        self.share = share

    def execute(self, context: Context) -> dict[str, Any]:
        return self.look(context, 0)

    def look_again(self, context: Context, event: dict[str, Any], errors: int = 0) -> dict[str, Any]:  # noqa: ARG002
        """Called when a look is due, or the target decided something by itself; its record tells what."""
        return self.look(context, errors)

    def look(self, context: Context, errors: int) -> dict[str, Any]:
        """One look; ``errors`` looks before it could not measure."""
        rollout = self.open()
        if rollout.ticket.first:
            return self.nothing_to_compare()
        try:
            state = self.go_on(rollout, context)
        except Unavailable as error:
            self.wait_blindly(rollout, errors + 1, error)
        if state.phase in ("FINALISING", "SUCCEEDED"):
            return self.said(f"version {state.champion} is promoted already")
        look = analysis.measure(rollout, state, self.share, errors)
        verdict = judge_look(look)
        log.info("%s", analysis.told(verdict))
        then = verdict.facts["then"]
        seen: dict[str, Any] = {"share": rollout.share(state), "step": state.step}
        if then == "look_again":
            self.wait(rollout, state, look.errors)
        if then == "roll_back":
            rollout.roll_back("; ".join(verdict.reasons))
        if then == "hold":
            seen["held_at"] = rollout.hold(state, verdict.reasons[0]).generation
            verdict = analysis.ask_a_person(verdict, context)
        return self.conclude(verdict, rollout, context, **seen)

    def wait(self, rollout: Rollout, state: RolloutState, errors: int) -> NoReturn:
        """Defer until the next look, or until the target decides something by itself."""
        lease = rollout.spec.deployment.lease
        rollout.renew(state, lease)
        self._defer(rollout, state.generation, errors, lease=lease)

    def wait_blindly(self, rollout: Rollout, errors: int, error: Unavailable) -> NoReturn:
        """The target does not answer: its own guard and lease go on. Defer until it does, for so many looks."""
        limit = rollout.spec.deployment.analysis.consecutive_errors
        log.warning("the target does not answer (%s of %s in a row): %s", errors, limit, error)
        if errors >= limit:
            raise error
        self._defer(rollout, -1, errors, lease=None)

    def _defer(self, rollout: Rollout, generation: int, errors: int, *, lease: float | None) -> NoReturn:
        due = rollout.ports.clock() + timedelta(seconds=rollout.spec.deployment.analysis.interval)
        watch = RolloutWatch(self.model, rollout.ticket.rollout_id, generation, due.isoformat(), lease)
        self.defer(trigger=watch, method_name="look_again", kwargs={"errors": errors})
