"""A stage goes on or is rolled back only on shown evidence; undecided, it is looked at again until it is held."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipelines.messages.rollout import RolloutState
from pipelines.rollout.analysis import Outcome, WeighedRollout
from pipelines.verdict import Verdict

RULE = "rollout_analysis"
Then = Literal["go_on", "look_again", "roll_back", "hold"]


class Look(BaseModel):
    """One look at a step: what was found, when, and how long it may take. Times in seconds."""

    model_config = ConfigDict(frozen=True)

    state: RolloutState
    weighed: WeighedRollout | None = None
    error: str = ""
    """Why nothing could be weighed."""
    errors: int = 0
    """Looks in a row that could not measure, this one included."""
    max_errors: int
    now: datetime
    waiting_since: datetime
    """When the step began, or when a person let it go on."""
    bake: float
    limit: float
    minimum_units: int


def judge_look(look: Look) -> Verdict:
    """PASS once everything demanded is shown, on enough units of this very step, after its bake time.

    FAIL when a limit is shown to be broken. UNKNOWN otherwise. ``facts["then"]`` says what to do: ``go_on``,
    ``roll_back``, ``look_again``, or ``hold`` when the time is up or too many looks in a row could not measure.
    """
    weighed, state = look.weighed, look.state
    begun = state.step_started or look.now
    baked, waited = ((look.now - since).total_seconds() for since in (begun, look.waiting_since))
    facts: dict[str, object] = {
        "step": state.step,
        "split": dict(state.split),
        "seconds": round(baked, 1),
        "bake_seconds": look.bake,
        "limit_seconds": look.limit,
        "errors_in_a_row": look.errors,
    }
    if weighed is None or weighed.verdict.outcome is Outcome.ERROR:
        reasons = [look.error] if weighed is None else list(weighed.verdict.reasons)
        told = [f"not measured ({look.errors} of {look.max_errors} in a row): {reason}" for reason in reasons]
        return _verdict("hold" if look.errors >= look.max_errors else "look_again", facts, unknowns=told)
    facts |= evidence(weighed)
    if weighed.verdict.outcome is Outcome.FAIL:
        return _verdict("roll_back", facts, failures=list(weighed.verdict.reasons))
    lacking = [*weighed.verdict.reasons, *_too_few(weighed, state.step, look.minimum_units)]
    if weighed.verdict.outcome is Outcome.PASS and not lacking:
        if baked >= look.bake:
            return _verdict("go_on", facts)
        return _verdict("look_again", facts, unknowns=[f"the step is {baked:.0f} s old; it stays {look.bake:g} s"])
    if waited >= look.limit:
        over = f"not decided after {waited:.0f} s, the limit is {look.limit:g} s: traffic is held"
        return _verdict("hold", facts, unknowns=[over, *lacking])
    return _verdict("look_again", facts, unknowns=lacking)


def evidence(weighed: WeighedRollout) -> dict[str, object]:
    """The counts of this step and the numbers of each metric over all steps."""
    counted = weighed.steps[-1] if weighed.steps else None
    return {
        "evidence": weighed.verdict.outcome.value,
        "candidate_units": counted.candidate.units if counted else 0,
        "champion_units": counted.champion.units if counted else 0,
        "candidate_events": dict(counted.candidate.events) if counted else {},
        "champion_events": dict(counted.champion.events) if counted else {},
        "split_log_e": weighed.verdict.facts.get("split_log_e"),
        "metrics": {
            metric.metric: {"outcome": metric.outcome.value, **metric.facts} for metric in weighed.verdict.metrics
        },
    }


def _too_few(weighed: WeighedRollout, step: int, least: int) -> list[str]:
    counted = weighed.steps[-1] if weighed.steps and weighed.newest == step else None
    candidate, champion = (counted.candidate.units, counted.champion.units) if counted else (0, 0)
    if min(candidate, champion) >= least:
        return []
    return [f"this step has candidate {candidate}, champion {champion}; {least} needed in each"]


def _verdict(
    then: Then, facts: dict[str, object], *, failures: list[str] | None = None, unknowns: list[str] | None = None
) -> Verdict:
    return Verdict.of(RULE, failures=failures or (), unknowns=unknowns or (), facts={"then": then, **facts})
