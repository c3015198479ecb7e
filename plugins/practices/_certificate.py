"""What a model version's certificate says so far: which gates spoke on this very model file, and what was approved."""

from __future__ import annotations

from pipelines.messages import BundleResult
from pipelines.ports import Ports
from pipelines.rollout_messages import RolloutTicket

REQUIRED_GATES = ("minimum_metrics_gate", "champion_comparison_gate", "slice_gate")


def certificates(subject: BundleResult | RolloutTicket, ports: Ports) -> tuple[dict[str, str], str | None]:
    """The last word of each gate on this very model file, and the model digest that was approved last."""
    lines = ports.ledger.entries(model=subject.model, version=subject.version)
    gates = [line.details for line in lines if line.kind == "gate"]
    spoken = {d["gate"]: d["outcome"] for d in gates if d.get("model_digest") == subject.model_digest}
    approvals = [line.details["model_digest"] for line in lines if line.kind == "approval"]
    return spoken, approvals[-1] if approvals else None


def waiting(ports: Ports, model: str) -> list[str]:
    """Approved versions that were never live; one that was rolled back waits for nobody."""
    released = {line.version for line in ports.ledger.entries(model=model, kind="release")}
    approved = [v.version for v in ports.registry.versions(model) if v.tags.get("airworthy.status") == "approved"]
    return [version for version in approved if version not in released]
