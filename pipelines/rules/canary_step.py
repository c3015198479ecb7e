"""A canary's share never shrinks, and only the version that this deploy run prepared gets it."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.spec.strategy import FULL_SHARE
from pipelines.verdict import Verdict

RULE = "canary_step"
SHIFT_PHASES = ("READY", "SHADOWING", "BAKING")


def judge_shift(
    ticket: RolloutTicket, state: RolloutState, share: int, missing: Sequence[str] = (), *, rule: str = RULE
) -> Verdict:
    """FAIL unless the ticket's version is loaded beside the ticket's champion and has at most ``share`` now.

    ``share`` is the candidate's next share in basis points, below 10,000. ``missing`` names each required
    stage that has not passed; one of them is enough to fail.
    """
    failures: list[str] = list(missing)
    now = state.split.get(ticket.version, 0)
    if state.candidate != ticket.version:
        failures.append(f"version {ticket.version} is not prepared; the candidate is {state.candidate}")
    if state.champion != ticket.champion:
        failures.append(f"version {state.champion} is live, but this run expected {ticket.champion}")
    if state.phase not in SHIFT_PHASES:
        failures.append(f"the rollout is {state.phase}; traffic can shift only in {', '.join(SHIFT_PHASES)}")
    if not 0 < share < FULL_SHARE:
        failures.append(f"{share} basis points cannot be a canary share; it must be 1 to {FULL_SHARE - 1}")
    elif now > share:
        failures.append(f"the candidate has {now} basis points; its share cannot shrink to {share}")
    facts: dict[str, object] = {"share": share, "before": now, "phase": state.phase, "generation": state.generation}
    return Verdict.of(rule, failures=failures, facts=facts)
