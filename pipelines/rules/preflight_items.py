"""Items of the preflight checklist about a version and its target: each with its result and the reasons of it.

The functions are pure: ``inspection`` was measured on the bundle, ``standing`` was read from ledger and target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipelines.messages.release import BundleInspection, ChecklistItem, ReleaseFacts
from pipelines.spec.deployment import PARITY_LIMIT
from pipelines.spec.model import ModelSpec
from pipelines.spec.runner import mebibytes
from pipelines.verdict import significant

MAX_BUNDLE_MEBIBYTES = 1024
"""Memory limit of each worker if the declaration names no ``memory_limit``."""
MINIMUM_PARITY_ROWS = 1000


@dataclass
class ItemFacts:
    """One item of the checklist: its findings by what they mean for its result."""

    name: str
    failed: list[str] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    waived: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def checklist_item(self) -> ChecklistItem:
        reasons = {"FAIL": self.failed, "UNKNOWN": self.unmeasured, "WARNING": self.warned, "WAIVED": self.waived}
        result = next((name for name, why in reasons.items() if why), "PASS")
        why = [*self.failed, *self.unmeasured, *self.warned, *self.waived, *self.notes]
        return ChecklistItem.model_validate({"item": self.name, "result": result, "why": why})


def gate_evidence(version: str, standing: ReleaseFacts, required_gates: Sequence[str]) -> ItemFacts:
    """What the ledger says of the gates and the approval of this model file."""
    item = ItemFacts("1 performance")
    for gate in required_gates:
        outcome = standing.gates.get(gate)
        if outcome is None:
            item.unmeasured.append(f"{gate} has no verdict about this model file")
        elif outcome == "unknown":
            item.unmeasured.append(f"{gate} was not measured")
        elif outcome != "pass":
            item.failed.append(f"{gate} said {outcome}")
    if standing.approval_digest is None:
        item.unmeasured.append(f"version {version} has no approval")
    return item


def ledger_evidence(model: str, digest: str | None, standing: ReleaseFacts) -> ItemFacts:
    """Whether the ledger can be relied on, and which file (None: it could not be read) it approved."""
    item = ItemFacts("7 security")
    item.failed += [f"the ledger: {fault}" for fault in standing.ledger_faults]
    if standing.ledger_faults:
        item.failed.append("restore the ledger from a backup, or seal the stretch: airworthy ledger repair --because …")
    item.failed += [f"the ledger: {text}" for text in standing.sealed_lines]
    if standing.sealed_lines:
        item.failed.append(f"train another version of {model}: nothing proves this one")
    approved = standing.approval_digest
    if digest is not None and approved is not None and approved != digest:
        item.failed.append(f"the approval is of model {approved[:12]}…, the registered file is {digest[:12]}…")
    return item


def performance(
    inspection: BundleInspection, standing: ReleaseFacts, spec: ModelSpec, required_gates: Sequence[str]
) -> ItemFacts:
    item, deadline = gate_evidence(inspection.version, standing, required_gates), spec.deployment.routing.deadline_ms
    if inspection.latency_p50_ms is None or inspection.latency_p99_ms is None:
        item.unmeasured.append("the latency of one row was not measured")
    elif inspection.latency_p50_ms > deadline:
        item.failed.append(
            f"one row takes {significant(inspection.latency_p50_ms)} ms > routing.deadline_ms {deadline:g}"
        )
    else:
        half, most = significant(inspection.latency_p50_ms), significant(inspection.latency_p99_ms)
        took = f"one row takes {half} ms, p99 {most} ms"
        item.notes.append(f"{len(required_gates)} gates, {took} (deadline {deadline:g} ms)")
    return item


def bundle_size(inspection: BundleInspection, spec: ModelSpec) -> ItemFacts:
    item, limit = ItemFacts("2 size"), spec.deployment.resources.memory_limit
    most, has = mebibytes(limit) if limit else MAX_BUNDLE_MEBIBYTES, inspection.bundle_bytes / 2**20
    if has > most:
        item.failed.append(f"the bundle has {has:.1f} MiB > {most} MiB of memory")
    if inspection.rows < MINIMUM_PARITY_ROWS:
        item.unmeasured.append(f"compared with the model on {inspection.rows} rows < {MINIMUM_PARITY_ROWS}")
    elif inspection.largest_difference is None:
        item.failed.append(f"{inspection.predictor} returns no numbers for rows that the model can score")
    elif inspection.largest_difference > PARITY_LIMIT or inspection.flips:
        beyond = f"{inspection.largest_difference:.3g} (limit {PARITY_LIMIT:g}), {inspection.flips} flips"
        item.failed.append(f"{inspection.predictor} answers differ from the model's by up to {beyond}")
    else:
        within = f"{inspection.rows} rows within {inspection.largest_difference:.2g} of the model"
        item.notes.append(f"{has:.2f} MiB, {inspection.predictor}, {within}")
    item.notes += inspection.notes
    return item


def contract(inspection: BundleInspection, standing: ReleaseFacts, spec: ModelSpec) -> ItemFacts:
    item = ItemFacts("3 contract")
    if standing.champion is None:
        item.waived.append("first version: it has no callers yet")
    elif inspection.champion_fault or inspection.contract is None or inspection.champion is None:
        item.unmeasured.append(inspection.champion_fault or "the contract could not be read")
    elif inspection.contract_changes:
        old, new = inspection.champion.semantic, inspection.contract.semantic
        changes, numbers = "; ".join(inspection.contract_changes), f"{old or 'no number'} to {new or 'no number'}"
        if old is None or new is None or _major_version(new) <= _major_version(old):
            item.failed.append(f"changed without a new major version ({numbers}): {changes}")
        elif spec.deployment.compares_versions:
            item.failed.append(f"{changes}; callers cannot use both versions at once: deploy with all_at_once")
        else:
            item.warned.append(f"callers have to change ({numbers}): {changes}")
    else:
        item.notes.append(f"the same as that of version {standing.champion}")
    return item


def validation(inspection: BundleInspection) -> ItemFacts:
    item = ItemFacts("4 input validation")
    item.failed += [f"column {name} has no type in schema.json" for name in inspection.untyped]
    item.failed += inspection.edge_faults
    if inspection.contract is None:
        item.unmeasured.append("the schema could not be read")
        return item
    if not inspection.edge_rows and not inspection.edge_faults:
        item.unmeasured.append("no edge row was tested")
    item.warned += [f"narrower than the live version: {change}" for change in inspection.narrowed]
    numbers = [column for column in inspection.contract.columns if column.type == "numeric"]
    ranged = sum(column.minimum is not None or column.maximum is not None for column in numbers)
    described = f"{len(inspection.contract.columns)} columns typed, {ranged} of {len(numbers)} numbers with a range"
    item.notes.append(f"{described}, {inspection.edge_rows} edge rows tested")
    return item


def load_test(inspection: BundleInspection, spec: ModelSpec) -> ItemFacts:
    item, declared = ItemFacts("6 load test"), spec.deployment.load_test
    if declared is None:
        item.waived.append("deployment.load_test is not declared")
    else:
        has = int(declared.target_rps * (declared.duration - declared.ramp_up_time))
        item.notes.append(f"{declared.target_rps:g} requests/s for {declared.duration:g} s, before any traffic")
        item.failed += [inspection.load_test_fault] if inspection.load_test_fault else []
        for name, needed in inspection.load_test_needs.items():
            if needed > has:
                seconds = math.ceil(declared.ramp_up_time + needed / declared.target_rps)
                short = f"{name} cannot be shown by {has} requests after the ramp, even without a bad one"
                item.failed.append(f"{short}: {needed} are needed; declare duration: {seconds}")
    return item


def security(inspection: BundleInspection, standing: ReleaseFacts) -> ItemFacts:
    has = inspection.model_digest
    item = ledger_evidence(inspection.model, has, standing)
    of_ledger = item.failed
    item.failed = [*inspection.faults]
    item.failed += [f"{name} differs from a new conversion of the registered model" for name in inspection.altered]
    item.failed += [f"{name} contains a pickle, and loading a pickle runs code" for name in inspection.pickles]
    item.failed += of_ledger
    if has is None:
        item.unmeasured.append("the digest of the registered model could not be read")
    elif standing.approval_digest in (None, has):
        twin = inspection.judged_digest
        judged = f", trained again on all rows after the gates judged {twin[:12]}…" if twin is not None else ""
        item.notes.append(f"all digests match, no pickle, the bundle was built from model {has[:12]}…{judged}")
    return item


def rollback(standing: ReleaseFacts, spec: ModelSpec) -> ItemFacts:
    item, declared = ItemFacts("8 rollback"), spec.deployment.rollback
    item.warned += standing.disagreements
    if standing.champion is None:
        item.waived.append("first version: there is no version to roll back to")
        return item
    item.notes.append(f"version {standing.champion} can be restored for {declared.window:g} s after the promotion")
    if declared.window == 0:
        item.warned.append("rollback.window is 0: the former version is unloaded at once")
    if declared.drill is None:
        item.notes.append("no drill is declared")
    elif standing.drill is None and not standing.drillable:
        item.notes.append(f"no drill yet: no version before {standing.champion} could serve as its candidate")
    elif standing.drill is None:
        item.unmeasured.append("rollback.drill is declared, but the ledger has no drill; run one")
    elif standing.drill != "pass":
        item.failed.append(f"the last rollback drill has outcome {standing.drill}; correct the cause and run it again")
    else:
        item.notes.append("the last rollback drill passed")
    return item


def _major_version(semantic: str) -> int:
    return int(semantic.partition(".")[0])
