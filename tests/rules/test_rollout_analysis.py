"""What is done after one look at a step, by table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pipelines.rollout.analysis import (
    AnalysisPlan,
    ArmEvents,
    MetricEvidence,
    MetricLimits,
    RolloutEvidence,
    StageCounts,
)
from pipelines.rules.rollout_analysis import StageObservation, judge_stage
from pipelines.verdict import Outcome
from tests.rules.rollout_facts import BEGUN, state

ENOUGH, FEW = (200, 800), (20, 80)
PLAN = AnalysisPlan(metrics=(MetricLimits(name="error_rate", event="bad", max_rate=0.02),), minimum_units=100)
SHOWN = {"pass": (0.0, 9.0), "fail": (9.0, 0.0), "unknown": (0.0, 0.0)}
"""Log evidence that the rate is above, and below, the limit."""


def weighed(shown: str, units: tuple[int, int] = ENOUGH, *, newest: int = 2) -> RolloutEvidence:
    """Evidence that the error rate keeps its limit (pass), breaks it (fail), neither, or counts that cannot be."""
    candidate, champion = (ArmEvents(units=number, events={"bad": 3}) for number in units)
    stages = [StageCounts(weight=0.2, candidate=candidate, champion=champion)]
    if shown == "error":
        broken = MetricEvidence(metric="error_rate", faults=("no count of bad",))
        return RolloutEvidence(metrics=(broken,), stages=stages, newest=newest)
    above, below = SHOWN[shown]
    metric = MetricEvidence(
        metric="error_rate",
        candidate=3,
        candidate_units=1000,
        newest_candidate=(3, 1000),
        above_log_e=above,
        below_log_e=below,
    )
    return RolloutEvidence(split_log_e=0.1, metrics=(metric,), stages=stages, newest=newest)


def look(evidence: RolloutEvidence | None, seconds: float, **changes: Any) -> StageObservation:
    facts: dict[str, Any] = {
        "state": state(phase="BAKING", step=2, split={"9": 8000, "10": 2000}),
        "plan": PLAN,
        "evidence": evidence,
        "max_errors": 4,
        "now": BEGUN + timedelta(seconds=seconds),
        "waiting_since": BEGUN,
        "bake": 60,
        "limit": 300,
    }
    return StageObservation(**(facts | changes))


@pytest.mark.parametrize(
    ("found", "seconds", "then", "said"),
    [
        (weighed("pass"), 60, "go_on", Outcome.PASS),
        (weighed("pass"), 59.9, "look_again", Outcome.UNKNOWN),
        (weighed("pass"), 10_000, "go_on", Outcome.PASS),
        (weighed("pass", FEW), 60, "look_again", Outcome.UNKNOWN),
        (weighed("pass", FEW), 300, "hold", Outcome.UNKNOWN),
        (weighed("pass", newest=1), 60, "look_again", Outcome.UNKNOWN),
        (weighed("fail"), 0, "roll_back", Outcome.FAIL),
        (weighed("fail", FEW), 10_000, "roll_back", Outcome.FAIL),
        (weighed("unknown"), 299, "look_again", Outcome.UNKNOWN),
        (weighed("unknown"), 300, "hold", Outcome.UNKNOWN),
    ],
)
def test_a_step_goes_on_when_shown_good_long_enough_and_is_held_when_its_time_is_up(
    found: RolloutEvidence, seconds: float, then: str, said: Outcome
) -> None:
    decision = judge_stage(look(found, seconds))
    assert (decision.action, decision.verdict.outcome) == (then, said)


@pytest.mark.parametrize("found", [None, weighed("error")])
@pytest.mark.parametrize(("errors", "then"), [(1, "look_again"), (3, "look_again"), (4, "hold")])
def test_what_could_not_be_measured_so_many_times_in_a_row_is_held(
    found: RolloutEvidence | None, errors: int, then: str
) -> None:
    decision = judge_stage(look(found, 10_000, consecutive_errors=errors, error="no counts"))
    assert (decision.action, decision.verdict.outcome) == (then, Outcome.UNKNOWN)
    assert f"{errors} of 4 in a row" in decision.verdict.reasons[0]


def test_a_step_that_a_person_let_go_on_has_its_whole_time_again() -> None:
    found, later = weighed("unknown"), BEGUN + timedelta(seconds=1000)
    assert judge_stage(look(found, 1299, waiting_since=later)).action == "look_again"
    assert judge_stage(look(found, 1300, waiting_since=later)).action == "hold"
    assert judge_stage(look(weighed("pass"), 1001, waiting_since=later)).action == "go_on"


def test_the_facts_hold_the_counts_of_this_step_and_the_numbers_of_each_metric() -> None:
    facts = judge_stage(look(weighed("pass"), 60)).verdict.facts
    assert (facts["candidate_units"], facts["champion_units"], facts["candidate_events"]) == (200, 800, {"bad": 3})
    metrics: Any = facts["metrics"]
    assert (metrics["error_rate"]["outcome"], metrics["error_rate"]["candidate"]) == ("pass", 3)


def test_what_is_missing_is_told() -> None:
    reasons = judge_stage(look(weighed("unknown", FEW), 300)).verdict.reasons
    assert reasons == (
        "not decided after 300 s > 300 s: the traffic is held",
        "error_rate: 3 of 1000 requests of the candidate not shown < 0.02 (log evidence 0.00 < 3.00)",
        "this stage has candidate 20, champion 80; 100 needed in each",
    )


@pytest.mark.parametrize(
    ("units", "action"), [((100, 100), "go_on"), ((99, 800), "look_again"), ((200, 99), "look_again")]
)
def test_each_arm_needs_its_units_in_this_stage(units: tuple[int, int], action: str) -> None:
    assert judge_stage(look(weighed("pass", units), 60)).action == action


def test_a_stage_that_passes_too_early_says_how_long_it_must_last() -> None:
    decision = judge_stage(look(weighed("pass"), 59))
    assert decision.verdict.reasons == ("the stage is 59 s old; it must last 60 s",)


def test_a_stage_without_a_start_begins_now() -> None:
    begun = state(phase="BAKING", step=2, step_started=None)
    decision = judge_stage(look(weighed("pass"), 1000, state=begun))
    assert (decision.action, decision.verdict.facts["seconds"]) == ("look_again", 0.0)


def test_the_facts_give_the_age_of_the_stage_with_one_decimal_and_its_action() -> None:
    facts = judge_stage(look(weighed("pass"), 12.34)).verdict.facts
    assert (facts["seconds"], facts["action"], facts["errors_in_a_row"]) == (12.3, "look_again", 0)


def test_without_a_stage_the_counts_are_none_and_too_few() -> None:
    evidence = weighed("unknown").model_copy(update={"stages": [], "newest": None})
    verdict = judge_stage(look(evidence, 60)).verdict
    assert (verdict.facts["candidate_units"], verdict.facts["champion_units"]) == (0, 0)
    assert (verdict.facts["candidate_events"], verdict.facts["champion_events"]) == ({}, {})
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(
        "nobody asked the gateway for flight_delay in this stage, which is 60 s old: send"
    )
    unmatched = evidence.model_copy(update={"newest": 2})
    assert judge_stage(look(unmatched, 60)).verdict.reasons == verdict.reasons


def test_a_stage_that_nobody_asked_is_held_and_says_so_though_earlier_stages_had_requests() -> None:
    verdict = judge_stage(look(weighed("unknown", newest=1), 300, endpoint="the endpoint")).verdict
    assert verdict.reasons[0] == "not decided after 300 s > 300 s: the traffic is held"
    assert verdict.reasons[1].startswith("nobody asked the endpoint for flight_delay in this stage")
    assert len(verdict.reasons) == 2


def test_the_counts_are_those_of_the_newest_stage() -> None:
    evidence = weighed("pass")
    older = weighed("pass", FEW).stages
    facts = judge_stage(look(evidence.model_copy(update={"stages": [*older, *evidence.stages]}), 60)).verdict.facts
    assert (facts["candidate_units"], facts["champion_events"]) == (200, {"bad": 3})


def test_a_metric_that_is_shown_broken_outweighs_one_that_was_not_measured() -> None:
    limits = (*PLAN.metrics, MetricLimits(name="slow", event="slow", max_rate=0.02))
    evidence = weighed("fail")
    broken = MetricEvidence(metric="slow", faults=("no count of slow",))
    both = evidence.model_copy(update={"metrics": (*evidence.metrics, broken)})
    plan = AnalysisPlan(metrics=limits, minimum_units=100)
    assert judge_stage(look(both, 60, plan=plan)).action == "roll_back"


def test_an_observation_without_evidence_counts_no_error_until_one_is_counted() -> None:
    decision = judge_stage(look(None, 60, error="no counts"))
    assert decision.verdict.reasons == ("not measured (0 of 4 in a row): no counts",)
