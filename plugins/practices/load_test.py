"""Asks a candidate without traffic at the declared rate; one that fails its declared assertions gets no traffic."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.sdk import Context

from pipelines.messages.release import LoadTestRequest, LoadTestResult
from pipelines.rules.load_test import judge_load_test
from practices._operators import step_runner
from practices._rollouts.operator import RolloutPractice

LEASE_MARGIN_SECONDS = 900.0
"""That the lease outlasts the test by: a pod may wait for its node, and the figures are drawn and judged."""


class LoadTest(RolloutPractice):
    """Ask the prepared candidate in an open loop through its target's public address, and hold it to its assertions.

    Requests are sent when they are due, whether or not the candidate keeps up, and latency counts from then. A client
    that could not keep its own schedule makes the verdict UNKNOWN. The picture and all figures lie under
    ``rollouts/``. Returns the verdict.
    """

    stem: ClassVar[str] = "load_test"
    ui_color = "#fce5cd"

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open()
        deployment, ticket = rollout.spec.deployment, rollout.ticket
        if ticket.first:
            return self.pass_with_note(
                f"the first version of {self.model}: there is no candidate beside a champion to try"
            )
        if deployment.load_test is None:
            return self.pass_with_note("deployment.load_test is not declared")
        state = self.resume_if_paused(rollout, context)
        rollout.renew_lease(state, deployment.load_test.duration + LEASE_MARGIN_SECONDS)
        request = LoadTestRequest(**ticket.model_dump(include={"model", "version", "rollout_id"}))
        result = step_runner.run_step("load_candidate", request, LoadTestResult, runner=rollout.spec.runs("deploy"))
        context["ti"].xcom_push(key="plot", value=result.plot)
        rollout.renew_idle_lease(rollout.running_state())
        return self.record(judge_load_test(result, deployment), rollout, context, report=result.report)
