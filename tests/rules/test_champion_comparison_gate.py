"""A candidate is let pass only if the whole interval of its gain lies where the declaration wants it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.rules.champion_comparison_gate import judge_candidate
from pipelines.spec.model import ComparisonSpec
from pipelines.verdict import Outcome


@pytest.mark.parametrize(
    ("low", "margin", "require_improvement", "outcome"),
    [
        (0.001, 0.005, False, Outcome.PASS),
        (0.0, 0.0, False, Outcome.PASS),
        (-0.005, 0.005, False, Outcome.PASS),
        (-0.0051, 0.005, False, Outcome.FAIL),
        (-0.2, 0.005, False, Outcome.FAIL),
        (0.001, 0.005, True, Outcome.PASS),
        (0.0, 0.005, True, Outcome.FAIL),
        (-0.004, 0.005, True, Outcome.FAIL),
        (math.nan, 0.005, False, Outcome.UNKNOWN),
        (math.nan, 0.005, True, Outcome.UNKNOWN),
        (-math.inf, 0.005, False, Outcome.UNKNOWN),
    ],
)
def test_the_low_end_of_the_interval_decides(
    spec: Any, result: Any, interval: Any, low: float, margin: float, require_improvement: bool, outcome: Outcome
) -> None:
    declared = {"metric": "roc_auc", "margin": margin, "require_improvement": require_improvement}
    verdict = judge_candidate(result(comparison=interval(low)), spec(comparison=declared))
    assert verdict.outcome is outcome
    assert bool(verdict.reasons) is (outcome is not Outcome.PASS)


def test_a_candidate_better_by_chance_alone_is_not_promoted(spec: Any, result: Any, interval: Any) -> None:
    declared = spec(comparison={"metric": "roc_auc", "require_improvement": True})
    verdict = judge_candidate(result(comparison=interval(-0.01, 0.05, gain=0.02)), declared)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons == (
        "gain of roc_auc over version 3 +0.0200 may be chance: its interval [-0.0100, +0.0500] reaches 0",
    )


def test_the_reason_of_a_worse_candidate_gives_bound_interval_and_rows(spec: Any, result: Any, interval: Any) -> None:
    verdict = judge_candidate(result(comparison=interval(-0.03, -0.01, gain=-0.02)), spec())
    assert verdict.reasons == (
        (
            "low end of the gain of roc_auc over version 3 -0.030 < -0.005 (gain -0.0200, interval [-0.0300, -0.0100], "
            "45 days, 5000 rows)"
        ),
    )


def test_without_a_champion_there_is_nothing_to_be_worse_than_and_the_facts_say_so(spec: Any, result: Any) -> None:
    verdict = judge_candidate(result(champion=None, comparison=None), spec())
    assert verdict.passed
    assert verdict.facts["champion"] == "no champion"


def test_a_champion_that_was_not_compared_is_unknown(spec: Any, result: Any) -> None:
    verdict = judge_candidate(result(comparison=None, notes=["champion 3 cannot be loaded"]), spec())
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reasons == ("comparison with champion 3 not measured", "champion 3 cannot be loaded")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric": "pr_auc"}, "pr_auc was compared, roc_auc is declared"),
        ({"confidence": 0.9}, "confidence 0.9 of the interval is below the declared 0.95"),
        ({"unit": "carrier"}, "the interval is by carrier, day is declared; measure the candidate again"),
        ({"attempt": 2}, "confidence 0.95 of the interval is below the declared 0.983333"),
    ],
)
def test_an_interval_of_another_question_is_unknown(
    spec: Any, result: Any, interval: Any, changes: dict[str, Any], reason: str
) -> None:
    verdict = judge_candidate(result(comparison=interval(0.001, **changes)), spec())
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reasons == (reason,)


def test_a_low_end_below_the_margin_by_rounding_alone_passes(spec: Any, result: Any, interval: Any) -> None:
    declared = spec(comparison={"metric": "roc_auc", "margin": 0.005})
    assert judge_candidate(result(comparison=interval(-0.005 - 1e-12)), declared).passed
    assert judge_candidate(result(comparison=interval(-0.005 - 2e-12)), declared).outcome is Outcome.FAIL


def test_an_interval_that_was_not_measured_as_declared_is_never_a_failure(
    spec: Any, result: Any, interval: Any
) -> None:
    declared = spec(comparison={"metric": "roc_auc", "margin": 0.005, "require_improvement": True})
    verdict = judge_candidate(result(comparison=interval(-0.2, metric="pr_auc")), declared)
    assert verdict.outcome is Outcome.UNKNOWN
    assert len(verdict.reasons) == 1


@pytest.mark.parametrize(
    ("units", "low", "outcome"),
    [
        (20, 0.0, Outcome.PASS),
        (19, 0.0, Outcome.UNKNOWN),
        (19, -0.2, Outcome.UNKNOWN),
        (0, None, Outcome.UNKNOWN),
        (1, None, Outcome.UNKNOWN),
        (20, None, Outcome.UNKNOWN),
    ],
)
def test_an_interval_of_fewer_than_twenty_days_is_not_believed(
    spec: Any, result: Any, interval: Any, units: int, low: float | None, outcome: Outcome
) -> None:
    compared = interval(low, None if low is None else 0.02, units=units)
    verdict = judge_candidate(result(comparison=compared), spec())
    assert verdict.outcome is outcome
    if units < 20:
        assert verdict.reasons[0].startswith(
            f"{units} days compared with version 3, 20 are needed, 40 are wanted; wait"
        )


@pytest.mark.parametrize(
    ("gain", "require_improvement", "outcome"),
    [
        (-0.005, False, Outcome.PASS),
        (-0.0051, False, Outcome.FAIL),
        (0.001, True, Outcome.PASS),
        (0.0, True, Outcome.FAIL),
    ],
)
def test_the_declared_weaker_rule_decides_by_the_gain_and_says_what_it_cannot_show(
    spec: Any, result: Any, interval: Any, gain: float, require_improvement: bool, outcome: Outcome
) -> None:
    declared = spec(
        comparison={
            "metric": "roc_auc",
            "margin": 0.005,
            "too_few_units": "point_estimate",
            "require_improvement": require_improvement,
        }
    )
    verdict = judge_candidate(result(comparison=interval(-0.3, 0.3, gain=gain, units=11)), declared)
    assert verdict.outcome is outcome
    assert "it cannot be shown that nothing is lost, the declared weaker rule decides" in verdict.findings[0]


def test_the_weaker_rule_does_not_decide_where_there_are_days_enough(spec: Any, result: Any, interval: Any) -> None:
    declared = spec(comparison={"metric": "roc_auc", "margin": 0.005, "too_few_units": "point_estimate"})
    assert judge_candidate(result(comparison=interval(-0.2, units=20)), declared).outcome is Outcome.FAIL


def test_the_verdict_says_how_probable_a_pass_of_an_equal_candidate_is(spec: Any, result: Any, interval: Any) -> None:
    few = judge_candidate(result(comparison=interval(0.001, units=25, equal_passes=0.54)), spec())
    assert few.findings[1] == "a candidate as good as it passes with 54% at margin 0.005 on 25 days; 40 are wanted"
    assert "wanted" not in judge_candidate(result(comparison=interval(0.001)), spec()).findings[1]


@pytest.mark.parametrize(("low", "outcome"), [(0.001, Outcome.PASS), (-0.005, Outcome.PASS), (-0.0051, Outcome.FAIL)])
def test_losses_against_the_anchor_count_like_those_against_the_champion(
    spec: Any, result: Any, interval: Any, low: float, outcome: Outcome
) -> None:
    anchored = result(anchor="1", anchor_comparison=interval(low))
    verdict = judge_candidate(anchored, spec())
    assert verdict.outcome is outcome
    assert verdict.facts["anchor"]["version"] == "1"
    assert all("over anchor 1" in reason for reason in verdict.reasons)


def test_an_improvement_is_asked_over_the_champion_and_not_over_the_anchor(
    spec: Any, result: Any, interval: Any
) -> None:
    declared = spec(comparison={"metric": "roc_auc", "margin": 0.005, "require_improvement": True})
    assert judge_candidate(result(anchor="1", anchor_comparison=interval(-0.004)), declared).passed


def test_an_anchor_that_could_not_be_compared_is_told(spec: Any, result: Any) -> None:
    verdict = judge_candidate(result(anchor_notes=["anchor 1 was not compared: it needs tail_age"]), spec())
    assert verdict.passed
    assert verdict.findings[-1].endswith("the champion alone decides: anchor 1 was not compared: it needs tail_age")


def test_a_later_attempt_on_the_same_test_part_needs_a_wider_interval(spec: Any, result: Any, interval: Any) -> None:
    second = interval(0.001, attempt=2, confidence=spec().evaluation.comparison.level(2))
    verdict = judge_candidate(result(comparison=second), spec())
    assert verdict.passed
    assert "candidate 2 compared on this test part: its interval has confidence 98.33%" in verdict.findings[-1]


def test_all_attempts_together_spend_no_more_than_the_declared_error(spec: Any) -> None:
    declared = spec().evaluation.comparison
    one_sided = [(1 - declared.level(attempt)) / 2 for attempt in range(1, 1000)]
    assert one_sided[0] == pytest.approx(0.025)
    assert sum(one_sided) == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize(
    ("metric", "margin", "champion", "allowed"),
    [
        ("roc_auc", None, 0.7, 0.02),
        ("mae", None, 20.0, 0.4),
        ("log_loss", None, 0.5, 0.01),
        ("mae", 0.5, 20.0, 0.5),
        ("roc_auc", 0.0, 0.7, 0.0),
    ],
)
def test_the_margin_that_is_not_declared_is_two_points_or_two_percent(
    metric: str, margin: float | None, champion: float, allowed: float
) -> None:
    assert ComparisonSpec(metric=metric, margin=margin).allowed_loss(champion) == pytest.approx(allowed)
