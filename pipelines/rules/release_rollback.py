"""A rollback ends the active rollout, or else restores the previous version; it fails if there is neither."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from pipelines.messages.rollout import RolloutState
from pipelines.verdict import Verdict

RULE = "release_rollback"
ACTIVE_PHASES = frozenset({"PENDING", "READY", "SHADOWING", "BAKING", "PAUSED"})
"""Phases in which a candidate may get requests."""


class PlannedRollback(BaseModel):
    """``takes``: the version that loses its traffic, None for a rollout without a candidate yet; ``to``: the version
    that gets it; ``rollout_id``: the rollout that ends, None if the previous version is restored without a rollout."""

    model_config = ConfigDict(frozen=True)

    takes: str | None
    to: str
    rollout_id: str | None = None


def plan_rollback(state: RolloutState) -> PlannedRollback | None:
    """What a rollback would do now; None if there is no version to roll back to.

    An active rollout loses its candidate; a promotion that is not finished is reverted to the former champion;
    otherwise the previous version is restored.
    """
    if state.phase in ACTIVE_PHASES:
        return PlannedRollback(takes=state.candidate, to=state.champion, rollout_id=state.rollout_id)
    if state.previous is None:
        return None
    finishing = state.rollout_id if state.phase == "FINALISING" else None
    return PlannedRollback(takes=state.champion, to=state.previous, rollout_id=finishing)


def judge_rollback(state: RolloutState, version: str | None) -> Verdict:
    """FAIL without a version to roll back to, or if ``version`` is not the one that would lose its traffic.

    ``version`` None accepts any version. PASS does not require that every worker has applied the present table, because
    a rollback is also the remedy for a table that was not applied.
    """
    rollback, failures = plan_rollback(state), []
    if rollback is None:
        failures.append(f"{state.model} has no version before {state.champion}; release a version instead")
    elif version is not None and version == rollback.to:
        failures.append(f"version {version} is the one that a rollback would restore; leave the field empty")
    elif version is not None and version != rollback.takes:
        failures.append(f"version {version} has no traffic; name version {rollback.takes} to roll it back")
    facts: dict[str, object] = {
        "live": state.champion,
        "candidate": state.candidate,
        "previous": state.previous,
        "phase": state.phase,
        "asked": version,
        "generation": state.generation,
        **({} if rollback is None else rollback.model_dump()),
    }
    return Verdict.of(RULE, failures=failures, facts=facts)


def rollback_reason(reason: str, from_version: str | None, run: str) -> str:
    """The reason as stored by the target, with the version that was rolled back and the run."""
    return f"{reason} (version {from_version or 'none'} taken back by {run})"


def earlier_rollback(state: RolloutState, run: str) -> PlannedRollback | None:
    """The rollback that an earlier, interrupted try of this run has already made; None if there is none."""
    mine = re.search(rf"\(version (\S+) taken back by {re.escape(run)}\)$", state.reason)
    if state.phase != "ROLLED_BACK" or mine is None:
        return None
    return PlannedRollback(takes=None if mine[1] == "none" else mine[1], to=state.champion, rollout_id=state.rollout_id)
