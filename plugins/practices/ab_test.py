"""Splits the users for the whole experiment and lets the variant be promoted only if it was shown to be better."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk import Context

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.comparison import ExperimentMeasure, ExperimentRequest
from pipelines.messages.rollout import RolloutState
from pipelines.rules.ab_test import judge_experiment, plan_faults
from pipelines.spec.strategy import AbTestSpec as Experiment
from pipelines.verdict import Verdict
from practices._operators import step_runner
from practices._rollouts.recorded_evidence import missing_evidence
from practices._rollouts.rollout import Rollout
from practices._rollouts.stage_operator import IN_PROCESS_RUNNER, ComparisonPractice


class AbTest(ComparisonPractice):
    """Split the users, measure every metric per user, and decide which version is better.

    Each user keeps their version, and the sequential tests allow any number of observations. The variant wins if the
    first metric is shown better and every other is shown to lose at most ``margin``; then the promotion follows.
    Otherwise (also at ``max_duration``) the candidate is rolled back and the task is skipped with the reasons. Invalid
    counts, or users who were not split as declared, pause the rollout for a person. Returns the verdict, with
    intervals, the URI of the plot and the recommendation among the facts.
    """

    ui_color = "#fce5cd"
    stem = "ab_test"
    on_fail = "skip"

    def observe(self, context: Context, rollout: Rollout, state: RolloutState, errors: int) -> dict[str, Any]:
        deployment = rollout.spec.deployment
        declared = deployment.ab or Experiment()
        self._check(rollout, state)
        state = rollout.set_traffic(deployment.shares()[0])
        request = self._request(rollout, state)
        measure = step_runner.run_step("measure_experiment", request, ExperimentMeasure, runner=IN_PROCESS_RUNNER)
        errors = errors + 1 if measure.errors else 0
        max_errors = deployment.analysis.consecutive_errors
        decision = judge_experiment(measure, declared, consecutive_errors=errors, max_errors=max_errors)
        if decision.action == "look_again":
            self.log.info("after %.0f seconds: %s", measure.elapsed, decision.verdict)
            self.defer_next(rollout, state, declared.max_duration, declared.max_duration - measure.elapsed, errors)
        details = {**self.clear_details(context), **self.apply_decision(decision, rollout, state)}
        plot_request = request.model_copy(update={"found": measure})
        measure = step_runner.run_step("measure_experiment", plot_request, ExperimentMeasure, runner=IN_PROCESS_RUNNER)
        verdict = self._store_report(rollout, judge_experiment(measure, declared).verdict)
        return self.record(verdict, rollout, context, on_fail=self.on_fail, **details)

    def _check(self, rollout: Rollout, state: RolloutState) -> None:
        """``Refused`` with every reason why the experiment must not begin."""
        faults = plan_faults(rollout.spec, rollout.ticket)
        if rollout.share(state) != rollout.spec.deployment.shares()[0]:
            faults += missing_evidence(rollout.ticket, rollout.spec, rollout.ports, self.stem)
        if faults:
            raise Refused(f"the experiment with {self.model} version {rollout.ticket.version} cannot begin", faults)

    def _store_report(self, rollout: Rollout, verdict: Verdict) -> Verdict:
        """Store the verdict as ``experiment.json``; returns it with the URI of that file."""
        store = rollout.ports.store
        path = store_paths.rollout(self.model, rollout.ticket.rollout_id, "experiment.json")
        report = verdict.model_copy(update={"facts": {**verdict.facts, "report": store.uri(path)}})
        store.put(path, json.dumps(report.model_dump(mode="json"), indent=2).encode())
        return report

    def _request(self, rollout: Rollout, state: RolloutState) -> ExperimentRequest:
        arguments = self.measure_args(rollout, state, lambda arm: arm.role in ("control", "variant"))
        return ExperimentRequest(control=state.champion, variant=rollout.ticket.version, **arguments)
