"""A version passes the preflight checklist only if none of its eleven items fails or was not measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.messages.release import BundleInspection, ReleaseFacts
from pipelines.rules import preflight_items
from pipelines.rules.preflight_design import rollout_feasibility
from pipelines.rules.preflight_guard import error_handling
from pipelines.rules.preflight_items import ItemFacts
from pipelines.rules.preflight_people import approvers, deployer
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "preflight_checklist"


def judge_evidence(
    model: str, version: str, digest: str, standing: ReleaseFacts, required_gates: Sequence[str]
) -> Verdict:
    """What the ledger alone says, before a byte of the version is loaded: its gates, its approval, its lines.

    ``digest``: of the model file that was trained. A version that does not pass here is not built.
    """
    items = [
        preflight_items.gate_evidence(version, standing, required_gates),
        preflight_items.ledger_evidence(model, digest, standing),
    ]
    return _verdict(items, {"version": version, "champion": standing.champion, "model_digest": digest})


def judge_checklist(
    inspection: BundleInspection, standing: ReleaseFacts, spec: ModelSpec, required_gates: Sequence[str]
) -> Verdict:
    """FAIL if any item failed, UNKNOWN if any was not measured; warnings and waivers pass.

    Eleven items: those numbered 1 to 8, who may deploy, who may approve, and whether the rollout can be decided in its
    time.
    ``facts["checklist"]`` lists each as a ``ChecklistItem``.
    """
    items = [
        preflight_items.performance(inspection, standing, spec, required_gates),
        preflight_items.bundle_size(inspection, spec),
        preflight_items.contract(inspection, standing, spec),
        preflight_items.validation(inspection),
        error_handling(inspection, standing, spec),
        preflight_items.load_test(inspection, spec),
        preflight_items.security(inspection, standing),
        preflight_items.rollback(standing, spec),
        deployer(standing, spec),
        approvers(standing, spec),
        rollout_feasibility(inspection, standing, spec),
    ]
    facts: dict[str, object] = {
        "version": inspection.version,
        "champion": standing.champion,
        "model_digest": inspection.model_digest,
        "approval_digest": standing.approval_digest,
        "parity_rows": inspection.rows,
        "largest_difference": inspection.largest_difference,
        "latency_p99_ms": inspection.latency_p99_ms,
        "requests_per_day": round(inspection.traffic.per_day, 1) if inspection.traffic else None,
    }
    return _verdict(items, facts)


def _verdict(items: Sequence[ItemFacts], facts: Mapping[str, object]) -> Verdict:
    failures = [f"{item.name}: {why}" for item in items for why in item.failed]
    unknowns = [f"{item.name}: {why}" for item in items for why in item.unmeasured]
    checklist = [item.checklist_item().model_dump(exclude={"schema_"}) for item in items]
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, facts={**facts, "checklist": checklist})
