"""One look at a step: what the target counted, weighed, with the clocks of the target's own record."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import Context

from pipelines.errors import Unavailable
from pipelines.messages.rollout import RolloutState
from pipelines.rollout import from_spec
from pipelines.rollout.analysis import Outcome, WeighedRollout, WeighRequest
from pipelines.rules.rollout_analysis import Look
from pipelines.spec.runner import StageRunner
from pipelines.verdict import Verdict
from practices._operators import step_runner
from practices._rollouts.rollout import Rollout


def measure(rollout: Rollout, state: RolloutState, share: int | None, errors: int) -> Look:
    """What all steps so far show, and since when this one lasts."""
    declared, weighed, error = rollout.spec.deployment, None, ""
    plan = from_spec.analysis_plan(declared)
    most = declared.analysis.consecutive_errors
    if share is not None and rollout.share(state) != share:
        has = f"the candidate has {rollout.share(state)} basis points, this step is about {share}"
        error, errors = f"{has}; clear the task before this one to set them again", most - 1
    else:
        try:
            arms = rollout.target.counts(rollout.ticket.model, rollout.ticket.rollout_id)
            request = WeighRequest(plan=plan, arms=arms)
            weighed = step_runner.run_step("weigh_rollout", request, WeighedRollout, runner=StageRunner(on="process"))
        except Unavailable as silent:
            error = str(silent)
    failed = weighed is None or weighed.verdict.outcome is Outcome.ERROR
    return Look(
        state=state,
        weighed=weighed,
        error=error,
        errors=errors + 1 if failed else 0,
        max_errors=most,
        now=rollout.ports.clock(),
        waiting_since=waiting_since(rollout, state),
        bake=from_spec.bake_seconds(declared),
        limit=from_spec.step_seconds(declared),
        minimum_units=plan.minimum_units,
    )


def waiting_since(rollout: Rollout, state: RolloutState) -> datetime:
    """When the step began, or when a person last let it go on. A silent ledger holds no rollback up."""
    begun = state.step_started or rollout.ports.clock()
    try:
        lines = rollout.lines("rollout")
    except Unavailable:
        return begun
    return max([begun, *(line.at for line in lines if line.details.get("resumed") == state.step)])


def ask_a_person(verdict: Verdict, context: Context) -> Verdict:
    """The same verdict, with what a person can do."""
    model, task = context["dag_run"].dag_id.removesuffix("__deploy"), context["ti"].task_id
    hint = f"clear {task} to go on waiting, or trigger {model}__rollback to take the candidate back"
    return verdict.model_copy(update={"reasons": (*verdict.reasons, hint)})


def told(verdict: Verdict) -> str:
    """One line about one look."""
    facts = verdict.facts
    counted = f"candidate {facts.get('candidate_units', '?')} {facts.get('candidate_events', '')}"
    against = f"champion {facts.get('champion_units', '?')} {facts.get('champion_events', '')}"
    shown = f"step {facts['step']}, {facts['seconds']} s: {counted}, {against}: {facts.get('evidence', 'not measured')}"
    return f"{shown}, {facts['then']}" + "".join(f"; {reason}" for reason in verdict.reasons)
