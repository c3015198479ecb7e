"""What a model version's certificate says so far: which gates spoke on this very model file, and what was approved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.messages.release import BundleResult
from pipelines.messages.rollout import RolloutTicket
from pipelines.ports import Ports
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome

REQUIRED_GATES = ("minimum_metrics_gate", "champion_comparison_gate", "slice_gate")


def certificates(subject: BundleResult | RolloutTicket, ports: Ports) -> tuple[dict[str, str], str | None]:
    """The last word of each gate on this very model file, and the model digest that was approved last."""
    lines = ports.ledger.entries(model=subject.model, version=subject.version)
    gates = [line.details for line in lines if line.kind == "gate"]
    spoken = {d["gate"]: d["outcome"] for d in gates if d.get("model_digest") == subject.model_digest}
    approvals = [line.details["model_digest"] for line in lines if line.kind == "approval"]
    return spoken, approvals[-1] if approvals else None


def stages(ticket: RolloutTicket, spec: ModelSpec, ports: Ports) -> dict[str, str | None]:
    """The last word of each stage that the declaration demands of this rollout, on this very bundle."""
    lines = [
        line.details
        for line in ports.ledger.entries(model=ticket.model, version=ticket.version)
        if line.kind in ("rollout", "approval_quorum") and is_about(line.details, ticket)
    ]
    spoken: dict[str, str] = {}
    for line in lines:
        practice = line.get("practice", "approval_quorum")
        stage = analysis_at(line["share"]) if practice == "rollout_analysis" and "share" in line else practice
        spoken[stage] = str(line.get("outcome"))
    return {stage: spoken.get(stage) for stage in demanded(spec, first=ticket.first)}


def unproved(ticket: RolloutTicket, spec: ModelSpec, ports: Ports, stage: str) -> list[str]:
    """Every stage that must have passed before this one, and of which the ledger does not say so.

    The order of the tasks is no proof: somebody may have marked one green.
    """
    found = []
    for name, outcome in stages(ticket, spec, ports).items():
        if name == stage:
            break
        if outcome != Outcome.PASS.value:
            found.append(f"{name} said {outcome}" if outcome else f"{name} has no verdict on this bundle in this run")
    return found


def analysis_at(share: int) -> str:
    """The stage that judges this share (basis points)."""
    return f"rollout_analysis at {share / 100:g} %"


def is_about(details: Mapping[str, Any], ticket: RolloutTicket) -> bool:
    """Whether a ledger line is about this bundle, of this model, in this run."""
    wanted = ticket.model_dump(include={"rollout_id", "sha256", "model_digest"})
    return all(details.get(name) == value for name, value in wanted.items())


def demanded(spec: ModelSpec, *, first: bool) -> list[str]:
    """The stages without which no version of this model is promoted; the first one has nothing to be compared with."""
    declared = spec.deployment
    found = ["approval_quorum"] if declared.approval.requires_approval else []
    if first or not declared.staged:
        return found
    found += ["load_test"] if declared.load_test is not None else []
    found += ["shadow_comparison"] if declared.shadows is not None else []
    if declared.strategy in ("canary", "blue_green"):
        found += [analysis_at(share) for share in declared.shares()]
    return [*found, "ab_test"] if declared.strategy == "ab" else found


def waiting(ports: Ports, model: str) -> list[str]:
    """Approved versions that were never live; one that was rolled back waits for nobody."""
    released = {line.version for line in ports.ledger.entries(model=model, kind="release")}
    approved = [v.version for v in ports.registry.versions(model) if v.tags.get("airworthy.status") == "approved"]
    return [version for version in approved if version not in released]
