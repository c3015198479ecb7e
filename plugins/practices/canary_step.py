"""A small share of the callers gets the candidate, under a lease and a guard that need nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from pipelines.rules.canary_step import judge_shift
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.shift import shift


class CanaryStep(RolloutPractice):
    """Give the candidate ``share`` basis points of the traffic and read back that it has them.

    Who has the candidate keeps it: shares only grow. The lease begins before the traffic moves. Returns the verdict.
    """

    template_fields: Sequence[str] = ("model", "ticket", "share")
    stem = "canary_step"
    ui_color = "#ffe599"

    def __init__(self, *, model: str, ticket: Any, share: int, **arguments: Any) -> None:
        super().__init__(model=model, ticket=ticket, **arguments)
        self.share = share

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open()
        if rollout.ticket.first:
            return self.nothing_to_compare()
        return shift(self, rollout, context, judge_shift, int(self.share))
