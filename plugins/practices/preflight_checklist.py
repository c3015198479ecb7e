"""Checks eleven items before a version is deployed, and writes the ticket that identifies it for all later tasks."""

from __future__ import annotations

from typing import Any, cast

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.ledger.recorded_facts import semantic_versions
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.ledger.version_state import State, read_versions, versions_in
from pipelines.messages.release import BundleInspection, BundleRequest, BundleResult, InspectionRequest, LiveState
from pipelines.messages.rollout import RolloutTicket
from pipelines.messages.training import ModelDigests
from pipelines.ports import Ports
from pipelines.rules.preflight_checklist import judge_checklist, judge_evidence
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict
from pipelines.versions.reading import read_standing, versions_to_deploy
from pipelines.versions.recorded_digests import judged_model, recorded_digests
from practices._approvals.release_standing import release_standing
from practices._connections import installation
from practices._operators import run_context, step_runner
from practices._operators.model import ModelPractice
from practices._operators.record_verdict import record_verdict
from practices._operators.recorded_results import result_digest, rollout_id
from practices._rollouts.recorded_evidence import TrainedFile


class PreflightChecklist(ModelPractice):
    """Build the bundle of an approved version, inspect it, check the checklist and write the run's ticket.

    The version comes from the form or the approval that started the run, else it is the newest approved one that is not
    live and was not taken back from callers. Gates and approval are read from the ledger first: nothing of a version
    that lacks one is loaded. A version with failing items is refused, with all of them listed. The checklist is in the
    log, on the ledger (with the ticket) and in the XCom ``checklist``. Skipped if exactly this bundle is live and its
    release is on the ledger. Returns the ``RolloutTicket``.
    """

    ui_color = "#cfe2f3"

    def execute(self, context: Context) -> dict[str, Any]:
        ports = installation.open_ports()
        spec, runner = ports.catalog.model(self.model), ports.catalog.model(self.model).stage_runner("deploy")
        version = version_to_deploy(ports, self.model, context)
        digests = recorded_digests(self.model, version, ports)
        live = ports.target(self.model).state(self.model)
        trained = TrainedFile(self.model, version, digests.model_digest)
        standing = release_standing(trained, live, spec, ports, context)
        if not (
            evidence := judge_evidence(*trained, standing, REQUIRED_GATES)
        ).passed:  # what the ledger alone refuses is not loaded
            self._record_checklist(evidence, digests, None, ports, context)
        request = BundleRequest(model=self.model, version=version, digests=digests)
        bundle = step_runner.run_step("build_bundle", request, BundleResult, runner=runner)
        _skip_if_live(bundle, live, spec, ports)
        inspect = InspectionRequest(
            bundle=bundle,
            champion=live.version,
            digests=digests,
            semantic_versions=semantic_versions(ports.ledger.entries(self.model, kind="approval")),
        )
        inspection = step_runner.run_step("inspect_release", inspect, BundleInspection, runner=runner)
        verdict = judge_checklist(inspection, standing, spec, REQUIRED_GATES)
        ticket = RolloutTicket(
            champion=live.version,
            rollout_id=rollout_id(self.model, run_context.run_key(context), run_context.clear_count(context)),
            bundle=bundle.uri,
            **bundle.model_dump(include={"model", "version", "sha256", "model_digest"}),
        )
        self._record_checklist(verdict, digests, ticket, ports, context)
        return ticket.model_dump(mode="json", by_alias=True)

    def _record_checklist(
        self, verdict: Verdict, digests: ModelDigests, ticket: RolloutTicket | None, ports: Ports, context: Context
    ) -> None:
        """Write the checklist to log and XCom, then record it and the ticket, if any: ``Refused`` unless it is PASS."""
        lines, version = cast("Any", verdict.facts["checklist"]), str(verdict.facts["version"])
        separator = "\n" + " " * 28
        rows = [f"{line['item']:<18} {line['result']:<8} {separator.join(line['why'])}" for line in lines]
        self.log.info("checklist of version %s\n%s", version, "\n".join(rows))
        context["ti"].xcom_push(key="checklist", value=lines)
        details: dict[str, Any] = {"gate": "preflight_checklist", **judged_model(digests)}
        if ticket is not None:
            details |= {"bundle": ticket.sha256, "ticket": ticket.model_dump(mode="json", exclude={"schema_"})}
        record_verdict(
            verdict,
            subject=f"the preflight of {self.model} version {version}",
            ledger_kind="gate",
            model=self.model,
            version=version,
            ports=ports,
            context=context,
            details=details,
            result=result_digest(ticket) if ticket else "",
        )


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
