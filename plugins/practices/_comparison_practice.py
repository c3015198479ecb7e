"""A practice that compares two versions looks, waits without a worker, and looks again until it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Conflict, Refused, Unavailable
from pipelines.ports import DeploymentTarget, Ports
from pipelines.rollout_messages import RolloutState, RolloutTicket
from pipelines.spec.deployment import Deployment
from pipelines.spec.runner import StageRunner
from practices._comparison_trigger import NextLook
from practices._model_practice import ModelPractice

HERE = StageRunner(on="process")
"""A look takes a moment: it is not worth a pod."""
LOOKS = 200
"""Looks within the declared time at most; the evidence is as good at few looks as at many."""
TRIES = 5


class ComparisonPractice(ModelPractice):
    """The parent of the practices that weigh a candidate against the champion while both answer."""

    template_fields: Sequence[str] = ("model", "ticket")

    def __init__(self, *, model: str, ticket: Any, **arguments: Any) -> None:
        super().__init__(model=model, **arguments)
        self.ticket = ticket

    def execute(self, context: Context) -> dict[str, Any]:
        ticket = RolloutTicket.model_validate(self.ticket)
        if ticket.first:
            why = f"version {ticket.version} is the first of {self.model}: there is nothing to compare it with"
            self.log.info("%s", why)
            return {"model": self.model, "version": ticket.version, "compared": False, "why": why}
        return self.look(context, ticket, 0)

    def resume(self, context: Context, event: dict[str, Any], blind: int = 0) -> dict[str, Any]:  # noqa: ARG002
        """Called when the next look is due or the rollout has moved on. The target decides, not the event."""
        return self.look(context, RolloutTicket.model_validate(self.ticket), blind)

    def look(self, context: Context, ticket: RolloutTicket, blind: int) -> dict[str, Any]:
        """Return the result, or wait; ``blind`` looks before this one in a row could not measure."""
        raise NotImplementedError

    def wait(self, ports: Ports, state: RolloutState, declared: Deployment, longest: float, blind: int) -> None:
        """Defer until the next look; ``longest``: seconds that the whole comparison may take."""
        pause = max(declared.analysis.interval, longest / LOOKS)
        until = (ports.clock() + timedelta(seconds=pause)).isoformat()
        trigger = NextLook(self.model, str(state.rollout_id), str(state.phase), until, declared.lease)
        self.defer(trigger=trigger, method_name="resume", kwargs={"blind": blind})


def running(state: RolloutState, ticket: RolloutTicket) -> RolloutState:
    """The state if the rollout of this ticket goes on.

    Raises ``AirflowSkipException`` if another one took its place, ``Refused`` if it ended or is held for a person.
    """
    subject = f"the rollout of {ticket.model} version {ticket.version}"
    if state.rollout_id != ticket.rollout_id or state.phase == "SUPERSEDED":
        raise AirflowSkipException(f"{subject} was superseded by rollout {state.rollout_id}")
    if state.phase == "ROLLED_BACK":
        raise Refused(f"{subject} was rolled back", [state.reason or "no reason is on record"])
    if state.phase == "PAUSED":
        way = "resume it and clear this task to go on, or roll it back"
        raise Refused(f"{subject} is held", [state.reason or "no reason is on record", way])
    return state


def changed(
    target: DeploymentTarget,
    ticket: RolloutTicket,
    done: Callable[[RolloutState], bool],
    change: Callable[[RolloutState], RolloutState],
) -> RolloutState:
    """The state after ``change``, unless it is ``done`` already; decided anew when somebody else was faster."""
    for _ in range(TRIES):
        state = running(target.rollout(ticket.model), ticket)
        if done(state):
            return state
        try:
            return change(state)
        except Conflict:
            continue
    raise Unavailable(f"somebody else keeps changing the rollout of {ticket.model}")
