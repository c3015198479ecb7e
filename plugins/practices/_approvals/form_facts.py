"""Gathers what an approval form shows from registry, ledger, store and declarations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.ledger.approval_form import FormFacts
from pipelines.messages.rollout import RolloutTicket
from pipelines.messages.training import SnapshotResult
from pipelines.ports import LedgerEntry, Ports

OUR_OWN = ("approval_request", "approval_answer", "approval_quorum")


def authors(ticket: RolloutTicket, ports: Ports, context: Any) -> list[str]:
    """Who may not approve: whoever started the training of this version, and whoever started this run, by name."""
    trainings = ports.ledger.entries(model=ticket.model, version=ticket.version, kind="training")
    tags = ports.registry.get(ticket.model, ticket.version).tags
    found = {line.details.get("requested_by") for line in trainings}
    found |= {tags.get("airworthy.requested_by"), getattr(context["dag_run"], "triggering_user_name", None)}
    return sorted(str(name) for name in found if name and name != ports.settings.actor)


def gather(ticket: RolloutTicket, ports: Ports, context: Any) -> FormFacts:
    """What registry, ledger, store and declaration hold of this candidate and of this run."""
    registry = ports.registry
    candidate = registry.get(ticket.model, ticket.version)
    return FormFacts(
        ticket=ticket,
        spec=ports.catalog.model(ticket.model),
        candidate=candidate,
        champion=registry.get(ticket.model, ticket.champion) if ticket.champion else None,
        lines=_about(ticket, ports),
        run_verdicts=_verdicts(context, ticket, ports),
        snapshot=_snapshot(ticket.model, candidate.tags.get("airworthy.snapshot"), ports),
        authors=authors(ticket, ports, context),
        links=_links(ticket, ports, context),
    )


def _about(ticket: RolloutTicket, ports: Ports) -> list[LedgerEntry]:
    """Lines of this version; of the gates only those about this very model file."""
    lines = ports.ledger.entries(model=ticket.model, version=ticket.version)
    return [line for line in lines if line.details.get("model_digest") in (None, ticket.model_digest)]


def _verdicts(context: Any, ticket: RolloutTicket, ports: Ports) -> dict[str, LedgerEntry]:
    """Newest verdict of each earlier task of this run, by task: a line's key is DAG, run, task, and so on."""
    run = f"{context['dag_run'].dag_id}/{context['dag_run'].run_id}/"
    lines = ports.ledger.entries(model=ticket.model, version=ticket.version)
    mine = [line for line in lines if line.key and line.key.startswith(run) and "outcome" in line.details]
    return {str(line.key).removeprefix(run).split("/")[0]: line for line in mine if line.kind not in OUR_OWN}


def _snapshot(model: str, digest: str | None, ports: Ports) -> SnapshotResult | None:
    try:
        return SnapshotResult.model_validate_json(
            ports.store.get(store_paths.snapshot(model, digest or "", "snapshot.json"))
        )
    except (Refused, ValueError):
        return None


def _links(ticket: RolloutTicket, ports: Ports, context: Any) -> Mapping[str, str]:
    from airflow.sdk.configuration import conf

    run = context["dag_run"]
    base = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
    found = {"the run": f"{base}/dags/{run.dag_id}/runs/{run.run_id}"}
    if ports.settings.tracking.startswith("http"):
        tracking = ports.settings.tracking.rstrip("/")
        found["MLflow"] = f"{tracking}/#/models/{ticket.model}/versions/{ticket.version}"
    return found
