"""A rollback ends the active rollout, or else restores the previous version; it fails if there is neither."""

from __future__ import annotations

import dataclasses
import re

from pipelines.messages.rollout import RolloutState
from pipelines.rollout import rollback_plan
from pipelines.rollout.rollback_plan import PlannedRollback, version_fault
from pipelines.verdict import Verdict

RULE = "release_rollback"


def plan_rollback(state: RolloutState) -> PlannedRollback | None:
    """What a rollback would do now; None if there is no version to roll back to."""
    return rollback_plan.plan(
        champion=state.champion,
        candidate=state.candidate,
        previous=state.previous,
        phase=state.phase,
        rollout_id=state.rollout_id,
    )


def judge_rollback(state: RolloutState, version: str | None) -> Verdict:
    """FAIL without a version to roll back to, or if ``version`` is not the one that would lose its traffic.

    ``version`` None accepts any version. PASS does not require that every worker has applied the present table, because
    a rollback is also the remedy for a table that was not applied.
    """
    rollback, failures = plan_rollback(state), []
    if rollback is None:
        failures.append(f"{state.model} has no version before {state.champion}; release a version instead")
    elif version is not None and (fault := version_fault(rollback, version)):
        failures.append(fault)
    facts: dict[str, object] = {
        "live": state.champion,
        "candidate": state.candidate,
        "previous": state.previous,
        "phase": state.phase,
        "asked": version,
        "generation": state.generation,
        **({} if rollback is None else dataclasses.asdict(rollback)),
    }
    return Verdict.of(RULE, failures=failures, facts=facts)


def earlier_rollback(state: RolloutState, run: str) -> PlannedRollback | None:
    """The rollback that an earlier, interrupted try of this run has already made; None if there is none."""
    mine = re.search(rf"\(version (\S+) taken back by {re.escape(run)}\)$", state.reason)
    if state.phase != "ROLLED_BACK" or mine is None:
        return None
    return PlannedRollback(takes=None if mine[1] == "none" else mine[1], to=state.champion, rollout_id=state.rollout_id)
