"""Collects the facts of a release that no bundle holds: its evidence, its way back, and the people of Airflow."""

from __future__ import annotations

from typing import Any

from pipelines.messages.release import LiveState, ReleaseFacts
from pipelines.ports import Ports
from pipelines.rules.rollback_drill import choose_candidate
from pipelines.spec.model import ModelSpec
from pipelines.versions.reading import read_standing
from practices._approvals import form_facts, hitl
from practices._operators import run_context
from practices._rollouts.recorded_evidence import TrainedFile, gate_outcomes, sealed_lines

MANUAL_RUN_TYPES = ("manual", "asset_materialization")
"""Types of runs that only a person starts."""


def release_standing(
    subject: TrainedFile, live: LiveState, spec: ModelSpec, ports: Ports, context: Any
) -> ReleaseFacts:
    """Facts of ledger, target and Airflow about this version and this run."""
    gates, approval = gate_outcomes(subject, ports)
    lines = ports.ledger.entries(model=subject.model)
    drills = [line for line in lines if line.kind == "rollback_drill"]
    run, person = context["dag_run"], getattr(context["dag_run"], "triggering_user_name", None)
    unable = hitl.unable_users(user for approver in spec.deployment.approval.approvers for user in approver.users)
    return ReleaseFacts(
        gates=gates,
        approval_digest=approval,
        ledger_faults=ports.ledger.faults(),
        sealed_lines=sealed_lines(subject, ports),
        champion=live.version,
        champion_sha256=live.bundle_sha256,
        drill=str(drills[-1].details.get("outcome")) if drills else None,
        drillable=choose_candidate(live.version, live.previous, lines) is not None,
        by_hand=person is not None
        or getattr(run.run_type, "value", run.run_type) in MANUAL_RUN_TYPES
        or run_context.is_posted(context, f"{subject.model}:approved"),
        deployer=person,
        authors=form_facts.find_authors(subject.model, subject.version, ports, context),
        users_known=unable is not None,
        unable=unable or {},
        disagreements=read_standing(ports, subject.model).disagreements,
    )
