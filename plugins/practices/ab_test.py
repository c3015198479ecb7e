"""Users are split once and for the whole experiment; the variant goes on only if it was shown to be the better one."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk import Context

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.comparison import ExperimentMeasure, ExperimentRequest
from pipelines.messages.rollout import RolloutState
from pipelines.rules.ab_test import judge_experiment, plan_faults
from pipelines.spec.strategy import AbTest as Experiment
from pipelines.verdict import Outcome, Verdict
from practices._operators import step_runner
from practices._rollouts.comparison_operator import HERE, ComparisonPractice, act
from practices._rollouts.required_evidence import unproved
from practices._rollouts.rollout import Rollout


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

    def look(self, context: Context, rollout: Rollout, blind: int) -> dict[str, Any]:
        spec, ticket = rollout.spec, rollout.ticket
        declared = spec.deployment.ab or Experiment()
        share, state = spec.deployment.shares()[0], rollout.running()
        faults = plan_faults(spec, ticket)
        if rollout.share(state) != share:
            faults += unproved(ticket, spec, rollout.ports, self.stem)
        if faults:
            raise Refused(f"the experiment with {self.model} version {ticket.version} cannot begin", faults)
        split = rollout.split(state, share)
        state = rollout.bring(lambda state: rollout.share(state) == share, "set_traffic", split)
        request = self._request(rollout, state)
        found = step_runner.run_step("measure_experiment", request, ExperimentMeasure, runner=HERE)
        over = found.elapsed >= declared.max_duration
        verdict, blind = judge_experiment(found, declared, over=over), blind + 1 if found.errors else 0
        patience = spec.deployment.analysis.consecutive_errors
        if verdict.facts["answer"] == ("error" if blind else "undecided") and not over and blind < patience:
            self.log.info("after %.0f seconds: %s", found.elapsed, verdict)
            self.wait(rollout, state, declared.max_duration, declared.max_duration - found.elapsed, blind)
        held = self._act(rollout, state, verdict)
        drawing = request.model_copy(update={"found": found})
        found = step_runner.run_step("measure_experiment", drawing, ExperimentMeasure, runner=HERE)
        verdict = self._told(rollout, judge_experiment(found, declared, over=over))
        return self.conclude(verdict, rollout, context, on_fail=self.on_fail, **act(context), **held)

    def _act(self, rollout: Rollout, state: RolloutState, verdict: Verdict) -> dict[str, Any]:
        """Take a candidate back that did not win, and hold an experiment that is not valid."""
        self.take_back_failed(rollout, verdict)
        if verdict.outcome is not Outcome.UNKNOWN:
            return {}
        return {"held_at": rollout.hold(state, f"{self.stem}: {'; '.join(verdict.reasons)}").generation}

    def _told(self, rollout: Rollout, verdict: Verdict) -> Verdict:
        """The verdict, which says where in the store it lies."""
        store = rollout.ports.store
        where = store_paths.rollout(self.model, rollout.ticket.rollout_id, "experiment.json")
        told = verdict.model_copy(update={"facts": {**verdict.facts, "report": store.uri(where)}})
        store.put(where, json.dumps(told.model_dump(mode="json"), indent=2).encode())
        return told

    def _request(self, rollout: Rollout, state: RolloutState) -> ExperimentRequest:
        asked = self.counted(rollout, state, lambda arm: arm.role in ("control", "variant"))
        return ExperimentRequest(control=state.champion, variant=rollout.ticket.version, **asked)
