"""Asks one person to approve a release; the ledger keeps the digest of what was shown, who answered what, and when."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context, Param
from airflow.sdk.exceptions import TaskAwaitingInput

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.ledger.approval_form import form, subject
from pipelines.messages.approval import ApprovalAnswer, ApprovalReceipt
from pipelines.messages.rollout import RolloutTicket
from pipelines.ports import LedgerEntry, Ports
from pipelines.rules.approval_quorum import missing_approvers
from practices._approvals import form_facts, hitl
from practices._connections import installation
from practices._operators import run_context
from practices._rollouts.rollout import Rollout

COMMENT = Param("", type=["null", "string"], maxLength=2000, title="Comment", description="Kept beside your answer.")
CHOICES = {ApprovalOperator.APPROVE: "approve", ApprovalOperator.REJECT: "reject"}
KEPT = ("role", "slot", "until", "rollout_id", "model_digest", "sha256", "form")


class ApprovalRequest(ApprovalOperator):
    """Ask one person of ``role`` on Airflow's approval screen. The quorum counts a no and a silence as answers, too.

    Only those named for the role may answer, and nobody who trained the candidate or started the run. The line
    ``approval_request`` of the ledger names the text shown (its digest; the text lies in the store), the line
    ``approval_answer`` who answered what, and when. Each try is a request of its own. Returns an ``ApprovalReceipt``.
    """

    template_fields: Sequence[str] = ("model", "ticket", "role")
    ui_color = "#ffe599"

    def __init__(self, *, model: str, ticket: Any, role: str, response_timeout: timedelta, **arguments: Any) -> None:
        fixed: dict[str, Any] = {"subject": "Release it?", "params": {"comment": COMMENT}}
        super().__init__(**{**arguments, **fixed}, response_timeout=response_timeout)  # the run's form is not this one
        self.wait = response_timeout
        self.model = model
        self.ticket = ticket
        self.role = role

    def execute(self, context: Context) -> NoReturn:
        ports, ticket = installation.open_ports(), RolloutTicket.model_validate(self.ticket)
        facts = form_facts.gather(ticket, ports, context)
        approval = facts.spec.deployment.approval
        if reasons := missing_approvers(approval, facts.authors):
            raise Refused(f"nobody can approve version {ticket.version} of {self.model}", reasons)
        if not ticket.first:
            rollout = Rollout(ports, ticket)
            rollout.wait_for_next(rollout.running())
        named = next(approver.users for approver in approval.approvers if approver.role == self.role)
        users = [user for user in named if user not in facts.authors]
        hitl.warn_of_strangers(users)
        headline, text = subject(facts, self.role), form(facts, approval.timeout)
        hitl.show(
            context, subject=headline, body=text, users=users, options=self.options, params=self.serialized_params
        )
        line = self._record(context, ports, ticket, text, users)
        self.log.info("%s\n%s may answer until %s", headline, " or ".join(users), line.details["until"])
        raise TaskAwaitingInput(method_name="execute_complete", kwargs={"request": line.digest}, timeout=self.wait)

    def execute_complete(self, context: Context, event: dict[str, Any], request: str = "") -> dict[str, Any]:
        """Called once with the answer, or when the time is over."""
        if event.get("error_type") != "timeout":
            super(ApprovalOperator, self).execute_complete(context, event)  # its own would skip the count after a no
        ports = installation.open_ports()
        asked = _request(ports, self.model, request)
        answer = read_answer(event, asked, ports)
        details, who = answer.model_dump(mode="json", exclude={"schema_"}), answer.person or ports.settings.actor
        key = f"{asked.key}/answer"
        line = ports.ledger.append("approval_answer", self.model, asked.version, details, actor=who, key=key)
        self.log.info("%s: %s by %s", self.role, answer.choice, answer.person or "nobody")
        receipt = ApprovalReceipt(line=line.digest, role=self.role, choice=answer.choice, person=answer.person)
        return receipt.model_dump(mode="json", by_alias=True)

    def _record(
        self, context: Context, ports: Ports, ticket: RolloutTicket, text: str, users: Sequence[str]
    ) -> LedgerEntry:
        digest, instance = hashlib.sha256(text.encode()).hexdigest(), context["ti"]
        ports.store.put(store_paths.approval_form(self.model, digest), text.encode())
        details = {
            "role": self.role,
            "slot": instance.map_index,
            "users": list(users),
            "until": (ports.clock() + self.wait).isoformat(),
            **ticket.model_dump(mode="json", include={"rollout_id", "model_digest", "sha256"}),
            "form": digest,
        }
        key = f"{run_context.run_key(context)}/{instance.task_id}/{instance.map_index}/{instance.try_number}"
        who = ports.settings.actor
        return ports.ledger.append("approval_request", self.model, ticket.version, details, actor=who, key=key)


def read_answer(event: dict[str, Any], asked: LedgerEntry, ports: Ports) -> ApprovalAnswer:
    """What Airflow says of an answer, beside what was asked; nothing chosen is a silence."""
    who, chosen = event.get("responded_by_user") or {}, event.get("chosen_options") or [""]
    given = {
        "choice": CHOICES.get(chosen[0], "expired"),
        "person": who.get("id"),
        "name": who.get("name"),
        "at": event.get("responded_at") or ports.clock(),
        "request": asked.digest,
        "comment": (event.get("params_input") or {}).get("comment") or "",
    }
    return ApprovalAnswer.model_validate({name: asked.details[name] for name in KEPT} | given)


def _request(ports: Ports, model: str, digest: str) -> LedgerEntry:
    found = [line for line in ports.ledger.entries(model=model, kind="approval_request") if line.digest == digest]
    if not found:
        raise Refused(f"the ledger holds no request {digest[:16]}", ["clear this task, so that it asks again"])
    return found[0]
