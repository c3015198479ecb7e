"""Metrics are scikit-learn's numbers, resampled or not; what the rows do not define is None, never a number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from pipelines.spec.model import CLASSIFICATION_METRICS, REGRESSION_METRICS
from pipelines.steps.evaluation.metrics import Array, gain, measure, measure_one
from pipelines.steps.evaluation.weighted import weighted_metric

THRESHOLD = 0.4
SCORES: dict[str, Any] = {
    "accuracy": lambda y, p, w: sk.accuracy_score(y, p >= THRESHOLD, sample_weight=w),
    "precision": lambda y, p, w: sk.precision_score(y, p >= THRESHOLD, sample_weight=w),
    "recall": lambda y, p, w: sk.recall_score(y, p >= THRESHOLD, sample_weight=w),
    "f1": lambda y, p, w: sk.f1_score(y, p >= THRESHOLD, sample_weight=w),
    "roc_auc": lambda y, p, w: sk.roc_auc_score(y, p, sample_weight=w),
    "pr_auc": lambda y, p, w: sk.average_precision_score(y, p, sample_weight=w),
    "log_loss": lambda y, p, w: sk.log_loss(y, p, sample_weight=w),
    "brier": lambda y, p, w: sk.brier_score_loss(y, p, sample_weight=w),
    "mae": lambda y, p, w: sk.mean_absolute_error(y, p, sample_weight=w),
    "rmse": lambda y, p, w: sk.root_mean_squared_error(y, p, sample_weight=w),
    "r2": lambda y, p, w: sk.r2_score(y, p, sample_weight=w),
    "mape": lambda y, p, w: sk.mean_absolute_percentage_error(y, p, sample_weight=w),
}


def problem_of(metric: str) -> str:
    return "classification" if metric in CLASSIFICATION_METRICS else "regression"


def sample(metric: str, rows: int = 400, signal: float = 0.4, seed: int = 1) -> tuple[Array, Array]:
    """Targets and answers with ties; a larger ``signal`` is a better model."""
    random = np.random.default_rng(7)
    noise = np.random.default_rng(seed).random(rows)
    target = (random.random(rows) < 0.3).astype(float)
    if problem_of(metric) == "regression":
        target = random.normal(50, 20, rows)
        return target, np.round(signal * target + (1 - signal) * 100 * noise, 1)
    return target, np.clip(signal * target + (1 - signal) * noise, 0.01, 0.99).round(2).astype(np.float64)


@pytest.mark.parametrize("metric", [*CLASSIFICATION_METRICS, *REGRESSION_METRICS])
def test_a_metric_is_scikit_learns(metric: str) -> None:
    target, answers = sample(metric)
    expected = SCORES[metric](target, answers, None)
    assert measure(problem_of(metric), target, answers, THRESHOLD)[metric] == pytest.approx(expected, abs=1e-12)
    assert measure_one(problem_of(metric), metric, target, answers, THRESHOLD) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [*CLASSIFICATION_METRICS, *REGRESSION_METRICS])
def test_a_metric_over_resamples_is_scikit_learns_with_weights(metric: str) -> None:
    target, answers = sample(metric)
    counts = np.random.default_rng(3).integers(0, 4, size=(5, len(target))).astype(float)
    found = weighted_metric(metric, target, answers, THRESHOLD)(counts)
    expected = [SCORES[metric](target, answers, row) for row in counts]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_confusion_counts_every_row_once_and_equal_to_the_threshold_is_a_yes() -> None:
    found = measure("classification", np.array([1.0, 1, 0, 0, 0]), np.array([0.4, 0.39, 0.4, 0.1, 0.2]), 0.4)
    counts = [found[name] for name in ("true_positives", "false_negatives", "false_positives", "true_negatives")]
    assert counts == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("target", "answers", "unmeasured"),
    [
        ([], [], {*CLASSIFICATION_METRICS}),
        ([0, 0, 0], [0.1, 0.2, 0.6], {"roc_auc", "pr_auc", "recall"}),
        ([0, 0, 0], [0.1, 0.2, 0.3], {"roc_auc", "pr_auc", "recall", "precision", "f1"}),
        ([1, 1, 1], [0.1, 0.2, 0.3], {"roc_auc", "pr_auc", "precision"}),
        ([0, 1, 1], [0.1, math.nan, 0.3], {*CLASSIFICATION_METRICS}),
        ([0, 1, 1], [0.1, math.inf, 0.3], {*CLASSIFICATION_METRICS}),
    ],
)
def test_a_classification_metric_that_the_rows_do_not_define_is_none(
    target: list[float], answers: list[float], unmeasured: set[str]
) -> None:
    found = measure("classification", np.array(target, dtype=float), np.array(answers, dtype=float), 0.5)
    assert {name for name in CLASSIFICATION_METRICS if found[name] is None} == unmeasured


@pytest.mark.parametrize(
    ("target", "answers", "unmeasured"),
    [
        ([], [], {*REGRESSION_METRICS}),
        ([5], [4], {"r2"}),
        ([5, 5], [4, 5], {"r2"}),
        ([0, 5], [4, 5], {"mape"}),
        ([1, 5], [math.nan, 5], {*REGRESSION_METRICS}),
    ],
)
def test_a_regression_metric_that_the_rows_do_not_define_is_none(
    target: list[float], answers: list[float], unmeasured: set[str]
) -> None:
    found = measure("regression", np.array(target, dtype=float), np.array(answers, dtype=float), 0.5)
    assert {name for name, value in found.items() if value is None} == unmeasured


@pytest.mark.parametrize(("metric", "expected"), [("roc_auc", 0.25), ("mae", -0.25), ("log_loss", -0.25)])
def test_gain_is_positive_when_the_candidate_is_better(metric: str, expected: float) -> None:
    assert gain(metric, 0.75, 0.5) == expected
    assert gain(metric, None, 0.5) is None
