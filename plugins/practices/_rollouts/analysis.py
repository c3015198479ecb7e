"""One observation of a stage: the target's counts, weighed, with the clocks of the target's record."""

from __future__ import annotations

from datetime import datetime

from pipelines.errors import Unavailable
from pipelines.messages.rollout import RolloutState
from pipelines.rollout import from_spec
from pipelines.rollout.analysis import RolloutEvidence, WeighRequest
from pipelines.rollout.decision import StageDecision
from pipelines.rules.rollout_analysis import StageObservation
from practices._operators import step_runner
from practices._rollouts.rollout import Rollout
from practices._rollouts.stage_operator import HERE


def observe_stage(rollout: Rollout, state: RolloutState, share: int | None, errors: int) -> StageObservation:
    """What all stages show, and since when this one lasts. ``errors``: observations before that measured nothing."""
    declared, evidence, error = rollout.spec.deployment, None, ""
    plan = from_spec.analysis_plan(declared)
    most = declared.analysis.consecutive_errors
    if share is not None and rollout.share(state) != share:
        has = f"the candidate has {rollout.share(state)} basis points, this stage is about {share}"
        error, errors = f"{has}; clear the task before this one to set them again", most - 1
    else:
        try:
            arms = rollout.target.counts(rollout.ticket.model, rollout.ticket.rollout_id)
            request = WeighRequest(plan=plan, arms=arms)
            evidence = step_runner.run_step("weigh_rollout", request, RolloutEvidence, runner=HERE)
        except Unavailable as silent:
            error = str(silent)
    return StageObservation(
        state=state,
        plan=plan,
        evidence=evidence,
        error=error,
        consecutive_errors=errors + 1 if evidence is None or evidence.faults else 0,
        max_errors=most,
        now=rollout.ports.clock(),
        waiting_since=waiting_since(rollout, state),
        bake=from_spec.bake_seconds(declared),
        limit=from_spec.max_stage_seconds(declared),
    )


def waiting_since(rollout: Rollout, state: RolloutState) -> datetime:
    """When the stage began, or when a person last let it go on. A silent ledger holds no rollback up."""
    begun = state.step_started or rollout.ports.clock()
    try:
        lines = rollout.lines("rollout")
    except Unavailable:
        return begun
    return max([begun, *(line.at for line in lines if line.details.get("resumed") == state.step)])


def summary(decision: StageDecision) -> str:
    """One line about one observation."""
    facts = decision.verdict.facts
    candidate = f"candidate {facts.get('candidate_units', '?')} {facts.get('candidate_events', '')}"
    champion = f"champion {facts.get('champion_units', '?')} {facts.get('champion_events', '')}"
    shown = f"stage {facts['step']}, {facts['seconds']} s: {candidate}, {champion}"
    ending = "".join(f"; {reason}" for reason in decision.verdict.reasons)
    return f"{shown}: {facts.get('evidence', 'not measured')}, {decision.action}{ending}"
