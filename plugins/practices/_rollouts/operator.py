"""The parent of practices about a rollout: acts on the run's ticket, and writes its verdict to the ledger."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from airflow.sdk import Context

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.verdict import Verdict
from practices._connections import installation
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict
from practices._rollouts.rollout import Rollout

log = logging.getLogger(__name__)


class RolloutPractice(ModelPractice):
    """The parent of every practice about a rollout. ``ticket`` is the ``RolloutTicket`` that check_release returned."""

    template_fields: Sequence[str] = ("model", "ticket")
    ui_color = "#d0e0e3"
    stem: ClassVar[str]
    kind: ClassVar[str] = "rollout"
    """Of its ledger lines."""

    def __init__(self, *, model: str, ticket: Any, **arguments: Any) -> None:
        super().__init__(model=model, **arguments)
        self.ticket = ticket

    def open(self) -> Rollout:
        """The rollout of this run, at its target."""
        return Rollout(installation.open_ports(), RolloutTicket.model_validate(self.ticket))

    def pass_with_note(self, what: str, **facts: Any) -> dict[str, Any]:
        """What the task returns where there was nothing to judge."""
        log.info("%s: %s", self.stem, what)
        return {"rule": self.stem, "outcome": "pass", "reasons": [], "facts": {"note": what, **facts}}

    def pass_first_version(self) -> dict[str, Any]:
        """What the task returns for the first version of a model."""
        return self.pass_with_note(
            f"this is the first version of {self.model}: there is no champion to compare it with"
        )

    def resume_if_paused(self, rollout: Rollout, context: Context) -> RolloutState:
        """The state of the rollout, if it may go on.

        One that is paused is reported (``Refused``) by the first try that meets it; whoever clears the task after that
        wants it to go on, and it is resumed where it stood.
        """
        state = rollout.running_state()
        if state.phase != "PAUSED":
            return state
        reported = [line.details.get("held_at") for line in rollout.ledger_lines(self.kind)]
        if state.generation not in reported:
            paused = Verdict.of(self.stem, unknowns=[f"paused: {state.reason}"])
            self.record(paused, rollout, context, held_at=state.generation)
        rollout.append_line(
            "rollout",
            {"practice": self.stem, "resumed": state.step, "reason": state.reason},
            f"resume/{state.generation}",
        )
        return rollout.resume()

    def record(
        self,
        verdict: Verdict,
        rollout: Rollout,
        context: Context,
        *,
        on_fail: Literal["skip", "fail"] = "fail",
        **details: Any,
    ) -> dict[str, Any]:
        """Put the verdict on the task's page and the ledger and return it, or stop what follows.

        ``held_at`` among the details: the generation at which traffic is held; a reason then says what a person can do.
        """
        ticket = rollout.ticket
        if "held_at" in details:
            clear, back = f"clear {context['ti'].task_id} to go on waiting", f"trigger {self.model}__rollback"
            hint = f"{clear}, or {back} to take the candidate back"
            verdict = verdict.model_copy(update={"reasons": (*verdict.reasons, hint)})
        record_verdict(
            verdict,
            subject=f"{self.stem.replace('_', ' ')} of {ticket.model} version {ticket.version}",
            ledger_kind=self.kind,
            model=ticket.model,
            version=ticket.version,
            ports=rollout.ports,
            context=context,
            on_fail=on_fail,
            details={"practice": self.stem, **rollout.ledger_ids, **details},
        )
        return verdict.model_dump(mode="json")
