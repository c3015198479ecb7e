"""Passes a candidate if enough people approved exactly this bundle, none of whom trained it or started the run."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from airflow.sdk import Context

from pipelines.messages.approval import ApprovalAnswer
from pipelines.messages.rollout import RolloutTicket
from pipelines.ports import LedgerEntry, Ports
from pipelines.rules.approval_quorum import judge_quorum
from practices._approvals import form_facts
from practices._connections import installation
from practices._operators import run_context
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict
from practices._operators.recorded_results import checked_ticket, parsed_receipt
from practices._rollouts.next_steps import next_steps


class ApprovalQuorum(ModelPractice):
    """Count the answers to the requests of this run, as the ledger holds them.

    ``answers`` are the receipts of ``ask_approvers``; each must name the newest answer to its request, so an answer
    that was altered, or given to an earlier try, fails the task. Too few approvals, a reject or no answer skip the
    downstream tasks. Every verdict is a ledger line ``approval_quorum`` with the bundle's digests. Returns the verdict.
    """

    template_fields = ("model", "ticket", "answers")
    ui_color = "#ffd966"

    def __init__(self, *, model: str, ticket: Any, answers: Any, **arguments: Any) -> None:
        super().__init__(model=model, **arguments)
        self.ticket = ticket
        self.answers = answers

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        ticket = checked_ticket(self.ticket, self.model, ports, context)
        answers, faults = recorded_answers(self.answers, ticket, ports, context)
        verdict = judge_quorum(
            ticket,
            ports.catalog.model(self.model).deployment.approval,
            answers,
            authors=form_facts.find_authors(self.model, ticket.version, ports, context),
            faults=faults,
        )
        record_verdict(
            verdict,
            subject=f"the approval of {self.model} version {ticket.version}",
            ledger_kind="approval_quorum",
            model=self.model,
            version=ticket.version,
            ports=ports,
            context=context,
            on_fail="skip",
            details={
                **ticket.model_dump(mode="json", include={"rollout_id", "model_digest", "sha256"}),
                "people": verdict.facts["people"],
            },
            next_steps=partial(next_steps, ports, ticket),
        )
        return verdict.model_dump(mode="json")


def recorded_answers(
    receipts: Iterable[Any] | None, ticket: RolloutTicket, ports: Ports, context: Any
) -> tuple[list[ApprovalAnswer], list[str]]:
    """The newest answer to each request of this run, and a fault for every receipt that names another line."""
    lines = ports.ledger.entries(model=ticket.model, version=ticket.version)
    newest = _newest_lines(lines, run_context.run_key(context))
    digests = {parsed_receipt(receipt).line for receipt in receipts or () if receipt}
    answers = {slot: line for slot, line in sorted(newest.items()) if line.digest in digests}
    stale = sorted(digests - {line.digest for line in answers.values()})
    faults = [f"an answer ({digest[:16]}) is not the newest on the ledger" for digest in stale]
    faults += [f"request {slot} has no receipt of its newest answer" for slot in sorted(newest.keys() - answers.keys())]
    return [ApprovalAnswer.model_validate(line.details) for line in answers.values()], faults


def _newest_lines(lines: Iterable[LedgerEntry], run: str) -> dict[int, LedgerEntry]:
    """Newest answer by number of the request, or the request itself while it has no answer."""
    newest: dict[int, LedgerEntry] = {}
    for line in lines:
        if not (line.key or "").startswith(f"{run}/"):
            continue
        if line.kind == "approval_request":
            newest[line.details["slot"]] = line
        elif line.kind == "approval_answer":
            request = newest.get(line.details["slot"])
            if request is not None and line.details["request"] == request.digest:
                newest[line.details["slot"]] = line
    return newest
