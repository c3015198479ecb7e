"""The candidate (green) goes from no traffic to its declared test share in one change; the champion has the rest."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.rules.canary_step import judge_shift
from pipelines.verdict import Verdict

RULE = "blue_green_trial"


def judge_trial(ticket: RolloutTicket, state: RolloutState, share: int, missing: Sequence[str] = ()) -> Verdict:
    """FAIL unless the green version goes from no traffic to its test share in one change; a repetition passes.

    ``missing`` names each required stage that has not passed.
    """
    verdict = judge_shift(ticket, state, share, missing, rule=RULE)
    now = state.split.get(ticket.version, 0)
    failures = list(verdict.reasons)
    if now not in (0, share) and now < share:
        failures.append(
            f"the green version has {now} basis points; a trial has one share, {share}, and cannot change it"
        )
    return Verdict.of(RULE, failures=failures, facts=verdict.facts)
