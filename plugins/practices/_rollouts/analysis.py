"""Makes one observation of a stage: counts and times from the target's record, and the evidence from these counts."""

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
from practices._rollouts.stage_operator import IN_PROCESS_RUNNER


def observe_stage(rollout: Rollout, state: RolloutState, share: int | None, errors: int) -> StageObservation:
    """Evidence of all stages so far and times of this one; ``errors``: consecutive errors before this observation."""
    declared, evidence, error = rollout.spec.deployment, None, ""
    plan = from_spec.analysis_plan(declared)
    max_errors = declared.analysis.consecutive_errors
    if share is not None and rollout.share(state) != share:
        mismatch = f"the candidate has {rollout.share(state)} basis points, this stage requires {share}"
        error, errors = f"{mismatch}; clear the previous task to set them again", max_errors - 1
    else:
        try:
            arms = rollout.target.counts(rollout.ticket.model, rollout.ticket.rollout_id)
            request = WeighRequest(plan=plan, arms=arms)
            evidence = step_runner.run_step("weigh_rollout", request, RolloutEvidence, runner=IN_PROCESS_RUNNER)
        except Unavailable as unavailable:
            error = str(unavailable)
    return StageObservation(
        state=state,
        plan=plan,
        evidence=evidence,
        error=error,
        consecutive_errors=errors + 1 if evidence is None or evidence.faults else 0,
        max_errors=max_errors,
        now=rollout.ports.clock(),
        waiting_since=waiting_since(rollout, state),
        bake=from_spec.bake_seconds(declared),
        limit=from_spec.max_stage_seconds(declared),
        endpoint=declared.endpoint_name,
    )


def waiting_since(rollout: Rollout, state: RolloutState) -> datetime:
    """When the stage began or was last resumed by a person; the former if the ledger is unavailable."""
    started = state.step_started or rollout.ports.clock()
    try:
        lines = rollout.ledger_lines("rollout")
    except Unavailable:
        return started
    return max([started, *(line.at for line in lines if line.details.get("resumed") == state.step)])


def observation_log_line(decision: StageDecision) -> str:
    """One log line about one observation."""
    facts = decision.verdict.facts
    candidate = f"candidate {facts.get('candidate_units', '?')} {facts.get('candidate_events', '')}"
    champion = f"champion {facts.get('champion_units', '?')} {facts.get('champion_events', '')}"
    counts = f"stage {facts['step']}, {facts['seconds']} s: {candidate}, {champion}"
    reasons = "".join(f"; {reason}" for reason in decision.verdict.reasons)
    return f"{counts}: {facts.get('evidence', 'not measured')}, {decision.action}{reasons}"
