"""Each slice that is large enough is held to its own bound, and a slice that was not measured never passes."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.rules.slice_gate import judge_slices
from pipelines.verdict import Outcome


@pytest.mark.parametrize(
    ("gain", "rows", "outcome"),
    [
        (0.02, 300, Outcome.PASS),
        (-0.05, 300, Outcome.PASS),
        (0.60 - 0.65, 300, Outcome.PASS),
        (-0.051, 300, Outcome.FAIL),
        (-0.5, 299, Outcome.PASS),
        (None, 300, Outcome.UNKNOWN),
        (float("nan"), 300, Outcome.UNKNOWN),
        (None, 299, Outcome.PASS),
    ],
)
def test_a_slice_of_enough_rows_may_not_lose_more_than_declared(
    spec: Any, result: Any, slice_metric: Any, gain: float | None, rows: int, outcome: Outcome
) -> None:
    others = [slice_metric("origin", "JFK", 0.0), slice_metric("carrier", "UA", 0.0)]
    verdict = judge_slices(result(slices=[*others, slice_metric("origin", "LGA", gain, rows)]), spec())
    assert verdict.outcome is outcome


def test_every_losing_slice_is_listed_with_its_numbers(spec: Any, result: Any, slice_metric: Any) -> None:
    slices = [
        slice_metric("origin", "JFK", 0.0),
        slice_metric("origin", "LGA", -0.06, 400),
        slice_metric("carrier", "OO", -0.25),
    ]
    chance = "45 units; by chance with 0.001 ≤ 0.017"
    assert judge_slices(result(slices=slices), spec()).reasons == (
        f"origin=LGA loses roc_auc 0.060 > 0.050 (candidate 0.6400, champion 0.7000, 400 rows, {chance})",
        f"carrier=OO loses roc_auc 0.250 > 0.050 (candidate 0.4500, champion 0.7000, 300 rows, {chance})",
    )


def test_a_declared_column_without_a_slice_large_enough_is_unknown(spec: Any, result: Any, slice_metric: Any) -> None:
    slices = [slice_metric("origin", "JFK", 0.0), slice_metric("carrier", "UA", 0.0, 120)]
    verdict = judge_slices(result(slices=slices), spec())
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reasons == ("carrier: no slice has 300 rows (the largest has 120)",)


def test_no_declared_slices_and_no_champion_pass_and_the_facts_say_why(spec: Any, result: Any) -> None:
    assert judge_slices(result(), spec(slices=None)).facts["slices"] == "none declared"
    verdict = judge_slices(result(champion=None), spec())
    assert verdict.passed
    assert verdict.facts["champion"] == "no champion"


def test_a_loss_beyond_the_limit_by_rounding_alone_passes(spec: Any, result: Any, slice_metric: Any) -> None:
    for loss, passed in ((0.05 + 1e-12, True), (0.05 + 2e-12, False)):
        slices = [slice_metric("origin", "JFK", -loss), slice_metric("carrier", "UA", 0.0)]
        assert judge_slices(result(slices=slices), spec()).passed is passed


def test_a_slice_of_another_metric_is_not_judged(spec: Any, result: Any, slice_metric: Any) -> None:
    other = slice_metric("origin", "JFK", -0.5).model_copy(update={"metric": "log_loss"})
    slices = [other, slice_metric("origin", "LGA", 0.0), slice_metric("carrier", "UA", 0.0)]
    verdict = judge_slices(result(slices=slices), spec())
    assert verdict.passed
    assert verdict.facts["too_small_to_judge"] == 1
    assert verdict.facts["gains"] == {"origin=LGA": 0.0, "carrier=UA": 0.0}


def test_a_column_without_any_slice_has_none_of_any_size(spec: Any, result: Any, slice_metric: Any) -> None:
    sizes = [slice_metric("origin", "JFK", 0.0, 7), slice_metric("origin", "LGA", 0.0, 9)]
    large = [slice_metric("origin", "EWR", 0.0), slice_metric("carrier", "UA", 0.0)]
    assert judge_slices(result(slices=[*sizes, *large]), spec()).facts["too_small_to_judge"] == 2
    assert judge_slices(result(slices=sizes), spec()).reasons == (
        "origin: no slice has 300 rows (the largest has 9)",
        "carrier: no slice has 300 rows (the largest has 0)",
    )


@pytest.mark.parametrize(("chance", "passed"), [(0.0249, False), (0.0251, True), (0.9, True)])
def test_a_large_loss_that_may_be_chance_is_not_refused_and_all_slices_share_the_error(
    spec: Any, result: Any, slice_metric: Any, chance: float, passed: bool
) -> None:
    slices = [slice_metric("origin", "LGA", -0.2, chance=chance), slice_metric("carrier", "UA", 0.0)]
    assert judge_slices(result(slices=slices), spec()).passed is passed


def test_the_declared_rate_of_false_refusals_is_the_one_that_is_shared(
    spec: Any, result: Any, slice_metric: Any
) -> None:
    slices = [slice_metric("origin", "LGA", -0.2, chance=0.004), slice_metric("carrier", "UA", 0.0)]
    declared = spec().evaluation.slices.model_dump() | {"false_refusals": 0.006}
    assert judge_slices(result(slices=slices), spec(slices=declared)).passed


def test_a_slice_of_few_days_is_too_small_to_judge(spec: Any, result: Any, slice_metric: Any) -> None:
    small = slice_metric("origin", "LGA", -0.9, units=4)
    others = [slice_metric("origin", "JFK", 0.0), slice_metric("carrier", "UA", 0.0)]
    verdict = judge_slices(result(slices=[small, *others]), spec())
    assert verdict.passed
    assert verdict.facts["too_small_to_judge"] == 1
    alone = judge_slices(result(slices=[small, others[1]]), spec())
    assert alone.reasons == ("origin: no slice can be judged, each needs 5 days or entities (the most are 4)",)


def test_where_the_gain_alone_may_decide_a_slice_of_few_days_is_judged_by_it_and_the_finding_says_so(
    spec: Any, result: Any, slice_metric: Any
) -> None:
    declared = spec(comparison={"metric": "roc_auc", "too_few_units": "point_estimate"})
    losing = slice_metric("origin", "LGA", -0.06, units=2, chance=None)
    verdict = judge_slices(result(slices=[losing, slice_metric("carrier", "UA", 0.0)]), declared)
    assert verdict.outcome is Outcome.FAIL
    assert "by the gain alone, in 2 units" in verdict.reasons[0]
    assert verdict.findings[0].endswith("1 by the gain alone, as declared")
