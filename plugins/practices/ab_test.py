"""Splits users once for the whole experiment and promotes the variant only if it was shown to be better."""

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
from practices._rollouts.stage_operator import IN_PROCESS, ComparisonPractice


class AbTest(ComparisonPractice):
    """Split the users, measure every metric per user, and say which version is better.

    Each user keeps their version. The evidence may be looked at any number of times. The variant wins if the first
    metric is shown better and no other loses more than ``margin``; then the task succeeds and the promotion follows.
    Where control stays (also when the time is up) the candidate is rolled back and the task is skipped with the
    reasons. Users who were not split as declared, or counts that cannot be, pause the rollout for a person. Returns
    the verdict, with intervals, picture and recommendation among the facts.
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
        measure = step_runner.run_step("measure_experiment", request, ExperimentMeasure, runner=IN_PROCESS)
        errors = errors + 1 if measure.errors else 0
        most = deployment.analysis.consecutive_errors
        decision = judge_experiment(measure, declared, consecutive_errors=errors, max_errors=most)
        if decision.action == "look_again":
            self.log.info("after %.0f seconds: %s", measure.elapsed, decision.verdict)
            self.defer_observation(
                rollout, state, declared.max_duration, declared.max_duration - measure.elapsed, errors
            )
        details = {**self.clear_details(context), **self.apply_decision(decision, rollout, state)}
        drawing = request.model_copy(update={"found": measure})
        measure = step_runner.run_step("measure_experiment", drawing, ExperimentMeasure, runner=IN_PROCESS)
        verdict = self._store_report(rollout, judge_experiment(measure, declared).verdict)
        return self.record(verdict, rollout, context, on_fail=self.on_fail, **details)

    def _check(self, rollout: Rollout, state: RolloutState) -> None:
        """``Refused`` with every reason why users may not be split now."""
        faults = plan_faults(rollout.spec, rollout.ticket)
        if rollout.candidate_share(state) != rollout.spec.deployment.shares()[0]:
            faults += missing_evidence(rollout.ticket, rollout.spec, rollout.ports, self.stem)
        if faults:
            raise Refused(f"the experiment with {self.model} version {rollout.ticket.version} cannot begin", faults)

    def _store_report(self, rollout: Rollout, verdict: Verdict) -> Verdict:
        """The verdict, which says where in the store it lies."""
        store = rollout.ports.store
        where = store_paths.rollout(self.model, rollout.ticket.rollout_id, "experiment.json")
        report = verdict.model_copy(update={"facts": {**verdict.facts, "report": store.uri(where)}})
        store.put(where, json.dumps(report.model_dump(mode="json"), indent=2).encode())
        return report

    def _request(self, rollout: Rollout, state: RolloutState) -> ExperimentRequest:
        arguments = self.measure_arguments(rollout, state, lambda arm: arm.role in ("control", "variant"))
        return ExperimentRequest(control=state.champion, variant=rollout.ticket.version, **arguments)
