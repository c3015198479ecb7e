"""No version goes live unless this very model passed every gate, was approved, and its bundle answers as it does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pipelines.messages import BundleResult
from pipelines.verdict import Outcome, Verdict

RULE = "champion_release"
MAX_DIFFERENCE = 1e-5
"""Largest allowed difference between the bundle's and the registered model's answers, relative above 1."""
MINIMUM_PARITY_ROWS = 1000


def judge_release(
    bundle: BundleResult,
    gates: Mapping[str, str],
    approval_digest: str | None,
    required_gates: Sequence[str],
) -> Verdict:
    """FAIL for each gate that said no, for an approval of other bytes, for answers that differ; UNKNOWN for each gate
    that said nothing, for a missing approval, for parity on too few rows.

    ``gates`` maps a gate to its outcome as recorded for ``bundle.model_digest``; ``approval_digest`` is the model
    digest that the approval names, None if nobody approved.
    """
    failures: list[str] = []
    unknowns: list[str] = []
    for gate in required_gates:
        outcome = gates.get(gate)
        if outcome is None:
            unknowns.append(f"{gate} has no verdict on this model ({_short(bundle.model_digest)})")
        elif outcome == Outcome.UNKNOWN.value:
            unknowns.append(f"{gate} was not measured")
        elif outcome != Outcome.PASS.value:
            failures.append(f"{gate} said {outcome}")
    if approval_digest is None:
        unknowns.append(f"version {bundle.version} has no approval")
    elif approval_digest != bundle.model_digest:
        approved, built = _short(approval_digest), _short(bundle.model_digest)
        failures.append(f"the approval is of model {approved}, the bundle holds {built}")
    if bundle.parity_rows < MINIMUM_PARITY_ROWS:
        unknowns.append(f"bundle parity was measured on {bundle.parity_rows} rows < {MINIMUM_PARITY_ROWS}")
    if not math.isfinite(bundle.largest_difference):
        unknowns.append(f"bundle difference is {bundle.largest_difference}, not a number")
    elif bundle.largest_difference > MAX_DIFFERENCE:
        failures.append(f"bundle difference {bundle.largest_difference:.3g} > {MAX_DIFFERENCE:g}")
    facts: dict[str, object] = {
        "version": bundle.version,
        "predictor": bundle.predictor,
        "bundle_sha256": bundle.sha256,
        "model_digest": bundle.model_digest,
        "approval_digest": approval_digest,
        "gates": {gate: gates.get(gate) for gate in required_gates},
        "parity_rows": bundle.parity_rows,
        "largest_difference": bundle.largest_difference,
    }
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, facts=facts)


def _short(digest: str) -> str:
    return f"{digest[:12]}…"
