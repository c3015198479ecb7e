"""A candidate is let pass only if the whole interval of its gain lies where the declaration wants it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.rules.champion_comparison_gate import judge_candidate
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
    assert verdict.reasons == ("gain of roc_auc +0.0200 may be chance: its interval [-0.0100, +0.0500] reaches 0",)


def test_the_reason_of_a_worse_candidate_gives_bound_interval_and_rows(spec: Any, result: Any, interval: Any) -> None:
    verdict = judge_candidate(result(comparison=interval(-0.03, -0.01, gain=-0.02)), spec())
    assert verdict.reasons == (
        "low end of the gain of roc_auc -0.030 < -0.005 (gain -0.0200, interval [-0.0300, -0.0100], 5000 rows)",
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
        ({"resamples": 10}, "10 resamples were drawn, 1000 are declared"),
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
    verdict = judge_candidate(result(comparison=interval(-0.2, resamples=9)), declared)
    assert verdict.outcome is Outcome.UNKNOWN
    assert len(verdict.reasons) == 1
