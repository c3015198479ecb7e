"""A rollout begins only if its plan has no fault, the planned champion is live, and no newer version is rolled out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.rollout.rollback_plan import ACTIVE_PHASES, DRILL_PREFIX
from pipelines.verdict import Decision, Verdict

RULE = "candidate_preparation"
PreparationAction = Literal["begin", "supersede"]
PreparationDecision = Decision[PreparationAction]


def judge_preparation(ticket: RolloutTicket, state: RolloutState, plan_faults: Sequence[str]) -> PreparationDecision:
    """FAIL for every fault of the plan, for another champion than the ticket's, for a version that is already live,
    and while a rollout of a newer version is active. An older or equal one, and any drill, is superseded.
    """
    failures = [f"the plan is refused: {fault}" for fault in plan_faults]
    if state.champion == ticket.version:
        failures.append(f"version {ticket.version} is already the champion; there is nothing to roll out")
    elif state.champion != ticket.champion:
        changed = f"version {state.champion} is live, but this run expected {ticket.champion}"
        failures.append(f"{changed}; trigger {ticket.model}__deploy again")
    other = state.rollout_id if state.rollout_id != ticket.rollout_id and state.phase in ACTIVE_PHASES else None
    newer = state.candidate is not None and int(state.candidate) > int(ticket.version)
    if other is not None and newer and not other.startswith(DRILL_PREFIX):
        failures.append(f"rollout {other} of the newer version {state.candidate} is {state.phase}; wait until it ends")
    facts: dict[str, object] = {
        "version": ticket.version,
        "champion": state.champion,
        "generation": state.generation,
        "phase": state.phase,
        "supersedes": other,
    }
    action: PreparationAction = "supersede" if other is not None else "begin"
    return PreparationDecision(verdict=Verdict.of(RULE, failures=failures, facts=facts), action=action)
