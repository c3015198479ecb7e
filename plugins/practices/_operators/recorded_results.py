"""Compares what an earlier task returned with the run's lines on the ledger: any user of Airflow can edit an XCom."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar
from uuid import UUID, uuid5

from pydantic import ValidationError

from pipelines.errors import Refused
from pipelines.ledger.seals import SEAL_KIND, read_seals, seal_of
from pipelines.messages.approval import ApprovalReceipt
from pipelines.messages.evaluation import EvaluateResult
from pipelines.messages.message import Message
from pipelines.messages.rollout import RolloutTicket
from pipelines.messages.training import SnapshotResult
from pipelines.ports import LedgerEntry, Ports
from pipelines.spec.fault_text import fault_texts
from pipelines.verdict import Outcome
from practices._operators import run_context

Result = TypeVar("Result", bound=Message)
ROLLOUT_NAMESPACE = UUID("6f1f4d1c-6f0e-4b43-9d4c-3c3f6b6a2d10")
"""UUID namespace of rollout ids, the same in every installation."""


def result_digest(result: Message) -> str:
    """sha256 of what a task returns; equal after the way through an XCom, and for a release with more fields."""
    fields = result.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def rollout_id(model: str, run: str, clears: int) -> str:
    """The rollout's id: equal for all tries of all tasks of a run, different after the run was cleared."""
    return str(uuid5(ROLLOUT_NAMESPACE, f"{model}|{run.replace('/', '|', 1)}|{clears}"))


def recorded_ticket(model: str, ports: Ports, context: Any) -> RolloutTicket:
    """The ticket that passed the preflight checklist of this run, by the ledger alone.

    Lines from before 0.2.0 do not name the address of the bundle, which is then empty; its digest they have.
    """
    line = _newest_line(model, "gate", ports, context, gate="preflight_checklist")
    return RolloutTicket.model_validate(line.details.get("ticket") or _ticket_before_0_2(line, context))


def checked_ticket(value: Any, model: str, ports: Ports, context: Any) -> RolloutTicket:
    """The ticket that ``check_release`` returned. ``Refused`` unless it is the one that passed the checklist."""
    returned, recorded = _parse(RolloutTicket, value), recorded_ticket(model, ports, context)
    recorded = recorded if recorded.bundle else recorded.model_copy(update={"bundle": returned.bundle})
    names = [name for name in RolloutTicket.model_fields if getattr(returned, name) != getattr(recorded, name)]
    if names:
        reasons = [f"{name} is {getattr(returned, name)}, checked was {getattr(recorded, name)}" for name in names]
        subject = f"the ticket of this run is not the one that passed the checklist of {model}"
        raise Refused(subject, [*reasons, f"its XCom was edited: trigger {model}__deploy again"])
    return recorded


def unchecked_ticket(value: Any) -> RolloutTicket:
    """The ticket as it travels, for what can only take traffic from a candidate."""
    return _parse(RolloutTicket, value)


def checked_evaluation(value: Any, model: str, ports: Ports, context: Any) -> EvaluateResult:
    """The numbers that ``measure_candidate`` returned. ``Refused`` unless they are those that the ledger has."""
    returned = _parse(EvaluateResult, value)
    line = _newest_line(model, "gate", ports, context, gate="candidate_evaluation")
    if line.details.get("evaluation") != result_digest(returned) or line.version != returned.version:
        reason = f"line {line.number} is about other numbers or another version than {returned.version}"
        raise Refused(f"the numbers of this run are not those that were measured for {model}", [reason, _again()])
    return returned


def checked_snapshot(value: Any, model: str, ports: Ports, context: Any) -> SnapshotResult:
    """The snapshot that ``take_snapshot`` returned. ``Refused`` unless it is the one that was judged."""
    returned = _parse(SnapshotResult, value)
    line = _newest_line(model, "data_verdict", ports, context)
    if line.details.get("snapshot") != returned.digest:
        reason = f"it is {returned.digest}, line {line.number} is about {line.details.get('snapshot')}"
        raise Refused(f"the snapshot of this run is not the one that was judged for {model}", [reason, _again()])
    history = None if returned.history is None else returned.history.model_dump(mode="json")
    if line.details.get("history") != history:
        reason = f"line {line.number} has chosen {line.details.get('history')}, the XCom says {history}"
        raise Refused(f"the history of this run is not the one that was chosen for {model}", [reason, _again()])
    return returned


def parsed_receipt(value: Any) -> ApprovalReceipt:
    """A receipt as a request returned it; what it names is looked up on the ledger."""
    return _parse(ApprovalReceipt, value)


def _newest_line(model: str, kind: str, ports: Ports, context: Any, **details: str) -> LedgerEntry:
    """The newest such line of this run. ``Refused`` if there is none, if it is no PASS, or if a repair sealed it."""
    what = details.get("gate", kind).replace("_", " ")
    run = run_context.run_key(context)
    lines = [
        line
        for line in ports.ledger.entries(model=model, kind=kind)
        if (line.key or "").startswith(f"{run}/") and details.items() <= line.details.items()
    ]
    if not lines:
        reasons = [f"no {what} of run {run} is on it", "clear that task: marking it as success does not do its work"]
        raise Refused(f"the ledger does not know what this run of {model} may use", reasons)
    newest = lines[-1]
    if newest.details.get("outcome") != Outcome.PASS.value:
        raise Refused(f"the {what} of this run said {newest.details.get('outcome')}", [f"line {newest.number}"])
    if seal := seal_of(newest, read_seals(ports.ledger.entries(kind=SEAL_KIND))):
        raise Refused(f"the {what} of this run proves nothing", [str(seal), "trigger the DAG again"])
    return newest


def _ticket_before_0_2(line: LedgerEntry, context: Any) -> dict[str, Any]:
    """The same from a line that has no ticket yet; the number of clearings is the third part of its key."""
    run, details = run_context.run_key(context), line.details
    _, _, clears, *_ = str(line.key).removeprefix(f"{run}/").split("/")
    try:
        named = {"champion": details["facts"]["champion"], "sha256": details["bundle"]}
    except KeyError as error:
        reason = f"line {line.number} names neither a ticket nor its {error}; trigger {line.model}__deploy again"
        raise Refused(
            f"the checklist of this run does not say what of {line.model} may be deployed", [reason]
        ) from error
    return {
        "model": line.model,
        "version": line.version,
        "rollout_id": rollout_id(line.model, run, int(clears)),
        "bundle": "",
        "model_digest": details["model_digest"],
        **named,
    }


def _parse(message: type[Result], value: Any) -> Result:
    """What an earlier task of the run returned. ``Refused`` if it returned nothing, so that it was not executed."""
    if value is None:
        hint = "clear that task: marking it as success does not do its work"
        raise Refused(f"the task before this one left no {message.__name__}", [hint])
    try:
        return message.model_validate(value)
    except ValidationError as error:
        subject = f"the XCom of the task before this one is no {message.__name__}"
        raise Refused(subject, [*fault_texts(error, "(whole result)"), _again()]) from error


def _again() -> str:
    return "if its XCom was edited, or an earlier version wrote it, clear the task that returned it"
