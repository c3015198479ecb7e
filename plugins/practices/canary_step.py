"""Gives the candidate a share of the traffic under a lease, and verifies it at the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.rules.canary_step import judge_shift
from pipelines.verdict import Verdict
from practices._rollouts.rollout import Rollout
from practices._rollouts.traffic_shift import TrafficShift


class CanaryStep(TrafficShift):
    """Give the candidate ``share`` basis points of the traffic and verify that it has them.

    Shares only grow, so callers keep the candidate. The lease begins before the traffic moves. Returns the verdict.
    """

    template_fields: Sequence[str] = ("model", "ticket", "share")
    stem = "canary_step"
    ui_color = "#ffe599"

    def __init__(self, *, model: str, ticket: Any, share: int, **arguments: Any) -> None:
        super().__init__(model=model, ticket=ticket, **arguments)
        self.share = share

    def planned_share(self, rollout: Rollout) -> int:  # noqa: ARG002 - declared per task
        return int(self.share)

    def judge(self, ticket: RolloutTicket, state: RolloutState, share: int, missing: list[str]) -> Verdict:
        return judge_shift(ticket, state, share, missing)
