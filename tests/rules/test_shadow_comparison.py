from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.messages.comparison import PairedLabels, ShadowMeasure
from pipelines.rules.shadow_comparison import judge_shadow, max_shadow_seconds, seconds_left
from pipelines.spec.deployment import Deployment
from pipelines.spec.strategy import Analysis, Shadow
from pipelines.verdict import Outcome

DECLARED = Deployment(strategy="shadow", shadow=Shadow(duration=100, max_disagreement=0.05))
UNMIRRORED = {"requests": 0, "sent": 0, "compared": 0, "disagreed": 0, "disagreement_below_log_e": 0.0}
PASS_LOG_E, FAIL_LOG_E = math.log(20), math.log(120)


def measured(**changes: Any) -> ShadowMeasure:
    """A candidate that agrees, answers, and was compared throughout."""
    fields: dict[str, Any] = {
        "model": "m",
        "champion": "1",
        "version": "2",
        "rollout_id": "r1",
        "elapsed": 100.0,
        "requests": 1000,
        "failed": 0,
        "sent": 1000,
        "dropped": 0,
        "compared": 1000,
        "disagreed": 10,
        "flipped": 1,
        "coverage": 1.0,
        "disagreement_below_log_e": 9.0,
        "bad_below_log_e": 9.0,
    }
    return ShadowMeasure(**(fields | changes))


def labels(worse: float) -> PairedLabels:
    return PairedLabels(labelled=500, candidate_wrong=90, champion_wrong=40, worse_log_e=worse, better_log_e=-3.0)


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({}, Outcome.PASS, ""),
        ({"disagreement_below_log_e": PASS_LOG_E}, Outcome.PASS, ""),
        ({"coverage": 0.95}, Outcome.PASS, ""),
        ({"compared": 500}, Outcome.PASS, ""),
        ({"labels": labels(FAIL_LOG_E - 0.01)}, Outcome.PASS, ""),
        ({"disagreement_above_log_e": FAIL_LOG_E}, Outcome.FAIL, "differ by more than 0.05: more than 0.05"),
        ({"bad_above_log_e": FAIL_LOG_E, "failed": 40}, Outcome.FAIL, "40 of 1000 requests failed: more than 0.01"),
        ({"labels": labels(FAIL_LOG_E)}, Outcome.FAIL, "alone was wrong 90 times, the champion 40 times"),
        ({"disagreement_above_log_e": FAIL_LOG_E - 0.01}, Outcome.PASS, ""),
        ({"disagreement_below_log_e": PASS_LOG_E - 0.01}, Outcome.UNKNOWN, "not shown below 0.05"),
        ({"bad_below_log_e": 0.0}, Outcome.UNKNOWN, "not shown below 0.01"),
        ({"compared": 499}, Outcome.UNKNOWN, "499 answers compared < 500"),
        ({"coverage": 0.949}, Outcome.UNKNOWN, "lower shadow.sample_rate"),
        ({"coverage": None, **UNMIRRORED, "callers": 7}, Outcome.UNKNOWN, "none of 7 requests was mirrored"),
        ({"errors": ["step 1 counts 5 failed of 4 requests"]}, Outcome.UNKNOWN, "5 failed of 4"),
    ],
)
def test_what_is_shown_decides_and_what_is_not_shown_never_passes(
    changes: dict[str, Any], outcome: Outcome, reason: str
) -> None:
    verdict = judge_shadow(measured(**changes), DECLARED).verdict
    assert verdict.outcome is outcome
    assert reason in "\n".join(verdict.reasons)


@pytest.mark.parametrize("callers", [0, None])
def test_a_shadow_that_nobody_asked_says_only_that_and_what_to_do(callers: int | None) -> None:
    decision = judge_shadow(measured(coverage=None, **UNMIRRORED, callers=callers, elapsed=200.0), DECLARED)
    assert decision.action == "refuse"
    [reason] = decision.verdict.reasons
    assert reason == (
        "nobody asked the gateway for m in the 200 s of its shadow: send its callers' requests to POST"
        " /models/m/invocations, or deploy without a trial (strategy: all_at_once)"
    )


def test_every_broken_limit_is_listed() -> None:
    found = measured(disagreement_above_log_e=9.0, bad_above_log_e=9.0, labels=labels(9.0))
    assert len(judge_shadow(found, DECLARED).verdict.reasons) == 3


def test_a_damaged_count_is_an_error_even_where_a_limit_looks_broken() -> None:
    verdict = judge_shadow(measured(errors=["impossible"], disagreement_above_log_e=9.0), DECLARED).verdict
    assert (verdict.outcome, verdict.facts["answer"]) == (Outcome.UNKNOWN, "error")
    assert judge_shadow(measured(coverage=0.5), DECLARED).verdict.facts["answer"] == "inconclusive"


@pytest.mark.parametrize(
    ("changes", "elapsed", "errors", "action"),
    [
        ({}, 99.0, 0, "look_again"),
        ({}, 100.0, 0, "go_on"),
        ({"coverage": 0.5}, 199.0, 0, "look_again"),
        ({"coverage": 0.5}, 200.0, 0, "refuse"),
        ({"disagreement_above_log_e": 9.0}, 1.0, 0, "roll_back"),
        ({"errors": ["impossible"]}, 1.0, 3, "look_again"),
        ({"errors": ["impossible"]}, 1.0, 4, "refuse"),
    ],
)
def test_a_pass_waits_for_the_duration_an_open_question_for_twice_that_and_a_failure_for_nothing(
    changes: dict[str, Any], elapsed: float, errors: int, action: str
) -> None:
    decision = judge_shadow(measured(elapsed=elapsed, **changes), DECLARED, consecutive_errors=errors)
    assert decision.action == action


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"bad_below_log_e": PASS_LOG_E}, Outcome.PASS),
        ({"bad_below_log_e": PASS_LOG_E - 0.01}, Outcome.UNKNOWN),
        ({"bad_above_log_e": FAIL_LOG_E - 0.01}, Outcome.PASS),
        ({"bad_above_log_e": 9.0, "bad_beyond_champion_log_e": FAIL_LOG_E}, Outcome.FAIL),
        ({"bad_above_log_e": 9.0, "bad_beyond_champion_log_e": FAIL_LOG_E - 0.01}, Outcome.PASS),
        ({"coverage": 0.0}, Outcome.UNKNOWN),
    ],
)
def test_bad_answers_and_coverage_are_decided_at_their_bounds(changes: dict[str, Any], outcome: Outcome) -> None:
    assert judge_shadow(measured(**changes), DECLARED).verdict.outcome is outcome


def test_the_facts_give_the_share_that_disagrees_and_what_is_needed() -> None:
    facts = judge_shadow(measured(), DECLARED).verdict.facts
    assert (facts["answer"], facts["disagreement"]) == ("pass", 0.01)
    assert (facts["needed_to_fail"], facts["needed_to_pass"]) == (pytest.approx(FAIL_LOG_E), pytest.approx(PASS_LOG_E))
    assert judge_shadow(measured(compared=0, disagreed=0), DECLARED).verdict.facts["disagreement"] is None
    assert judge_shadow(measured(disagreement_above_log_e=9.0), DECLARED).verdict.facts["answer"] == "fail"


def test_a_failure_does_not_list_what_was_not_shown() -> None:
    verdict = judge_shadow(measured(disagreement_above_log_e=9.0, coverage=0.5), DECLARED).verdict
    assert len(verdict.reasons) == 1


def test_too_few_requests_in_the_shadow_say_how_many_were_offered() -> None:
    verdict = judge_shadow(measured(coverage=0.5, requests=500, sent=800, dropped=200), DECLARED).verdict
    assert "coverage 0.500 < 0.95 (500 of 1000 sampled requests)" in verdict.reasons[0]


def test_without_a_shadow_its_defaults_are_judged() -> None:
    plain = Deployment(strategy="canary")
    assert judge_shadow(measured(elapsed=86399.0), plain).action == "look_again"
    assert judge_shadow(measured(elapsed=86400.0), plain).action == "go_on"


def test_errors_in_a_row_do_not_stop_what_was_measured() -> None:
    assert judge_shadow(measured(), DECLARED, consecutive_errors=9).action == "go_on"
    assert judge_shadow(measured(errors=["impossible"], elapsed=1.0), DECLARED).action == "look_again"


@pytest.mark.parametrize(
    ("limit", "most", "left"),
    [(None, 200, {0: 100, 99: 1, 100: 100, 150: 50}), (120, 120, {99: 1, 100: 20}), (100, 100, {99: 1, 100: 0})],
)
def test_the_time_left_ends_with_the_duration_and_then_with_its_limit(
    limit: float | None, most: float, left: dict[int, float]
) -> None:
    shadow = Shadow(duration=100, max_duration=limit)
    assert max_shadow_seconds(shadow) == most
    assert {elapsed: seconds_left(elapsed, shadow) for elapsed in left} == left


def test_an_observation_with_impossible_counts_is_no_error_in_a_row_until_it_is_counted() -> None:
    strict = DECLARED.model_copy(update={"analysis": Analysis(consecutive_errors=1)})
    broken = measured(errors=["impossible"], elapsed=1.0)
    assert judge_shadow(broken, strict).action == "look_again"
    assert judge_shadow(broken, strict, consecutive_errors=1).action == "refuse"
