"""The performance rule fails what is shown to be worse than the certificate's days, and nothing that may be chance."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.messages.monitoring import AnchorComparison, DayComparison, PerformanceResult
from pipelines.rules.performance_check import judge_performance
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome
from tests.declared import shipped_model

MODELS = Path(__file__).parents[2] / "include" / "models"
CLASSIFIER = shipped_model()
REGRESSOR = shipped_model("arrival_delay_minutes")


def result(metric: str, value: float | None, reference: float | None, **changes: Any) -> PerformanceResult:
    fields: dict[str, Any] = {
        "model": "m",
        "day": date(2013, 5, 7),
        "days": [],
        "window_metrics": {metric: value},
        "window_predictions": 6000,
        "window_labelled": 5900,
        "version": "3",
        "reference": {} if reference is None else {metric: reference},
    }
    return PerformanceResult(**{**fields, **changes})


def compared(metric: str, difference: float = 0.0, **changes: Any) -> DayComparison:
    fields: dict[str, Any] = {
        "metric": metric,
        "certificate_days": 40,
        "window_days": 28,
        "difference": difference,
        "half_width": 0.03,
        "limit_half_width": 0.05,
        "autocorrelation": 0.1,
        "watched_days": 60,
        "cusum": 1.0,
        "cusum_limit": 10.5,
    }
    return DayComparison(**{**fields, **changes})


def test_the_drop_is_what_was_lost_against_the_certificate() -> None:
    verdict = judge_performance(result("roc_auc", 0.68, 0.7, comparison=compared("roc_auc", -0.02)), CLASSIFIER)
    assert verdict.facts["drop"] == 0.02


@pytest.mark.parametrize(
    ("difference", "limit_half_width", "cusum", "alarm"),
    [
        (0.0, 0.05, 1.0, []),
        (-0.12, 0.05, 1.0, []),  # -0.07 at the least: within the declared 0.08
        (-0.14, 0.05, 1.0, ["interval"]),
        (-0.14, 0.10, 1.0, []),
        (+0.30, 0.05, 1.0, []),
        (0.0, 0.05, 10.5, []),
        (0.0, 0.05, 10.6, ["cusum"]),
        (-0.14, 0.05, 10.6, ["cusum", "interval"]),
    ],
)
def test_a_detection_is_a_sum_of_losses_past_its_limit_or_a_drop_that_is_shown_to_exceed_the_declared_one(
    difference: float, limit_half_width: float, cusum: float, alarm: list[str]
) -> None:
    comparison = compared("roc_auc", difference, limit_half_width=limit_half_width, cusum=cusum)
    verdict = judge_performance(result("roc_auc", 0.7, 0.7, comparison=comparison), CLASSIFIER)
    assert verdict.outcome is (Outcome.FAIL if alarm else Outcome.PASS)
    assert (verdict.facts["alarm"], verdict.facts["performance"]) == (alarm, verdict.outcome.value)
    assert len(verdict.reasons) == len(alarm)


def test_the_reasons_give_the_sum_the_limit_the_drop_and_the_days() -> None:
    comparison = compared("mae", -19.0, limit_half_width=10.0, cusum=12.0, cusum_since=date(2013, 4, 20))
    verdict = judge_performance(result("mae", 41.0, 22.0, comparison=comparison), REGRESSOR)
    assert verdict.reasons == (
        "mae has been worse than on the 40 days of the certificate since 2013-04-20: sum of losses 12.0 > 10.5",
        "mae is worse than the certificate's by 19.0000, at the least 9.0000 > 8.0 (28 days)",
    )


def test_what_was_measured_is_told_with_its_interval_whatever_the_outcome() -> None:
    verdict = judge_performance(result("roc_auc", 0.7, 0.71, comparison=compared("roc_auc", -0.01)), CLASSIFIER)
    assert verdict.findings == (
        "version 3: roc_auc 0.0100 worse ± 0.0300 (28 days against 40 of the certificate), limit 0.08 worse",
        "sum of losses 1.0, limit 10.5 (60 days)",
        "5900 labels of 6000 predictions in the window",
        "over all rows of the window roc_auc 0.7000, of its test 0.7100",
    )


@pytest.mark.parametrize(
    ("metric", "spec", "value", "reference"), [("mae", REGRESSOR, 27.0, 22.0), ("roc_auc", CLASSIFIER, 0.65, 0.70)]
)
def test_a_change_is_told_in_words_so_that_none_reads_as_its_opposite(
    metric: str, spec: ModelSpec, value: float, reference: float
) -> None:
    loss = abs(value - reference)
    for difference, word in ((-loss, "worse"), (loss, "better")):
        verdict = judge_performance(result(metric, value, reference, comparison=compared(metric, difference)), spec)
        assert f"version 3: {metric} {loss:.4f} {word} ± " in verdict.findings[0]


def test_a_certificate_of_too_few_days_has_no_sum_of_losses_and_says_so() -> None:
    few = compared("roc_auc", certificate_days=9, cusum=None, cusum_limit=None)
    verdict = judge_performance(result("roc_auc", 0.7, 0.7, comparison=few), CLASSIFIER)
    assert verdict.passed
    assert "no sum of losses: the certificate has 9 days (needs 14)" in verdict.findings


def test_a_single_day_has_no_interval_and_is_unknown() -> None:
    verdict = judge_performance(result("roc_auc", 0.1, 0.7), CLASSIFIER)
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reasons == ("roc_auc was measured within fewer than two days of the window",)
    assert verdict.facts["too_little_data"]


def test_a_certificate_of_a_single_day_is_named_as_what_is_too_short() -> None:
    verdict = judge_performance(result("roc_auc", 0.1, 0.7, uncompared=(7, 1)), CLASSIFIER)
    [reason] = verdict.reasons
    assert "7 day(s) of the window and 1 of the certificate's test rows; a comparison needs two of each" in reason


@pytest.mark.parametrize(
    ("measured", "named"),
    [
        (result("roc_auc", 0.40, 0.70, window_labelled=999), "999 labels of 6000 predictions"),
        (result("roc_auc", None, 0.70), "roc_auc was not measured"),
        (result("roc_auc", 0.40, None), "no test metric 'roc_auc'"),
        (result("roc_auc", None, None, version=None, window_labelled=0), "no prediction was logged"),
    ],
)
def test_too_few_labels_or_a_missing_number_is_unknown_and_named(measured: PerformanceResult, named: str) -> None:
    verdict = judge_performance(measured, CLASSIFIER)
    assert verdict.outcome is Outcome.UNKNOWN
    assert any(named in reason for reason in verdict.reasons)


def test_everything_missing_is_listed_at_once() -> None:
    verdict = judge_performance(result("roc_auc", None, None, window_labelled=3), CLASSIFIER)
    assert len(verdict.reasons) == 3


def test_as_many_labels_as_declared_are_enough() -> None:
    labels = CLASSIFIER.monitoring.performance.minimum_labels
    enough = result("roc_auc", 0.7, 0.7, window_labelled=labels, comparison=compared("roc_auc"))
    assert judge_performance(enough, CLASSIFIER).passed


def test_a_drop_that_exceeds_the_declared_one_by_nothing_passes() -> None:
    at_limit = compared("mae", -18.0, limit_half_width=10.0)
    assert judge_performance(result("mae", 30.0, 22.0, comparison=at_limit), REGRESSOR).passed
    beyond = compared("mae", -18.0001, limit_half_width=10.0)
    assert judge_performance(result("mae", 30.0, 22.0, comparison=beyond), REGRESSOR).outcome is Outcome.FAIL


def test_an_alarm_on_too_few_labels_is_unknown() -> None:
    alarmed = result("roc_auc", 0.4, 0.7, window_labelled=3, comparison=compared("roc_auc", -0.3, cusum=99.0))
    verdict = judge_performance(alarmed, CLASSIFIER)
    assert (verdict.outcome, verdict.facts["alarm"]) == (Outcome.UNKNOWN, [])


def test_a_value_of_no_known_version_is_unknown_and_has_no_drop() -> None:
    verdict = judge_performance(result("roc_auc", 0.1, None, version=None), CLASSIFIER)
    assert (verdict.outcome, verdict.facts["drop"]) == (Outcome.UNKNOWN, None)


@pytest.mark.parametrize(("difference", "shown"), [(-0.12, True), (-0.09, False), (0.02, False)])
def test_what_was_lost_since_the_anchor_is_told_and_fails_nothing(difference: float, shown: bool) -> None:
    anchor = AnchorComparison(version="1", certificate_days=40, difference=difference, half_width=0.03)
    measured = result("roc_auc", 0.7, 0.7, comparison=compared("roc_auc"), anchor=anchor)
    verdict = judge_performance(measured, CLASSIFIER)
    [finding] = [line for line in verdict.findings if line.startswith("beside the anchor, version 1: roc_auc")]
    assert ("is shown to be worse by more than the limit" in finding) is shown
    assert verdict.passed
    assert verdict.facts["anchor"] == anchor.model_dump()
