"""The performance rule compares the window with the version's own test metric, whichever way the metric points."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.messages.monitoring import PerformanceResult
from pipelines.rules.performance_check import judge_performance
from pipelines.spec.catalog import read_declaration
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome

MODELS = Path(__file__).parents[2] / "include" / "models"
CLASSIFIER = read_declaration(MODELS / "flight_delay.yaml", ModelSpec)
REGRESSOR = read_declaration(MODELS / "arrival_delay_minutes.yaml", ModelSpec)


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


@pytest.mark.parametrize(
    ("spec", "metric", "value", "reference", "outcome"),
    [
        (CLASSIFIER, "roc_auc", 0.70, 0.70, Outcome.PASS),
        (CLASSIFIER, "roc_auc", 0.63, 0.70, Outcome.PASS),
        (CLASSIFIER, "roc_auc", 0.61, 0.70, Outcome.FAIL),
        (CLASSIFIER, "roc_auc", 0.90, 0.70, Outcome.PASS),
        (REGRESSOR, "mae", 25.0, 22.0, Outcome.PASS),
        (REGRESSOR, "mae", 31.0, 22.0, Outcome.FAIL),
        (REGRESSOR, "mae", 10.0, 22.0, Outcome.PASS),
    ],
)
def test_only_a_drop_beyond_the_declared_one_fails(
    spec: ModelSpec, metric: str, value: float, reference: float, outcome: Outcome
) -> None:
    verdict = judge_performance(result(metric, value, reference), spec)
    assert verdict.outcome is outcome
    assert verdict.facts["performance"] == outcome.value


def test_the_reason_gives_the_value_the_reference_the_drop_and_the_limit() -> None:
    verdict = judge_performance(result("mae", 31.0, 22.0), REGRESSOR)
    assert verdict.reasons == ("mae 31.0000 is worse than the test's 22.0000 by 9.0000 > 8.0 (5900 labels)",)


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
    assert judge_performance(result("roc_auc", 0.7, 0.7, window_labelled=labels), CLASSIFIER).passed


def test_a_drop_of_exactly_the_declared_one_passes() -> None:
    assert judge_performance(result("mae", 30.0, 22.0), REGRESSOR).passed
    assert judge_performance(result("mae", 30.0001, 22.0), REGRESSOR).outcome is Outcome.FAIL


def test_a_value_of_no_known_version_is_unknown_and_has_no_drop() -> None:
    verdict = judge_performance(result("roc_auc", 0.1, None, version=None), CLASSIFIER)
    assert (verdict.outcome, verdict.facts["drop"]) == (Outcome.UNKNOWN, None)
