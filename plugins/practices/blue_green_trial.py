"""Gives the candidate (green) its test share of the traffic before the promotion gives it all."""

from __future__ import annotations

from pipelines.messages.rollout import RolloutState, RolloutTicket
from pipelines.rules.blue_green_trial import judge_trial
from pipelines.verdict import Verdict
from practices._rollouts.rollout import Rollout
from practices._rollouts.traffic_shift import TrafficShift


class BlueGreenTrial(TrafficShift):
    """Give the green version its declared test share; the promotion switches the rest. Returns the verdict."""

    stem = "blue_green_trial"
    ui_color = "#b6d7a8"

    def planned_share(self, rollout: Rollout) -> int:
        [share] = rollout.spec.deployment.shares()
        return share

    def judge(self, ticket: RolloutTicket, state: RolloutState, share: int, missing: list[str]) -> Verdict:
        return judge_trial(ticket, state, share, missing)
