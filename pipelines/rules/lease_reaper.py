"""A rollout whose lease has expired is rolled back, held, or loses its mirror, depending on its strategy."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipelines.messages.rollout import RolloutState
from pipelines.rollout.rollback_plan import ACTIVE_PHASES
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
"""The action when a lease has expired; a model with only a shadow has strategy ``all_at_once``."""
GUARD_GRACE_PERIOD = timedelta(minutes=1)
"""Time that a target with its own guard has to act on an expired lease."""


class WatchedRollout(BaseModel):
    """One model's rollout as its target describes it.

    ``guarded``: the target acts on expired leases itself. ``run``: the deploy run that began it, ``<dag_id>/<run_id>``,
    None if it is not in the ledger; ``run_is_active``: whether that run is queued or running in Airflow.
    """

    model_config = ConfigDict(frozen=True)

    state: RolloutState
    strategy: Strategy
    guarded: bool
    run: str | None = None
    run_is_active: bool = False


LeaseDecision = Decision[LeaseAction]
"""``report``: the rollout stays, and a warning asks a person to check it."""


def judge_lease(watched: WatchedRollout, now: datetime) -> LeaseDecision:
    """The action for one rollout.

    One whose lease has expired is rolled back, held or loses its mirror, by its strategy; a target with its own guard
    must do that itself, and is reported if it did not. A rollout whose run has ended or was deleted is reported.
    """
    state = watched.state
    if state.phase not in ACTIVE_PHASES:
        return _make_decision("keep", f"its phase is {state.phase or 'none'}")
    if state.lease_until is None:
        return _make_decision("report", "it has no lease; roll it back if it is not in use")
    over, since = now - state.lease_until, f"its lease ended at {state.lease_until.isoformat(timespec='seconds')}"
    if over >= timedelta(0) and not _is_applied(state, EXPIRY_ACTIONS[watched.strategy]):
        if not watched.guarded:
            return _make_decision(EXPIRY_ACTIONS[watched.strategy], since)
        if over >= GUARD_GRACE_PERIOD:
            reason = f"{since}, but its target did nothing; check the target's guard, and roll the rollout back by hand"
            return _make_decision("report", reason)
        return _make_decision("keep", f"{since}; its target has {GUARD_GRACE_PERIOD.seconds} s to act on it")
    if state.phase == "PAUSED":
        return _make_decision("report", f"it is paused until a person decides: {state.reason or 'no reason given'}")
    if not watched.run_is_active:
        owner = (
            "its deploy run is not known" if watched.run is None else f"its run {watched.run} has ended or was deleted"
        )
        until = state.lease_until.isoformat(timespec="seconds")
        return _make_decision("report", f"{owner}; its lease lasts until {until}")
    return _make_decision("keep", f"{watched.run} is still active")


def _make_decision(action: LeaseAction, reason: str) -> LeaseDecision:
    verdict = Verdict.of(RULE, facts={"action": action, "why": reason})
    return LeaseDecision(verdict=verdict, action=action, reason=reason)


def _is_applied(state: RolloutState, action: LeaseAction) -> bool:
    """Whether the action already took effect: the rollout is paused, for ``stop_mirror`` without a mirror."""
    held = state.phase == "PAUSED"
    return held and (action == "hold" or (action == "stop_mirror" and state.mirror is None))
