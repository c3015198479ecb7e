"""A version passes the preflight checklist only if none of its eleven items fails or was not measured."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.messages.release import BundleInspection, ReleaseFacts
from pipelines.rules import preflight_items
from pipelines.rules.preflight_design import rollout_feasibility
from pipelines.rules.preflight_guard import error_handling
from pipelines.rules.preflight_people import approvers, deployer
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "preflight_checklist"


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
        "checklist": [item.checklist_item().model_dump(exclude={"schema_"}) for item in items],
        "model_digest": inspection.model_digest,
        "approval_digest": standing.approval_digest,
        "parity_rows": inspection.rows,
        "largest_difference": inspection.largest_difference,
        "latency_p99_ms": inspection.latency_p99_ms,
        "requests_per_day": round(inspection.traffic.per_day, 1) if inspection.traffic else None,
    }
    failures = [f"{item.name}: {why}" for item in items for why in item.failed]
    unknowns = [f"{item.name}: {why}" for item in items for why in item.unmeasured]
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, facts=facts)
