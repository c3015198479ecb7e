"""Asks one person to approve a release; the ledger gets the digest of the shown text, the answer, its user and time."""

from __future__ import annotations

import hashlib
import logging
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
from practices._operators.recorded_results import checked_ticket
from practices._rollouts.rollout import Rollout

log = logging.getLogger(__name__)
COMMENT_FIELD = Param(
    "", type=["null", "string"], maxLength=2000, title="Comment", description="Stored with your answer."
)
CHOICE_BY_ANSWER = {ApprovalOperator.APPROVE: "approve", ApprovalOperator.REJECT: "reject"}
COPIED_REQUEST_FIELDS = ("role", "slot", "until", "rollout_id", "model_digest", "sha256", "form")


class ApprovalRequest(ApprovalOperator):
    """Ask one person of ``role`` on Airflow's approval page (*Browse → Required Actions*).

    Only users declared for the role may answer, but not those who trained the candidate or started the run. Reject and
    no answer are answers, too, which ``ApprovalQuorum`` counts. The ledger gets ``approval_request`` (digest of the
    shown text, which is in the store) and ``approval_answer``. Each try is a new request. Returns ``ApprovalReceipt``.
    """

    template_fields: Sequence[str] = ("model", "ticket", "role")
    ui_color = "#ffe599"

    def __init__(self, *, model: str, ticket: Any, role: str, response_timeout: timedelta, **arguments: Any) -> None:
        fixed: dict[str, Any] = {"subject": "Approve this release?", "params": {"comment": COMMENT_FIELD}}
        super().__init__(**{**arguments, **fixed}, response_timeout=response_timeout)  # not the run's form
        self.timeout = response_timeout
        self.model = model
        self.ticket = ticket
        self.role = role

    def execute(self, context: Context) -> NoReturn:
        ports = installation.open_ports()
        ticket = checked_ticket(self.ticket, self.model, ports, context)
        facts = form_facts.gather_facts(ticket, ports, context)
        approval = facts.spec.deployment.approval
        if reasons := missing_approvers(approval, facts.authors):
            raise Refused(f"nobody can approve version {ticket.version} of {self.model}", reasons)
        if not ticket.first and not ticket.is_live:
            rollout = Rollout(ports, ticket)
            rollout.renew_idle_lease(rollout.running_state())
        role_users = next(approver.users for approver in approval.approvers if approver.role == self.role)
        users = [user for user in role_users if user not in facts.authors]
        for user, why in (hitl.unable_users(users) or {}).items():
            log.warning("%s %s", user, why)
        headline, text = subject(facts, self.role), form(facts, approval.timeout)
        hitl.show_request(
            context, subject=headline, body=text, users=users, options=self.options, params=self.serialized_params
        )
        line = self._record_request(context, ports, ticket, text, users)
        self.log.info("%s\n%s may answer until %s", headline, " or ".join(users), line.details["until"])
        raise TaskAwaitingInput(method_name="execute_complete", kwargs={"request": line.digest}, timeout=self.timeout)

    def execute_complete(self, context: Context, event: dict[str, Any], request: str = "") -> dict[str, Any]:
        """Called with the answer or after the timeout; ``request`` (a stored name) is the request's ledger digest."""
        if event.get("error_type") != "timeout":
            super(ApprovalOperator, self).execute_complete(context, event)  # its own skips count_approvals on reject
        ports = installation.open_ports()
        request_line = _request_line(ports, self.model, request)
        answer = read_answer(event, request_line, ports)
        details, actor = answer.model_dump(mode="json", exclude={"schema_"}), answer.person or ports.settings.actor
        key = f"{request_line.key}/answer"
        line = ports.ledger.append("approval_answer", self.model, request_line.version, details, actor=actor, key=key)
        self.log.info("%s: %s by %s", self.role, answer.choice, answer.person or "nobody")
        receipt = ApprovalReceipt(line=line.digest, role=self.role, choice=answer.choice, person=answer.person)
        return receipt.model_dump(mode="json", by_alias=True)

    def _record_request(
        self, context: Context, ports: Ports, ticket: RolloutTicket, text: str, users: Sequence[str]
    ) -> LedgerEntry:
        digest, ti = hashlib.sha256(text.encode()).hexdigest(), context["ti"]
        ports.store.put(store_paths.approval_form(self.model, digest), text.encode())
        details = {
            "role": self.role,
            "slot": ti.map_index,
            "users": list(users),
            "until": (ports.clock() + self.timeout).isoformat(),
            **ticket.model_dump(mode="json", include={"rollout_id", "model_digest", "sha256"}),
            "form": digest,
        }
        key = f"{run_context.run_key(context)}/{ti.task_id}/{ti.map_index}/{ti.try_number}"
        actor = ports.settings.actor
        return ports.ledger.append("approval_request", self.model, ticket.version, details, actor=actor, key=key)


def read_answer(event: dict[str, Any], request: LedgerEntry, ports: Ports) -> ApprovalAnswer:
    """The answer in Airflow's event with fields of its request; without a choice it is ``expired``.

    A person is known by the log-in name where the request names it, else by Airflow's id: FAB numbers its users.
    """
    user, chosen = event.get("responded_by_user") or {}, event.get("chosen_options") or [""]
    person = user.get("name") if user.get("name") in request.details.get("users", ()) else user.get("id")
    fields = {
        "choice": CHOICE_BY_ANSWER.get(chosen[0], "expired"),
        "person": person,
        "name": user.get("name"),
        "at": event.get("responded_at") or ports.clock(),
        "request": request.digest,
        "comment": (event.get("params_input") or {}).get("comment") or "",
    }
    return ApprovalAnswer.model_validate({name: request.details[name] for name in COPIED_REQUEST_FIELDS} | fields)


def _request_line(ports: Ports, model: str, digest: str) -> LedgerEntry:
    requests = [line for line in ports.ledger.entries(model=model, kind="approval_request") if line.digest == digest]
    if not requests:
        raise Refused(f"the ledger has no approval request {digest[:16]}", ["clear this task to send a new request"])
    return requests[0]
