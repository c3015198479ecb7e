"""At the end of a deploy run an active rollout is rolled back, unless it is paused for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.rollout.rollback_plan import ACTIVE_PHASES
from pipelines.verdict import Decision, Verdict

RULE = "rollout_rollback"
EndAction = Literal["nothing", "leave", "roll_back", "record"]
CANDIDATE_REJECTED = "the candidate was not let through"
"""Reason if no task failed: a person rejected, nobody answered in time, or a rule refused the candidate."""


RolloutEndDecision = Decision[EndAction]


def judge_rollout_end(
    ticket: RolloutTicket, state: RolloutState, failed: Sequence[str] | None, *, recorded: bool
) -> RolloutEndDecision:
    """Always PASS, with the action and its reason.

    ``failed`` names the run's failed tasks, None if they are not known. ``record``: the rollout has already ended, by
    the target itself (its guard, its lease, a candidate that it could not load), by a newer rollout or by a task that
    died, and neither this end nor its promotion is on the ledger (``recorded``). A PAUSED rollout is left if a task
    failed, because it then waits for a person.
    """
    action, reason = _end_action(ticket, state, failed, recorded=recorded)
    facts: dict[str, object] = {
        "action": action,
        "why": reason,
        "phase": state.phase,
        "split": dict(state.split),
        "failed": list(failed) if failed is not None else None,
    }
    return RolloutEndDecision(verdict=Verdict.of(RULE, facts=facts), action=action, reason=reason)


def _end_action(
    ticket: RolloutTicket, state: RolloutState, failed: Sequence[str] | None, *, recorded: bool
) -> tuple[EndAction, str]:
    if state.rollout_id is None:
        return "nothing", "there was no rollout"
    if state.rollout_id != ticket.rollout_id:
        return ("nothing" if recorded else "record"), f"rollout {state.rollout_id} took its place"
    if state.phase in ("ROLLED_BACK", "FAILED"):
        return ("nothing" if recorded else "record"), state.reason
    if state.phase not in ACTIVE_PHASES:
        return "nothing", f"the rollout is {state.phase}"
    if state.phase == "PAUSED" and (failed is None or failed):
        wait = f"until {state.lease_until:%Y-%m-%d %H:%M} UTC" if state.lease_until else "until its lease ends"
        return "leave", f"paused {wait} for a person: {state.reason}"
    if failed:
        return "roll_back", f"{', '.join(failed)} failed"
    return "roll_back", CANDIDATE_REJECTED if failed is not None else "the run did not finish"
