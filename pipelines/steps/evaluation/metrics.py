"""Each metric is scikit-learn's number, or None where the rows at hand do not define it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from pipelines.spec.model import CLASSIFICATION_METRICS, LOWER_IS_BETTER, REGRESSION_METRICS

Array = npt.NDArray[np.float64]
CONFUSION_COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives")


def measure(problem: str, target: Array, prediction: Array, threshold: float) -> dict[str, float | None]:
    """All metrics of the problem. ``target``: 0 or 1, or a number; ``prediction``: probability of 1, or a number."""
    if problem == "classification":
        return classification_metrics(target, prediction, threshold)
    return regression_metrics(target, prediction)


def measure_one(problem: str, metric: str, target: Array, prediction: Array, threshold: float) -> float | None:
    """One metric alone, for the many slices."""
    compute = _classification(threshold) if problem == "classification" else _regression()
    return _finite_metric(compute[metric], target, prediction)


def gain(metric: str, candidate: float | None, champion: float | None) -> float | None:
    """How much better the candidate is; positive is better for every metric. None if either was not measured."""
    if candidate is None or champion is None:
        return None
    return champion - candidate if metric in LOWER_IS_BETTER else candidate - champion


def classification_metrics(target: Array, probability: Array, threshold: float) -> dict[str, float | None]:
    """The declared metrics and the counts of the confusion matrix at ``threshold`` (from it on, the answer is yes)."""
    compute = _classification(threshold)
    metrics = {name: _finite_metric(compute[name], target, probability) for name in CLASSIFICATION_METRICS}
    if not _is_measurable(target, probability):
        return metrics | dict.fromkeys(CONFUSION_COUNTS)
    yes = probability >= threshold
    true = target == 1
    counts = (np.sum(true & yes), np.sum(~true & yes), np.sum(true & ~yes), np.sum(~true & ~yes))
    return metrics | {name: float(count) for name, count in zip(CONFUSION_COUNTS, counts, strict=True)}


def regression_metrics(target: Array, prediction: Array) -> dict[str, float | None]:
    """The declared metrics; MAPE is a share (0.1 is 10 %) and undefined where a target is zero."""
    compute = _regression()
    return {name: _finite_metric(compute[name], target, prediction) for name in REGRESSION_METRICS}


def _classification(threshold: float) -> dict[str, Callable[[Array, Array], float | None]]:
    return {
        "accuracy": lambda y, p: sk.accuracy_score(y == 1, p >= threshold),
        "precision": lambda y, p: sk.precision_score(y, p >= threshold) if (p >= threshold).any() else None,
        "recall": lambda y, p: sk.recall_score(y, p >= threshold) if y.any() else None,
        "f1": lambda y, p: sk.f1_score(y, p >= threshold) if y.any() or (p >= threshold).any() else None,
        "roc_auc": lambda y, p: sk.roc_auc_score(y, p) if _has_both_classes(y) else None,
        "pr_auc": lambda y, p: sk.average_precision_score(y, p) if _has_both_classes(y) else None,
        "log_loss": lambda y, p: sk.log_loss(y, p, labels=[0, 1]),
        "brier": lambda y, p: sk.brier_score_loss(y, p),
    }


def _regression() -> dict[str, Callable[[Array, Array], float | None]]:
    return {
        "mae": sk.mean_absolute_error,
        "rmse": sk.root_mean_squared_error,
        "r2": lambda y, p: sk.r2_score(y, p) if len(y) > 1 and y.min() < y.max() else None,
        "mape": lambda y, p: sk.mean_absolute_percentage_error(y, p) if np.all(y != 0) else None,
    }


def _has_both_classes(target: Array) -> bool:
    return bool(target.any()) and not bool(target.all())


def _is_measurable(target: Array, prediction: Array) -> bool:
    return len(target) > 0 and bool(np.isfinite(target).all()) and bool(np.isfinite(prediction).all())


def _finite_metric(compute: Callable[[Array, Array], float | None], target: Array, prediction: Array) -> float | None:
    if not _is_measurable(target, prediction):
        return None
    value = compute(target, prediction)
    return float(value) if value is not None and math.isfinite(value) else None
