"""The green version answers a small share of the callers before it answers everybody."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from pipelines.rules.blue_green_trial import judge_trial
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.shift import shift


class BlueGreenTrial(RolloutPractice):
    """Give the green version its declared test share; the switch itself is the promotion. Returns the verdict."""

    stem = "blue_green_trial"
    ui_color = "#b6d7a8"

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open()
        if rollout.ticket.first:
            return self.nothing_to_compare()
        [share] = rollout.spec.deployment.shares()
        return shift(self, rollout, context, judge_trial, share)
