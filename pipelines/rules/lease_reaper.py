"""When a rollout's lease is over it is rolled back, held, or loses its mirror, as its strategy says."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipelines.messages.rollout import RolloutState
from pipelines.rules.release_rollback import ACTIVE_PHASES
from pipelines.spec.strategy import Strategy
from pipelines.verdict import Decision, Verdict

RULE = "lease_reaper"
LeaseAction = Literal["keep", "report", "rollback", "hold", "stop_mirror"]
EXPIRY_ACTIONS: dict[Strategy, LeaseAction] = {
    "all_at_once": "stop_mirror",
    "shadow": "stop_mirror",
    "canary": "rollback",
    "blue_green": "rollback",
    "ab": "hold",
}
"""What becomes of a rollout whose lease is over; a model with a shadow and nothing else is ``all_at_once``."""
GUARD_GRACE = timedelta(minutes=1)
"""So long a target with a guard of its own has time to deal with a lease."""


class WatchedRollout(BaseModel):
    """One model's rollout as its target has it.

    ``guarded``: the target deals with leases itself. ``run``: the deploy run that began it, ``<dag_id>/<run_id>``,
    None if the ledger does not say; ``run_goes_on``: whether Airflow still has it queued or running.
    """

    model_config = ConfigDict(frozen=True)

    state: RolloutState
    strategy: Strategy
    guarded: bool
    run: str | None = None
    run_goes_on: bool = False


LeaseDecision = Decision[LeaseAction]
"""``report``: it stays, but a person should look."""


def judge_lease(watched: WatchedRollout, now: datetime) -> LeaseDecision:
    """What becomes of one rollout.

    One whose lease is over is rolled back, held or loses its mirror, as its strategy says; a target with a guard of
    its own is left to do that, and reported if it did not. One whose run has ended or is gone is reported.
    """
    state = watched.state
    if state.phase not in ACTIVE_PHASES:
        return _decision("keep", f"it is {state.phase or 'none'}")
    if state.lease_until is None:
        return _decision("report", "it has no lease; roll it back if nobody knows it")
    over, since = now - state.lease_until, f"its lease ended at {state.lease_until.isoformat(timespec='seconds')}"
    if over >= timedelta(0) and not _is_done(state, EXPIRY_ACTIONS[watched.strategy]):
        if not watched.guarded:
            return _decision(EXPIRY_ACTIONS[watched.strategy], since)
        if over >= GUARD_GRACE:
            reason = f"{since} and its target did nothing; is the guard of the target alive? Roll it back by hand"
            return _decision("report", reason)
        return _decision("keep", f"{since}; its target is about to deal with it")
    if state.phase == "PAUSED":
        return _decision("report", f"it is held for a person: {state.reason or 'no reason given'}")
    if not watched.run_goes_on:
        owner = (
            "no run is known that began it" if watched.run is None else f"its run {watched.run} has ended or is gone"
        )
        until = state.lease_until.isoformat(timespec="seconds")
        return _decision("report", f"{owner}; its lease lasts until {until}")
    return _decision("keep", f"{watched.run} goes on")


def _decision(action: LeaseAction, reason: str) -> LeaseDecision:
    verdict = Verdict.of(RULE, facts={"action": action, "why": reason})
    return LeaseDecision(verdict=verdict, action=action, reason=reason)


def _is_done(state: RolloutState, action: LeaseAction) -> bool:
    """Whether it is so already: on hold, or on hold without a mirror."""
    held = state.phase == "PAUSED"
    return held and (action == "hold" or (action == "stop_mirror" and state.mirror is None))
