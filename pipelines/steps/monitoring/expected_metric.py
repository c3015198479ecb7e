"""Estimates a classification metric before labels arrive, from the probabilities that a recalibrated model gives.

Confidence-based performance estimation: each row counts as a positive with its calibrated probability, and as a
negative with the rest. It sees that the mix of rows became harder or easier; that the same rows now end differently
(a pure change of concept) moves it by nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from pipelines.steps.evaluation.weighted import weighted_metric

Array = npt.NDArray[np.float64]
SMALLEST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class Calibration:
    """``P(1) = 1 / (1 + exp(-(slope * logit(answer) + intercept)))``."""

    slope: float
    intercept: float

    def probabilities(self, answers: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-(self.slope * _logit(answers) + self.intercept))))


def calibrate(answers: Array, labels: Array) -> Calibration | None:
    """Platt's scaling (1999) of answers (probabilities) on labels (0 or 1); None unless both classes occur."""
    if len(np.unique(labels)) < 2:
        return None
    fitted = LogisticRegression(C=1e6).fit(_logit(answers).reshape(-1, 1), labels)
    return Calibration(slope=float(fitted.coef_[0, 0]), intercept=float(fitted.intercept_[0]))


def expected_metric(metric: str, answers: Array, calibration: Calibration, threshold: float) -> float | None:
    """The metric to expect of these answers; None where they do not define it. Raises ``KeyError`` for one unknown."""
    if not len(answers):
        return None
    positive = calibration.probabilities(answers)
    target = np.concatenate([np.ones(len(answers)), np.zeros(len(answers))])
    evaluate = weighted_metric(metric, target, np.concatenate([answers, answers]), threshold)
    value = float(evaluate(np.concatenate([positive, 1 - positive])[np.newaxis])[0])
    return value if np.isfinite(value) else None


def _logit(answers: Array) -> Array:
    clipped = np.clip(answers, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return np.log(clipped / (1 - clipped))
