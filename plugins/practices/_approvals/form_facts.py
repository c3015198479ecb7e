"""Collects the facts of an approval form from registry, ledger, store and declarations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.ledger.approval_form import FormFacts
from pipelines.ledger.recorded_facts import semantic_versions, test_metrics
from pipelines.ledger.trained_facts import TrainedFacts, snapshot_digest
from pipelines.messages.rollout import RolloutTicket
from pipelines.messages.training import SnapshotResult
from pipelines.ports import LedgerEntry, Ports, VersionInfo
from pipelines.rules.semantic_versioning import VersionFacts, compare_versions
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
    candidate = _with_semantic(ports.registry.get(ticket.model, ticket.version), ports)
    champion = _registered(ticket.model, ticket.champion, ports) if ticket.champion else None
    trained = _trained_facts(candidate, ports)
    live_trained = _trained_facts(champion, ports) if champion else TrainedFacts()
    return FormFacts(
        ticket=ticket,
        spec=ports.catalog.model(ticket.model),
        candidate=candidate,
        champion=champion,
        lines=_version_lines(ticket, ports),
        run_verdicts=_verdicts(context, ticket, ports),
        trained=trained,
        live_trained=live_trained,
        live_metrics=test_metrics(ports.ledger.entries(ticket.model, ticket.champion, "gate")).get(
            ticket.champion or "", {}
        ),
        changes=_declared_changes(trained, live_trained),
        authors=find_authors(ticket.model, ticket.version, ports, context),
        links=_links(ticket, ports, context),
    )


def _registered(model: str, version: str, ports: Ports) -> VersionInfo:
    """A version as the registry has it; the live one is what the target says, also if somebody deleted it there."""
    try:
        return _with_semantic(ports.registry.get(model, version), ports)
    except Refused:
        return _with_semantic(VersionInfo(model=model, version=version, run_id="", source=""), ports)


def _with_semantic(info: VersionInfo, ports: Ports) -> VersionInfo:
    """The same with the number of its approval on the ledger."""
    numbers = semantic_versions(ports.ledger.entries(info.model, info.version, "approval"))
    return info.model_copy(update={"semantic": numbers.get(info.version)})


def _trained_facts(info: VersionInfo, ports: Ports) -> TrainedFacts:
    lines = ports.ledger.entries(model=info.model, version=info.version, kind="training")
    details = lines[-1].details if lines else {}
    data = _snapshot(info.model, snapshot_digest(details, info.tags), ports)
    return TrainedFacts.of(details, info.tags, data)


def _declared_changes(trained: TrainedFacts, live: TrainedFacts) -> list[str] | None:
    """Differences of what was declared for the two trainings; None if it is not on record of one."""
    try:
        before, now = (VersionFacts.model_validate(facts.declared) for facts in (live, trained))
    except ValueError:
        return None
    return [f"{change.level}: {change.what}" for change in compare_versions(before, now)]


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
