"""Traffic moves after the verdict is written down and the lease runs, and counts as moved when it is read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.sdk import Context

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.verdict import Verdict
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.required_evidence import analysis_at, unproved
from practices._rollouts.rollout import Rollout

Judge = Callable[[RolloutTicket, RolloutState, int, list[str]], Verdict]


def shift(practice: RolloutPractice, rollout: Rollout, context: Context, judge: Judge, share: int) -> dict[str, Any]:
    """Give the candidate ``share`` basis points unless it has them; the champion keeps the rest.

    Nobody gets a candidate that did not pass, by the ledger, every stage that comes before this share.
    """
    state = practice.go_on(rollout, context)
    if rollout.share(state) == share:
        return practice.said(f"version {rollout.ticket.version} has {share} basis points already", step=state.step)
    lacking = unproved(rollout.ticket, rollout.spec, rollout.ports, analysis_at(share))
    said = practice.conclude(judge(rollout.ticket, state, share, lacking), rollout, context, share=share)
    rollout.renew(state, rollout.spec.deployment.lease)
    rollout.bring(lambda now: rollout.share(now) == share, "set_traffic", rollout.split(state, share))
    return said
