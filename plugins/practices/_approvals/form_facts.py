"""Collects the facts of an approval form from registry, ledger, store and declarations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.ledger.approval_form import FormFacts
from pipelines.messages.rollout import RolloutTicket
from pipelines.messages.training import SnapshotResult
from pipelines.ports import LedgerEntry, Ports
from practices._operators import links

APPROVAL_KINDS = ("approval_request", "approval_answer", "approval_quorum")


def find_authors(model: str, version: str, ports: Ports, context: Any) -> list[str]:
    """Users who may not approve: those who started the training of this version or this run, by name."""
    trainings = ports.ledger.entries(model=model, version=version, kind="training")
    tags = ports.registry.get(model, version).tags
    people = {line.details.get("requested_by") for line in trainings}
    people |= {tags.get("airworthy.requested_by"), getattr(context["dag_run"], "triggering_user_name", None)}
    return sorted(str(name) for name in people if name and name != ports.settings.actor)


def gather_facts(ticket: RolloutTicket, ports: Ports, context: Any) -> FormFacts:
    """Facts about this candidate and this run."""
    registry = ports.registry
    candidate = registry.get(ticket.model, ticket.version)
    return FormFacts(
        ticket=ticket,
        spec=ports.catalog.model(ticket.model),
        candidate=candidate,
        champion=registry.get(ticket.model, ticket.champion) if ticket.champion else None,
        lines=_version_lines(ticket, ports),
        run_verdicts=_verdicts(context, ticket, ports),
        snapshot=_snapshot(ticket.model, candidate.tags.get("airworthy.snapshot"), ports),
        authors=find_authors(ticket.model, ticket.version, ports, context),
        links=_links(ticket, ports, context),
    )


def _version_lines(ticket: RolloutTicket, ports: Ports) -> list[LedgerEntry]:
    """Ledger lines of this version; of the gates only those about exactly this model file."""
    lines = ports.ledger.entries(model=ticket.model, version=ticket.version)
    return [line for line in lines if line.details.get("model_digest") in (None, ticket.model_digest)]


def _verdicts(context: Any, ticket: RolloutTicket, ports: Ports) -> dict[str, LedgerEntry]:
    """Newest verdict of each earlier task of this run, by task id, the third part of a line's key."""
    run = f"{context['dag_run'].dag_id}/{context['dag_run'].run_id}/"
    lines = ports.ledger.entries(model=ticket.model, version=ticket.version)
    verdicts = [line for line in lines if line.key and line.key.startswith(run) and "outcome" in line.details]
    return {str(line.key).removeprefix(run).split("/")[0]: line for line in verdicts if line.kind not in APPROVAL_KINDS}


def _snapshot(model: str, digest: str | None, ports: Ports) -> SnapshotResult | None:
    try:
        return SnapshotResult.model_validate_json(
            ports.store.get(store_paths.snapshot(model, digest or "", "snapshot.json"))
        )
    except (Refused, ValueError):
        return None


def _links(ticket: RolloutTicket, ports: Ports, context: Any) -> Mapping[str, str]:
    run, tracking = context["dag_run"], ports.settings.tracking
    addresses = {
        "the run": links.run_page(run.dag_id, run.run_id),
        "MLflow": links.mlflow_page(tracking, "models", ticket.model, "versions", ticket.version),
        "pictures": links.stored_page(store_paths.rollout(ticket.model, ticket.rollout_id, "")),
    }
    return {name: address for name, address in addresses.items() if address}
