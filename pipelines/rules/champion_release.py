"""A version is released only if its model file passed every gate and stage of its rollout, and was approved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.messages.rollout import RolloutTicket
from pipelines.verdict import Outcome, Verdict

RULE = "champion_release"


def judge_release(
    ticket: RolloutTicket,
    gates: Mapping[str, str],
    approval_digest: str | None,
    required_gates: Sequence[str],
    *,
    stages: Mapping[str, str | None] | None = None,
) -> Verdict:
    """FAIL for each gate or stage that failed and for an approval of another model; UNKNOWN for each without a verdict.

    ``gates`` maps a gate to its outcome as recorded for ``ticket.model_digest``; ``approval_digest`` is the model
    digest that the approval names, None if nobody approved. ``stages`` maps each required stage of this rollout (each
    share, the comparison, the count of approvers) to its last outcome on this bundle, None if there is none.
    """
    failures: list[str] = []
    unknowns: list[str] = []
    outcomes = {gate: gates.get(gate) for gate in required_gates} | dict(stages or {})
    for gate, outcome in outcomes.items():
        if outcome is None:
            unknowns.append(f"{gate} has no verdict about this model ({_short(ticket.model_digest)})")
        elif outcome == Outcome.UNKNOWN.value:
            unknowns.append(f"{gate} was not measured")
        elif outcome != Outcome.PASS.value:
            failures.append(f"{gate} said {outcome}")
    if approval_digest is None:
        unknowns.append(f"version {ticket.version} has no approval")
    elif approval_digest != ticket.model_digest:
        approved, built = _short(approval_digest), _short(ticket.model_digest)
        failures.append(f"the approval is of model {approved}, the bundle holds {built}")
    facts: dict[str, object] = {
        "version": ticket.version,
        "champion": ticket.champion,
        "bundle_sha256": ticket.sha256,
        "model_digest": ticket.model_digest,
        "approval_digest": approval_digest,
        "gates": {gate: gates.get(gate) for gate in required_gates},
        "stages": dict(stages or {}),
    }
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, facts=facts)


def _short(digest: str) -> str:
    return f"{digest[:12]}…"
