"""Reads from the ledger which gates and stages passed for this model file and bundle, and what was approved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from pipelines.ledger.required_evidence import analysis_stage_name, is_about_model, required_stages
from pipelines.ledger.seals import SEAL_KIND, read_seals, sealed_evidence
from pipelines.messages.rollout import RolloutTicket
from pipelines.ports import Ports
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome


class TrainedFile(NamedTuple):
    """A version by the digest of the file that was trained."""

    model: str
    version: str
    model_digest: str


class ModelFile(Protocol):
    """One version of a model and the digest of its file: a bundle, a ticket, a registered version."""

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def model_digest(self) -> str: ...


def gate_outcomes(subject: ModelFile, ports: Ports) -> tuple[dict[str, str], str | None]:
    """The last outcome of each gate for exactly this model file, and the model digest that was approved last.

    Nothing for a version with a line in a sealed stretch of the ledger.
    """
    if sealed_lines(subject, ports):
        return {}, None
    lines = ports.ledger.entries(model=subject.model, version=subject.version)
    trained = next((line.details for line in reversed(lines) if line.kind == "training"), {})
    snapshot, judged = trained.get("snapshot"), trained.get("judged_digest")
    gates = [line.details for line in lines if line.kind == "gate"]
    own_gates = [details for details in gates if is_about_model(details, subject.model_digest, snapshot, judged)]
    approvals = [line.details["model_digest"] for line in lines if line.kind == "approval"]
    return {d["gate"]: d["outcome"] for d in own_gates}, approvals[-1] if approvals else None


def sealed_lines(subject: ModelFile, ports: Ports) -> list[str]:
    """One text for each line of this version that lies in a sealed stretch of the ledger and proves nothing."""
    return sealed_evidence(subject.model, subject.version, read_seals(ports.ledger.entries(kind=SEAL_KIND)))


def stage_outcomes(ticket: RolloutTicket, spec: ModelSpec, ports: Ports) -> dict[str, str | None]:
    """The last outcome of each required stage of this rollout for exactly this bundle; None: no verdict yet."""
    lines = [
        line.details
        for line in ports.ledger.entries(model=ticket.model, version=ticket.version)
        if line.kind in ("rollout", "approval_quorum") and is_of_rollout(line.details, ticket)
    ]
    if sealed_lines(ticket, ports):
        lines = []
    outcomes: dict[str, str] = {}
    for line in lines:
        practice = line.get("practice", "approval_quorum")
        stage = analysis_stage_name(line["share"]) if practice == "rollout_analysis" and "share" in line else practice
        outcomes[stage] = str(line.get("outcome"))
    return {stage: outcomes.get(stage) for stage in required_stages(spec, first=ticket.first)}


def missing_evidence(ticket: RolloutTicket, spec: ModelSpec, ports: Ports, stage: str) -> list[str]:
    """Stages that must have passed before ``stage`` but have no PASS on the ledger.

    The order of the tasks proves nothing: a person may have marked a task as success.
    """
    missing = []
    for name, outcome in stage_outcomes(ticket, spec, ports).items():
        if name == stage:
            break
        if outcome != Outcome.PASS.value:
            missing.append(f"{name} said {outcome}" if outcome else f"{name} has no verdict on this bundle in this run")
    return missing


def is_of_rollout(details: Mapping[str, Any], ticket: RolloutTicket) -> bool:
    """Whether a ledger line is about this bundle and model in this rollout."""
    names = ticket.model_dump(include={"rollout_id", "sha256", "model_digest"})
    return all(details.get(name) == value for name, value in names.items())
