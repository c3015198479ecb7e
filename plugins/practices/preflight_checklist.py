"""Checks eleven items before a version is deployed, and writes the ticket that identifies it for all later tasks."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.ledger.version_state import State, read_versions, versions_in
from pipelines.messages.release import BundleInspection, BundleRequest, BundleResult, InspectionRequest, LiveState
from pipelines.messages.rollout import RolloutTicket
from pipelines.ports import Ports
from pipelines.rules.preflight_checklist import judge_checklist
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict
from pipelines.versions.reading import read_standing, versions_to_deploy
from practices._approvals.release_standing import release_standing
from practices._connections import installation
from practices._operators import run_context, step_runner
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict
from practices._operators.recorded_digests import recorded_digests

ROLLOUT_NAMESPACE = UUID("6f1f4d1c-6f0e-4b43-9d4c-3c3f6b6a2d10")
"""UUID namespace of rollout ids, the same in every installation."""


class PreflightChecklist(ModelPractice):
    """Build the bundle of an approved version, inspect it, check the checklist and write the run's ticket.

    The version comes from the form or the approval that started the run, else it is the newest approved one that is not
    live and was not taken back from callers. A version with failing items is refused, with all
    of them listed, before anything is loaded. The checklist is in the log, on the ledger and in the XCom ``checklist``.
    Skipped if exactly this bundle is live and its release is on the ledger. Returns the ``RolloutTicket``.
    """

    ui_color = "#cfe2f3"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        spec, runner = ports.catalog.model(self.model), ports.catalog.model(self.model).stage_runner("deploy")
        version = version_to_deploy(ports, self.model, context)
        digests = recorded_digests(self.model, version, ports)
        request = BundleRequest(model=self.model, version=version, digests=digests)
        bundle = step_runner.run_step("build_bundle", request, BundleResult, runner=runner)
        live = ports.target(self.model).state(self.model)
        _skip_if_live(bundle, live, spec, ports)
        inspect = InspectionRequest(bundle=bundle, champion=live.version, digests=digests)
        inspection = step_runner.run_step("inspect_release", inspect, BundleInspection, runner=runner)
        standing = release_standing(bundle, live, spec, ports, context)
        verdict = judge_checklist(inspection, standing, spec, REQUIRED_GATES)
        self._record_checklist(verdict, bundle, ports, context)
        ticket = RolloutTicket(
            champion=live.version,
            rollout_id=rollout_id(context, self.model),
            bundle=bundle.uri,
            **bundle.model_dump(include={"model", "version", "sha256", "model_digest"}),
        )
        return ticket.model_dump(mode="json", by_alias=True)

    def _record_checklist(self, verdict: Verdict, bundle: BundleResult, ports: Ports, context: Context) -> None:
        """Write the checklist to log and XCom, then record the verdict: ``Refused`` unless it is PASS."""
        lines: Any = verdict.facts["checklist"]
        separator = "\n" + " " * 28
        rows = [f"{line['item']:<18} {line['result']:<8} {separator.join(line['why'])}" for line in lines]
        self.log.info("checklist of version %s\n%s", bundle.version, "\n".join(rows))
        context["ti"].xcom_push(key="checklist", value=lines)
        record_verdict(
            verdict,
            subject=f"the preflight of {self.model} version {bundle.version}",
            ledger_kind="gate",
            model=self.model,
            version=bundle.version,
            ports=ports,
            context=context,
            details={"gate": "preflight_checklist", "model_digest": bundle.model_digest, "bundle": bundle.sha256},
        )


def rollout_id(context: Any, model: str) -> str:
    """The rollout's id: equal for all tries of all tasks of a run, different after the run was cleared."""
    run, clears = context["dag_run"], run_context.clear_count(context)
    return str(uuid5(ROLLOUT_NAMESPACE, f"{model}|{run.dag_id}|{run.run_id}|{clears}"))


def version_to_deploy(ports: Ports, model: str, context: Any) -> str:
    """The version of the form, else the newest of the events of this run and of the approved versions that wait.

    A run by hand also takes up a version whose deployment failed before any traffic.
    """
    approved, known = f"{model}:approved", read_versions(ports.ledger.entries(model))
    by_hand = not run_context.event_extras(context, approved)
    taken_back = [f"version {known[one].version} is {known[one].text}" for one in versions_in(known, State.ROLLED_BACK)]
    return run_context.version(context, approved, versions_to_deploy(ports, model, by_hand=by_hand), taken_back)


def _skip_if_live(bundle: BundleResult, live: LiveState, spec: ModelSpec, ports: Ports) -> None:
    """Skip if this bundle is live and recorded; ``Refused`` for a rollout of the champion against itself."""
    if live.version != bundle.version:
        return
    released = [line.details for line in ports.ledger.entries(bundle.model, bundle.version, "release")]
    recorded = bool(released) and released[-1].get("sha256") == live.bundle_sha256
    if live.bundle_sha256 == bundle.sha256 and recorded:
        is_live = f"version {bundle.version} of {bundle.model} is live already with this bundle"
        raise AirflowSkipException("; ".join([is_live, *read_standing(ports, bundle.model).disagreements]))
    if spec.deployment.tries_candidates:
        reasons = ["its release is not on the ledger, or its bundle has changed since (other library versions)"]
        reasons.append("clear the task that switched traffic, or approve and deploy another version")
        raise Refused(f"version {bundle.version} of {bundle.model} is live: it cannot be its own candidate", reasons)
