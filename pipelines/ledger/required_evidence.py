"""What must be on the ledger before a version of a model may be released: its gates and the stages of its rollout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.ports import LedgerEntry
from pipelines.spec.model import ModelSpec

REQUIRED_GATES = ("candidate_evaluation", "minimum_metrics_gate", "champion_comparison_gate", "slice_gate")
"""Gates that every candidate must pass, in this order."""
ROLLBACK_GATE = "release_rollback"
"""A stored name: whether a rollback may be done is written as a gate, but it judges no version."""


def is_gate(line: LedgerEntry) -> bool:
    """Whether a line says that a gate judged its version."""
    return line.kind == "gate" and line.details.get("gate") != ROLLBACK_GATE


def is_about_model(
    details: Mapping[str, Any], model_digest: str | None, snapshot: str | None, judged_digest: str | None = None
) -> bool:
    """Whether a gate's line is about this model file; lines from before 0.2.0 may name its snapshot instead.

    ``judged_digest``: that of the training's line, if what is deployed was trained again on all rows. A gate that
    judged another model says nothing about this version.
    """
    named = details.get("model_digest")
    if named is None:
        return judged_digest is None and details.get("snapshot") == snapshot
    return named == model_digest and details.get("judged_digest") == judged_digest


def required_stages(spec: ModelSpec, *, first: bool) -> list[str]:
    """The stages that a version must pass before its promotion, in order; a first version is compared with none."""
    declared = spec.deployment
    people = ["approval_quorum"] if declared.approval.requires_approval else []
    tried = ["load_test"] if declared.load_test is not None else []
    if first:
        return [*tried, *people]
    tried += ["shadow_comparison"] if declared.shadow_plan is not None else []
    if declared.strategy == "ab":
        return [*tried, *people, "ab_test"]
    return [*tried, *people, *map(analysis_stage_name, declared.shares())]


def analysis_stage_name(share: int) -> str:
    """Name of the stage that is analysed at this share (basis points)."""
    return f"rollout_analysis at {share / 100:g} %"
