"""Sends requests to a version without traffic at the declared rate; it gets none if it fails its assertions."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.sdk import Context

from pipelines import store_paths
from pipelines.messages.release import LoadTestRequest, LoadTestResult
from pipelines.rules.load_test import judge_load_test
from pipelines.spec.sizing import LoadTestSpec
from practices._operators import links, step_runner
from practices._rollouts.operator import RolloutPractice
from practices._rollouts.rollout import Rollout

LEASE_MARGIN_SECONDS = 900.0
"""Lease beyond the duration of the test, for the start of a pod and for the report."""


class LoadTest(RolloutPractice):
    """Test the prepared candidate in an open loop through its target's public address, and check its assertions.

    Requests are sent at their due times, whether or not the candidate keeps up, and latency counts from the due time. A
    client that could not keep its schedule makes the verdict UNKNOWN. Plot and report are stored under ``rollouts/``. A
    model's first version is loaded for the test alone. Returns the verdict.
    """

    stem: ClassVar[str] = "load_test"
    ui_color = "#fce5cd"
    operator_extra_links = (links.LOAD_TEST, links.ROLLOUT_PICTURES)

    def execute(self, context: Context) -> dict[str, Any]:
        rollout = self.open_rollout(context)
        declared, ticket = rollout.spec.deployment.load_test, rollout.ticket
        if declared is None:
            return self.trivial_pass("deployment.load_test is not declared")
        if ticket.first:
            result = self._test_first(rollout, declared)
        elif (passed := self.pass_without_rollout(ticket)) is not None:
            return passed
        else:
            rollout.renew_lease(self.resume_if_paused(rollout, context), declared.duration + LEASE_MARGIN_SECONDS)
            result = self._test(rollout)
            rollout.renew_idle_lease(rollout.running_state())
        context["ti"].xcom_push(key="plot", value=result.plot)
        if result.plot:
            path = store_paths.rollout(self.model, ticket.rollout_id, "load_test.png")
            links.LOAD_TEST.show(self, links.stored_page(path))
        return self.record(judge_load_test(result, rollout.spec.deployment), rollout, context, report=result.report)

    def _test_first(self, rollout: Rollout, declared: LoadTestSpec) -> LoadTestResult:
        """Test a model's first version, which is not live yet and answers nobody else."""
        target, bundle = rollout.target, rollout.ticket.model_dump(include={"model", "version", "bundle", "sha256"})
        probe = target.load_unreleased(**bundle, seconds=declared.duration + LEASE_MARGIN_SECONDS)
        try:
            return self._test(rollout, probe)
        finally:
            target.unload_unreleased(self.model)

    def _test(self, rollout: Rollout, probe: str | None = None) -> LoadTestResult:
        request = LoadTestRequest(**rollout.ticket.model_dump(include={"model", "version", "rollout_id"}), probe=probe)
        runner = rollout.spec.stage_runner("deploy")
        return step_runner.run_step("load_candidate", request, LoadTestResult, runner=runner)
