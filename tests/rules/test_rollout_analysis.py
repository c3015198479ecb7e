"""What is done after one look at a step, by table."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pipelines.rollout.analysis import Arm, MetricVerdict, Outcome, RolloutVerdict, StepCounts, WeighedRollout
from pipelines.rules.rollout_analysis import Look, judge_look
from pipelines.verdict import Outcome as Said
from tests.rules.rollout_facts import BEGUN, state

ENOUGH, FEW = (200, 800), (20, 80)


def weighed(outcome: Outcome, units: tuple[int, int] = ENOUGH, *, newest: int = 2) -> WeighedRollout:
    reasons = () if outcome is Outcome.PASS else (f"error_rate: {outcome.value}",)
    metric = MetricVerdict(metric="error_rate", role="guardrail", outcome=outcome, reasons=reasons, facts={"bad": 3})
    candidate, champion = (Arm(units=number, events={"bad": 3}) for number in units)
    return WeighedRollout(
        verdict=RolloutVerdict(outcome=outcome, reasons=reasons, metrics=(metric,), facts={"split_log_e": 0.1}),
        steps=[StepCounts(weight=0.2, candidate=candidate, champion=champion)],
        newest=newest,
    )


def look(found: WeighedRollout | None, seconds: float, **changes: Any) -> Look:
    facts: dict[str, Any] = {
        "state": state(phase="BAKING", step=2, split={"9": 8000, "10": 2000}),
        "weighed": found,
        "max_errors": 4,
        "now": BEGUN + timedelta(seconds=seconds),
        "waiting_since": BEGUN,
        "bake": 60,
        "limit": 300,
        "minimum_units": 100,
    }
    return Look(**(facts | changes))


@pytest.mark.parametrize(
    ("found", "seconds", "then", "said"),
    [
        (weighed(Outcome.PASS), 60, "go_on", Said.PASS),
        (weighed(Outcome.PASS), 59.9, "look_again", Said.UNKNOWN),
        (weighed(Outcome.PASS), 10_000, "go_on", Said.PASS),
        (weighed(Outcome.PASS, FEW), 60, "look_again", Said.UNKNOWN),
        (weighed(Outcome.PASS, FEW), 300, "hold", Said.UNKNOWN),
        (weighed(Outcome.PASS, newest=1), 60, "look_again", Said.UNKNOWN),
        (weighed(Outcome.FAIL), 0, "roll_back", Said.FAIL),
        (weighed(Outcome.FAIL, FEW), 10_000, "roll_back", Said.FAIL),
        (weighed(Outcome.INCONCLUSIVE), 299, "look_again", Said.UNKNOWN),
        (weighed(Outcome.INCONCLUSIVE), 300, "hold", Said.UNKNOWN),
    ],
)
def test_a_step_goes_on_when_shown_good_long_enough_and_is_held_when_its_time_is_up(
    found: WeighedRollout, seconds: float, then: str, said: Said
) -> None:
    verdict = judge_look(look(found, seconds))
    assert (verdict.facts["then"], verdict.outcome) == (then, said)


@pytest.mark.parametrize("found", [None, weighed(Outcome.ERROR)])
@pytest.mark.parametrize(("errors", "then"), [(1, "look_again"), (3, "look_again"), (4, "hold")])
def test_what_could_not_be_measured_so_many_times_in_a_row_is_held(
    found: WeighedRollout | None, errors: int, then: str
) -> None:
    verdict = judge_look(look(found, 10_000, errors=errors, error="no counts"))
    assert (verdict.facts["then"], verdict.outcome) == (then, Said.UNKNOWN)
    assert f"{errors} of 4 in a row" in verdict.reasons[0]


def test_a_step_that_a_person_let_go_on_has_its_whole_time_again() -> None:
    found, later = weighed(Outcome.INCONCLUSIVE), BEGUN + timedelta(seconds=1000)
    assert judge_look(look(found, 1299, waiting_since=later)).facts["then"] == "look_again"
    assert judge_look(look(found, 1300, waiting_since=later)).facts["then"] == "hold"
    assert judge_look(look(weighed(Outcome.PASS), 1001, waiting_since=later)).facts["then"] == "go_on"


def test_the_facts_hold_the_counts_of_this_step_and_the_numbers_of_each_metric() -> None:
    facts = judge_look(look(weighed(Outcome.PASS), 60)).facts
    assert (facts["candidate_units"], facts["champion_units"], facts["candidate_events"]) == (200, 800, {"bad": 3})
    assert facts["metrics"] == {"error_rate": {"outcome": "pass", "bad": 3}}


def test_what_is_missing_is_told() -> None:
    reasons = judge_look(look(weighed(Outcome.INCONCLUSIVE, FEW), 300)).reasons
    assert reasons == (
        "not decided after 300 s, the limit is 300 s: traffic is held",
        "error_rate: inconclusive",
        "this step has candidate 20, champion 80; 100 needed in each",
    )
