"""A rollback ends the rollout that goes on, or else puts the version before the live one back; without either: FAIL."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from pipelines.messages.rollout import RolloutState
from pipelines.verdict import Verdict

RULE = "release_rollback"
ACTIVE_PHASES = frozenset({"PENDING", "READY", "SHADOWING", "BAKING", "PAUSED"})
"""Phases in which a candidate may get requests."""


class RollbackTarget(BaseModel):
    """``takes``: the version that loses its traffic, None for a rollout without a candidate yet; ``to``: who has it
    afterwards; ``rollout_id``: the rollout that ends by it, None where the version before the live one is put back."""

    model_config = ConfigDict(frozen=True)

    takes: str | None
    to: str
    rollout_id: str | None = None


def rollback_target(state: RolloutState) -> RollbackTarget | None:
    """What a rollback would do now; None if there is nothing to go back to.

    An active rollout loses its candidate; a promotion that is being finished is taken back to the former champion;
    else the version before the live one is put back.
    """
    if state.phase in ACTIVE_PHASES:
        return RollbackTarget(takes=state.candidate, to=state.champion, rollout_id=state.rollout_id)
    if state.previous is None:
        return None
    finishing = state.rollout_id if state.phase == "FINALISING" else None
    return RollbackTarget(takes=state.champion, to=state.previous, rollout_id=finishing)


def judge_rollback(state: RolloutState, version: str | None) -> Verdict:
    """FAIL with nothing to go back to, or if ``asked`` is not the version that would be taken back.

    ``asked`` None takes back whatever is newest. PASS does not ask whether every worker has applied the present table:
    a rollback is the way out of just that.
    """
    rollback, failures = rollback_target(state), []
    if rollback is None:
        failures.append(f"{state.model} has no version before {state.champion}; release one instead")
    elif version is not None and version == rollback.to:
        failures.append(f"version {version} is the one that a rollback goes back to; leave the field empty")
    elif version is not None and version != rollback.takes:
        failures.append(f"version {version} answers nobody; version {rollback.takes} is the one to take back")
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


def reason_with_run(reason: str, takes: str | None, run: str) -> str:
    """The reason as the target keeps it: it says which version was taken back, and in which run."""
    return f"{reason} (version {takes or 'none'} taken back by {run})"


def rolled_back_by(state: RolloutState, run: str) -> RollbackTarget | None:
    """What this very run has done to the newest rollout already, in a try that was cut off."""
    mine = re.search(rf"\(version (\S+) taken back by {re.escape(run)}\)$", state.reason)
    if state.phase != "ROLLED_BACK" or mine is None:
        return None
    return RollbackTarget(takes=None if mine[1] == "none" else mine[1], to=state.champion, rollout_id=state.rollout_id)
