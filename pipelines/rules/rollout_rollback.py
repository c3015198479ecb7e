"""At the end of a deploy run an active rollout is rolled back, unless it is paused for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.rollout.rollback_plan import ACTIVE_PHASES
from pipelines.verdict import Decision, Verdict

RULE = "rollout_rollback"
EndAction = Literal["nothing", "leave", "roll_back", "record"]
CANDIDATE_REJECTED = "the candidate was not let through"
"""Begins the reason if no task failed: a person rejected, nobody answered in time, or a rule refused the candidate."""
NO_VERDICT = "without a verdict; its log says why"
Reasons = Mapping[str, Sequence[str]]
"""Task of the run to the reasons of its newest verdict, if that is not PASS."""

RolloutEndDecision = Decision[EndAction]


def judge_rollout_end(
    ticket: RolloutTicket,
    state: RolloutState,
    failed: Sequence[str] | None,
    *,
    recorded: bool,
    reasons: Reasons | None = None,
) -> RolloutEndDecision:
    """Always PASS, with the action and its reason, which quotes the verdicts (``reasons``) that ended the run.

    ``failed`` names the run's failed tasks, None if they are not known. ``record``: the rollout has already ended, by
    the target itself (its guard, its lease, a candidate that it could not load), by a newer rollout or by a task that
    died, and neither this end nor its promotion is on the ledger (``recorded``). A PAUSED rollout is left if a task
    failed, because it then waits for a person.
    """
    action, reason = _end_action(ticket, state, failed, reasons or {}, recorded=recorded)
    facts: dict[str, object] = {
        "action": action,
        "why": reason,
        "phase": state.phase,
        "split": dict(state.split),
        "failed": list(failed) if failed is not None else None,
    }
    return RolloutEndDecision(verdict=Verdict.of(RULE, facts=facts), action=action, reason=reason)


def _end_action(
    ticket: RolloutTicket, state: RolloutState, failed: Sequence[str] | None, reasons: Reasons, *, recorded: bool
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
        return "roll_back", "; ".join(_failure(task, reasons.get(task, ())) for task in failed)
    if failed is None:
        return "roll_back", "the run did not finish"
    quoted = "; ".join(line for lines in reasons.values() for line in lines)
    return "roll_back", f"{CANDIDATE_REJECTED}: {quoted}" if quoted else CANDIDATE_REJECTED


def _failure(task: str, reasons: Sequence[str]) -> str:
    """``compare_in_shadow failed: nobody asked the gateway``"""
    return f"{task} failed: {'; '.join(reasons)}" if reasons else f"{task} failed {NO_VERDICT}"


def is_rejection(reason: str) -> bool:
    """Whether a rollout ended for this reason with nothing against the candidate itself."""
    return reason.startswith(CANDIDATE_REJECTED)
