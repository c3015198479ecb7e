"""Approves a candidate and numbers it by what changed since the highest version approved before."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.errors import Refused
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.ports import LedgerEntry, Ports
from pipelines.rules.semantic_versioning import (
    VersionChange,
    VersionFacts,
    compare_versions,
    missing_gates,
    next_version,
    version_facts,
)
from pipelines.versions.recorded_digests import recorded_digests
from pipelines.versions.records import update_status
from practices._connections import installation
from practices._operators import run_context
from practices._operators.defaults import asset
from practices._operators.model import CandidatePractice
from practices._rollouts.recorded_evidence import TrainedFile, gate_outcomes


class SemanticVersioning(CandidatePractice):
    """Approve a candidate and give it its semantic version, if every gate passed for exactly this model file.

    The ledger decides and not the state of the gates' tasks, which a person may have marked as success.
    The number follows the highest approved one, by the differences of what was declared when each was trained. A
    version that was approved before keeps its number. Sets the tags ``airworthy.semantic_version`` and
    ``airworthy.status``, writes the approval to the ledger, and emits ``<model>:approved``. Returns the approval.
    """

    ui_color = "#d9d2e9"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        version = self.measured(ports, context).version
        digest = recorded_digests(self.model, version, ports).model_digest
        gates, _ = gate_outcomes(TrainedFile(self.model, version, digest), ports)
        if missing := missing_gates(gates, REQUIRED_GATES):
            hint = "clear these tasks, or train another candidate: marking a gate as success passes nothing"
            raise Refused(f"version {version} of {self.model} is not approved", [*missing, hint])
        approval = version_details(ports, self.model, version) | {"model_digest": digest}
        actor, key = run_context.actor(context, ports.settings.actor), run_context.action_key(context, version)
        line = ports.ledger.append("approval", self.model, version, approval, actor=actor, key=key)
        tag = {"airworthy.semantic_version": approval["semantic_version"]}
        ports.registry.set_tags(self.model, version, tag)
        update_status(ports, line)
        self.log.info("%s version %s is approved as %s", self.model, version, approval["semantic_version"])
        context["outlet_events"][asset(self.model, "approved")].extra = {"version": version, **approval}
        return {"version": version, **approval}


def version_details(ports: Ports, model: str, version: str) -> dict[str, Any]:
    """``semantic_version``, the version that it ``follows`` and the ``changes`` between both."""
    approvals = ports.ledger.entries(model=model, kind="approval")
    own = [entry for entry in approvals if entry.version == version]
    if own:
        return {name: own[-1].details[name] for name in ("semantic_version", "follows", "changes")}
    last = max(approvals, key=_version_parts, default=None)
    changes = _changes(ports, model, version, last) if last else []
    follows = last.details["semantic_version"] if last else None
    return {
        "semantic_version": next_version(follows, changes),
        "follows": follows,
        "changes": [f"{change.level}: {change.what}" for change in changes],
    }


def _version_parts(approval: LedgerEntry) -> list[int]:
    return [int(part) for part in approval.details["semantic_version"].split(".")]


def _changes(ports: Ports, model: str, version: str, last: LedgerEntry) -> list[VersionChange]:
    return compare_versions(_declared_facts(ports, model, last.version), _declared_facts(ports, model, version))


def _declared_facts(ports: Ports, model: str, version: str | None) -> VersionFacts:
    """What was declared when a version was trained; without a record of its training, what is declared now."""
    trainings = ports.ledger.entries(model=model, version=version, kind="training")
    if trainings and "declared" in trainings[-1].details:
        return VersionFacts.model_validate(trainings[-1].details["declared"])
    return version_facts(ports.catalog.model(model), ports.catalog.view_of(model))
