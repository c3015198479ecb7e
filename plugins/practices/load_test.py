"""Sends requests to a candidate without traffic at the declared rate; it gets none if it fails its assertions."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.sdk import Context

from pipelines import store_paths
from pipelines.messages.release import LoadTestRequest, LoadTestResult
from pipelines.rules.load_test import judge_load_test
from practices._operators import links, step_runner
from practices._rollouts.operator import RolloutPractice

LEASE_MARGIN_SECONDS = 900.0
"""Lease beyond the duration of the test, for the start of a pod and for the report."""


class LoadTest(RolloutPractice):
    """Test the prepared candidate in an open loop through its target's public address, and check its assertions.

    Requests are sent at their due times, whether or not the candidate keeps up, and latency counts from the due time. A
    client that could not keep its schedule makes the verdict UNKNOWN. Plot and report are stored under ``rollouts/``.
    Returns the verdict.
    """

    stem: ClassVar[str] = "load_test"
    ui_color = "#fce5cd"
    operator_extra_links = (links.LOAD_TEST, links.ROLLOUT_PICTURES)

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open_rollout()
        deployment, ticket = rollout.spec.deployment, rollout.ticket
        if (passed := self.pass_without_rollout(ticket)) is not None:
            return passed
        if deployment.load_test is None:
            return self.trivial_pass("deployment.load_test is not declared")
        state = self.resume_if_paused(rollout, context)
        rollout.renew_lease(state, deployment.load_test.duration + LEASE_MARGIN_SECONDS)
        request = LoadTestRequest(**ticket.model_dump(include={"model", "version", "rollout_id"}))
        result = step_runner.run_step(
            "load_candidate", request, LoadTestResult, runner=rollout.spec.stage_runner("deploy")
        )
        context["ti"].xcom_push(key="plot", value=result.plot)
        if result.plot:
            path = store_paths.rollout(self.model, ticket.rollout_id, "load_test.png")
            links.LOAD_TEST.show(self, links.stored_page(path))
        rollout.renew_idle_lease(rollout.running_state())
        return self.record(judge_load_test(result, deployment), rollout, context, report=result.report)
