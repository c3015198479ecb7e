"""Base class of operators on a rollout: they act on the run's ticket and write their verdict to the ledger."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from airflow.sdk import BaseOperatorLink, Context

from pipelines import store_paths
from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.verdict import Verdict
from pipelines.versions.records import update_status
from practices._connections import installation
from practices._operators import links
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict
from practices._operators.recorded_results import checked_ticket
from practices._rollouts.next_steps import next_steps
from practices._rollouts.rollout import Rollout

log = logging.getLogger(__name__)


class RolloutPractice(ModelPractice):
    """Base class of operators on a rollout. ``ticket`` is the ``RolloutTicket`` that check_release returned."""

    template_fields: Sequence[str] = ("model", "ticket")
    ui_color = "#d0e0e3"
    operator_extra_links: Sequence[BaseOperatorLink] = (links.ROLLOUT_PICTURES,)
    stem: ClassVar[str]
    kind: ClassVar[str] = "rollout"
    """Kind of its ledger lines."""

    def __init__(self, *, model: str, ticket: Any, **arguments: Any) -> None:
        super().__init__(model=model, **arguments)
        self.ticket = ticket

    def open_rollout(self, context: Context) -> Rollout:
        """The rollout of this run at its deployment target; ``Refused`` for another than passed its checklist."""
        ports = installation.open_ports()
        return Rollout(ports, checked_ticket(self.ticket, self.model, ports, context))

    def trivial_pass(self, note: str, **facts: Any) -> dict[str, Any]:
        """Return value of a task that had nothing to judge."""
        log.info("%s: %s", self.stem, note)
        return {"rule": self.stem, "outcome": "pass", "reasons": [], "facts": {"note": note, **facts}}

    def pass_without_rollout(self, ticket: RolloutTicket) -> dict[str, Any] | None:
        """Return value of a task whose run has no rollout; None if it has one."""
        if ticket.first:
            note = f"this is the first version of {self.model}: there is no champion to compare it with"
            return self.trivial_pass(note)
        if ticket.is_live:
            return self.trivial_pass(f"version {ticket.version} is live already: only its records are finished")
        return None

    def resume_if_paused(self, rollout: Rollout, context: Context) -> RolloutState:
        """The state of the rollout; a paused one is resumed after a person has cleared the task.

        The first try that sees the pause records it and fails with ``Refused``. A later try means that the task was
        cleared, so it resumes the rollout at the stage it had reached.
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
        """Write the verdict to the ledger and the XComs and return it, or stop the downstream tasks.

        With ``held_at`` in the details (the generation at which traffic is held) a reason says what a person can do.
        The message of a task that does not pass ends with the version that answers now.
        """
        ticket = rollout.ticket
        pictures = store_paths.rollout(ticket.model, ticket.rollout_id, "")
        links.ROLLOUT_PICTURES.show(self, links.stored_page(pictures) if rollout.ports.store.list(pictures) else None)
        if "held_at" in details:
            clear = f"clear {context['ti'].task_id} to continue the stage"
            hint = f"{clear}, or trigger {self.model}__rollback to roll the candidate back"
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
            on_recorded=partial(update_status, rollout.ports),
            next_steps=partial(next_steps, rollout.ports, ticket),
        )
        return verdict.model_dump(mode="json")
