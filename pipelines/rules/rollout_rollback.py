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


class RolloutEndDecision(Decision[EndAction]):
    """``failed_with_traffic``: the candidate failed while it was served, so no later run deploys it automatically."""

    failed_with_traffic: bool


def judge_rollout_end(
    ticket: RolloutTicket, state: RolloutState, failed: Sequence[str] | None, *, recorded: bool
) -> RolloutEndDecision:
    """Always PASS, with the action and its reason.

    ``failed`` names the run's failed tasks, None if they are not known. ``record``: the rollout was already rolled
    back, by the target itself or by a task that died before it wrote this to the ledger (``recorded``). A PAUSED
    rollout is left if a task failed, because it then waits for a person.
    """
    action, reason = _end_action(ticket, state, failed, recorded=recorded)
    failed_with_traffic = (action == "roll_back" and bool(failed)) or _candidate_failed(ticket, state)
    facts: dict[str, object] = {
        "action": action,
        "why": reason,
        "phase": state.phase,
        "split": dict(state.split),
        "failed": list(failed) if failed is not None else None,
        "failed_with_traffic": failed_with_traffic,
    }
    return RolloutEndDecision(
        verdict=Verdict.of(RULE, facts=facts), action=action, reason=reason, failed_with_traffic=failed_with_traffic
    )


def _candidate_failed(ticket: RolloutTicket, state: RolloutState) -> bool:
    ended = state.rollout_id == ticket.rollout_id and state.phase in ("ROLLED_BACK", "FAILED")
    return ended and state.reason != CANDIDATE_REJECTED


def _end_action(
    ticket: RolloutTicket, state: RolloutState, failed: Sequence[str] | None, *, recorded: bool
) -> tuple[EndAction, str]:
    if state.rollout_id is None:
        return "nothing", "there was no rollout"
    if state.rollout_id != ticket.rollout_id:
        return "nothing", f"rollout {state.rollout_id} took its place"
    if state.phase == "ROLLED_BACK":
        return ("nothing" if recorded else "record"), state.reason
    if state.phase not in ACTIVE_PHASES:
        return "nothing", f"the rollout is {state.phase}"
    if state.phase == "PAUSED" and (failed is None or failed):
        wait = f"until {state.lease_until:%Y-%m-%d %H:%M} UTC" if state.lease_until else "until its lease ends"
        return "leave", f"paused {wait} for a person: {state.reason}"
    if failed:
        return "roll_back", f"{', '.join(failed)} failed"
    return "roll_back", CANDIDATE_REJECTED if failed is not None else "the run did not finish"
