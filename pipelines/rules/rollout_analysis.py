"""A stage passes or is rolled back only on evidence; while undecided it is observed again, until its limit holds it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from pipelines.messages.rollout import RolloutState
from pipelines.rollout.analysis import AnalysisPlan, RolloutEvidence
from pipelines.rollout.decision import StageAction, StageDecision
from pipelines.rules.no_requests import no_requests_text
from pipelines.rules.rollout_verdict import judge_evidence
from pipelines.verdict import Outcome, Verdict

RULE = "rollout_analysis"


class StageObservation(BaseModel):
    """One observation of a stage: its evidence, its time, and how long the stage may take. Times in seconds."""

    model_config = ConfigDict(frozen=True)

    state: RolloutState
    plan: AnalysisPlan
    evidence: RolloutEvidence | None = None
    error: str = ""
    """Why there is no evidence."""
    consecutive_errors: int = 0
    """Observations in a row that measured nothing, this one included."""
    max_errors: int
    now: datetime
    waiting_since: datetime
    """When the stage began, or when a person resumed it."""
    bake: float
    limit: float
    endpoint: str = "the gateway"
    """What callers ask for predictions."""


def judge_stage(observation: StageObservation) -> StageDecision:
    """PASS once all limits are shown to hold, on enough units of this stage, after its bake time: ``go_on``.

    FAIL when a limit is shown to be broken: ``roll_back``. UNKNOWN otherwise: ``look_again``, or ``hold`` after the
    stage's limit or too many observations in a row without a measurement.
    """
    evidence, state = observation.evidence, observation.state
    begun = state.step_started or observation.now
    baked, waited = ((observation.now - since).total_seconds() for since in (begun, observation.waiting_since))
    facts: dict[str, object] = {
        "step": state.step,
        "split": dict(state.split),
        "seconds": round(baked, 1),
        "bake_seconds": observation.bake,
        "limit_seconds": observation.limit,
        "errors_in_a_row": observation.consecutive_errors,
    }
    if evidence is None:
        return _decide_unmeasured(observation, [observation.error], facts)
    weighed = judge_evidence(observation.plan, evidence)
    if evidence.faults and weighed.outcome is not Outcome.FAIL:
        return _decide_unmeasured(observation, list(weighed.reasons), facts)
    facts |= {"evidence": weighed.outcome.value, **_newest_stage_counts(evidence), **weighed.facts}
    if weighed.outcome is Outcome.FAIL:
        return _make_decision("roll_back", facts, failures=weighed.reasons)
    candidate, champion = _units_of_this_stage(observation, evidence)
    lacking = [*weighed.reasons, *_too_few_units(observation, candidate, champion)]
    if lacking and baked >= 1 and not candidate and not champion:
        when = f"in this stage, which is {baked:.0f} s old"
        lacking = [no_requests_text(state.model, observation.endpoint, when)]
    if not lacking:
        if baked >= observation.bake:
            return _make_decision("go_on", facts)
        lacking = [f"the stage is {baked:.0f} s old; it must last {observation.bake:g} s"]
    elif waited >= observation.limit:
        over = f"not decided after {waited:.0f} s > {observation.limit:g} s: the traffic is held"
        return _make_decision("hold", facts, unknowns=[over, *lacking])
    return _make_decision("look_again", facts, unknowns=lacking)


def _decide_unmeasured(observation: StageObservation, reasons: list[str], facts: dict[str, object]) -> StageDecision:
    errors, most = observation.consecutive_errors, observation.max_errors
    unknowns = [f"not measured ({errors} of {most} in a row): {reason}" for reason in reasons]
    return _make_decision("hold" if errors >= most else "look_again", facts, unknowns=unknowns)


def _newest_stage_counts(evidence: RolloutEvidence) -> dict[str, object]:
    """Units and events of the newest stage."""
    counts = evidence.stages[-1] if evidence.stages else None
    return {
        "candidate_units": counts.candidate.units if counts else 0,
        "champion_units": counts.champion.units if counts else 0,
        "candidate_events": dict(counts.candidate.events) if counts else {},
        "champion_events": dict(counts.champion.events) if counts else {},
    }


def _units_of_this_stage(observation: StageObservation, evidence: RolloutEvidence) -> tuple[int, int]:
    """Units of candidate and champion in the present stage."""
    counts = evidence.stages[-1] if evidence.stages and evidence.newest == observation.state.step else None
    return (counts.candidate.units, counts.champion.units) if counts else (0, 0)


def _too_few_units(observation: StageObservation, candidate: int, champion: int) -> list[str]:
    least = observation.plan.minimum_units
    if min(candidate, champion) >= least:
        return []
    return [f"this stage has candidate {candidate}, champion {champion}; {least} needed in each"]


def _make_decision(
    action: StageAction, facts: dict[str, object], *, failures: tuple[str, ...] = (), unknowns: list[str] | None = None
) -> StageDecision:
    arms = [f"{arm} {facts[f'{arm}_units']} units" for arm in ("candidate", "champion") if f"{arm}_units" in facts]
    findings = [f"stage {facts['step']} after {facts['seconds']} s: {', '.join(arms) or 'not measured'}"]
    verdict = Verdict.of(
        RULE, failures=failures, unknowns=unknowns or (), findings=findings, facts={"action": action, **facts}
    )
    return StageDecision(verdict=verdict, action=action)
