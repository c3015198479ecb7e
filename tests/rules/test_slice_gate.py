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
    assert judge_slices(result(slices=slices), spec()).reasons == (
        "origin=LGA loses roc_auc 0.060 > 0.050 (candidate 0.6400, champion 0.7000, 400 rows)",
        "carrier=OO loses roc_auc 0.250 > 0.050 (candidate 0.4500, champion 0.7000, 300 rows)",
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
    assert judge_slices(result(slices=sizes), spec()).reasons == (
        "origin: no slice has 300 rows (the largest has 9)",
        "carrier: no slice has 300 rows (the largest has 0)",
    )
