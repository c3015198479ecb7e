"""A metric is foreseen where the mix of rows changes, and is not moved where only the outcomes do."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.steps.evaluation.metrics import measure_one
from pipelines.steps.monitoring.expected_metric import Calibration, calibrate, expected_metric

METRICS = ("roc_auc", "pr_auc", "log_loss", "accuracy", "precision", "recall", "f1")
THRESHOLD = 0.35


def stream(seed: int, spread: float = 1.0, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Answers of a model that is too sure of itself (twice the logit), and labels."""
    draw = np.random.default_rng(seed)
    logit = draw.normal(-0.8, spread, rows)
    labels = (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(float)
    return 1 / (1 + np.exp(-2 * logit)), labels


def truth(metric: str, answers: np.ndarray, labels: np.ndarray) -> float:
    value = measure_one("classification", metric, labels, answers, THRESHOLD)
    assert value is not None
    return value


CALIBRATION = calibrate(*stream(1))


def test_the_calibration_undoes_what_the_model_exaggerates() -> None:
    assert CALIBRATION is not None
    assert CALIBRATION.slope == pytest.approx(0.5, abs=0.03)
    assert CALIBRATION.intercept == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spread", [0.5, 1.0, 1.5])
def test_a_metric_is_foreseen_though_the_rows_became_harder_or_easier(metric: str, spread: float) -> None:
    answers, labels = stream(2, spread)
    assert CALIBRATION is not None
    assert expected_metric(metric, answers, CALIBRATION, THRESHOLD) == pytest.approx(
        truth(metric, answers, labels), abs=0.02
    )


def test_a_change_of_the_outcomes_alone_moves_no_estimate() -> None:
    answers, labels = stream(2)
    flipped = 1 - labels
    assert CALIBRATION is not None
    estimate = expected_metric("roc_auc", answers, CALIBRATION, THRESHOLD)
    assert estimate is not None
    assert truth("roc_auc", answers, flipped) < 0.5 < estimate


def test_answers_of_zero_and_one_are_estimated_and_one_class_is_not_calibrated() -> None:
    assert expected_metric("roc_auc", np.array([0.0, 1.0, 0.5]), Calibration(1.0, 0.0), THRESHOLD) is not None
    assert expected_metric("roc_auc", np.array([]), Calibration(1.0, 0.0), THRESHOLD) is None
    assert calibrate(np.array([0.2, 0.4]), np.array([1.0, 1.0])) is None
