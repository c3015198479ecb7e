"""Says which version answers callers once a deployment has ended or is held, and how its version is tried again."""

from __future__ import annotations

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.rollout.rollback_plan import ACTIVE_PHASES
from pipelines.spec.strategy import FULL_SHARE


def answering_text(state: RolloutState) -> str:
    """``version 4 answers``, or ``version 4 answers 95 % of the requests, version 5 5 %``."""
    others = {version: share for version, share in state.split.items() if share and version != state.champion}
    if not others:
        return f"version {state.champion} answers"
    rest = "".join(f", version {version} {share / 100:g} %" for version, share in others.items())
    left = (FULL_SHARE - sum(others.values())) / 100
    return f"version {state.champion} answers {left:g} % of the requests{rest}"


def next_steps_text(ticket: RolloutTicket, state: RolloutState | None) -> str:
    """``state``: what the target records now; None if no version of the model is live.

    Of a rollout that is held for a person it is only said who answers: what can be done is said beside it.
    """
    again = f"trigger {ticket.model}__deploy with version {ticket.version} to try it again"
    if state is None:
        return f"no version of {ticket.model} answers yet; {again}"
    answers = answering_text(state)
    if state.phase == "PAUSED" or state.champion == ticket.version:
        return answers
    if state.rollout_id == ticket.rollout_id and state.phase in ACTIVE_PHASES:
        return f"{answers}; end_rollout takes version {ticket.version} away; {again}"
    return f"{answers}; {again}"
