"""One metric under many resamples at once: rows are sorted once, each resample is a row of counts.

A resample of n rows with replacement is the vector of how often each row was drawn, so a metric of 1,000 resamples
is a few passes over a matrix of counts instead of 1,000 sorts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.float64]
"""Resamples by rows: how often each row was drawn."""
Metric = Callable[[Counts], Array]
"""Counts to one value per resample; NaN where a resample does not define the metric."""


def weighted_metric(metric: str, target: Array, prediction: Array, threshold: float) -> Metric:
    """The metric as a function of counts. Raises ``KeyError`` for an unknown metric."""
    if metric in _RANKED:
        return _RANKED[metric](target, prediction)
    if metric in ("accuracy", "precision", "recall", "f1"):
        return _confusion_metric(metric, target == 1, prediction >= threshold)
    return _mean_loss(metric, target, prediction)


def roc_auc(target: Array, score: Array) -> Metric:
    """Area under the ROC curve: the share of (positive, negative) pairs in order, ties counting half.

    Source: Mann and Whitney (1947) with weights; equal to scikit-learn's with ``sample_weight``.
    """
    order, starts = _sort_by_score(score)
    positive = target[order] == 1

    def evaluate(counts: Counts) -> Array:
        drawn = counts[:, order]
        positives = _sum_by_group(drawn * positive, starts)
        negatives = _sum_by_group(drawn * ~positive, starts)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        return _safe_ratio((positives * below).sum(axis=1), positives.sum(axis=1) * negatives.sum(axis=1))

    return evaluate


def average_precision(target: Array, score: Array) -> Metric:
    """Sum over falling thresholds of precision times the gain in recall (scikit-learn's average precision)."""
    order, starts = _sort_by_score(-score)
    positive = target[order] == 1

    def evaluate(counts: Counts) -> Array:
        drawn = counts[:, order]
        positives = _sum_by_group(drawn * positive, starts)
        answered = np.cumsum(_sum_by_group(drawn, starts), axis=1)
        precision = np.cumsum(positives, axis=1) / np.maximum(answered, 1)
        return _safe_ratio((precision * positives).sum(axis=1), positives.sum(axis=1))

    return evaluate


def _sort_by_score(score: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows in rising order of score, and where each run of equal scores begins."""
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    return order, np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])


def _sum_by_group(values: Array, starts: npt.NDArray[np.intp]) -> Array:
    if len(starts) == values.shape[1]:
        return values
    summed: Array = np.add.reduceat(values, starts, axis=1)
    return summed


def _confusion_metric(metric: str, true: npt.NDArray[np.bool_], yes: npt.NDArray[np.bool_]) -> Metric:
    kinds = np.stack([true & yes, ~true & yes, true & ~yes, ~true & ~yes], axis=1).astype(float)

    def evaluate(counts: Counts) -> Array:
        tp, fp, fn, tn = (counts @ kinds).T
        if metric == "accuracy":
            return _safe_ratio(tp + tn, tp + fp + fn + tn)
        if metric == "precision":
            return _safe_ratio(tp, tp + fp)
        if metric == "recall":
            return _safe_ratio(tp, tp + fn)
        return _safe_ratio(2 * tp, 2 * tp + fp + fn)

    return evaluate


def _mean_loss(metric: str, target: Array, prediction: Array) -> Metric:
    """Metrics that are a mean over rows of a loss, or follow from one."""
    if metric == "r2":
        return _r2(target, prediction)
    loss = _LOSS[metric](target, prediction)

    def evaluate(counts: Counts) -> Array:
        mean = _safe_ratio(counts @ loss, counts.sum(axis=1))
        return np.sqrt(mean) if metric == "rmse" else mean

    return evaluate


def _r2(target: Array, prediction: Array) -> Metric:
    centred = target - target.mean()  # keeps the sums of squares small
    columns = np.stack([(target - prediction) ** 2, centred, centred**2], axis=1)

    def evaluate(counts: Counts) -> Array:
        residual, total, square = (counts @ columns).T
        return 1 - _safe_ratio(residual, square - total**2 / counts.sum(axis=1))

    return evaluate


def _log_loss(target: Array, probability: Array) -> Array:
    step = float(np.finfo(np.float64).eps)  # as scikit-learn does: keeps the loss finite
    inside = np.clip(probability, step, 1 - step)
    return -np.where(target == 1, np.log(inside), np.log1p(-inside))


def _safe_ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


_RANKED: dict[str, Callable[[Array, Array], Metric]] = {"roc_auc": roc_auc, "pr_auc": average_precision}
_LOSS: dict[str, Callable[[Array, Array], Array]] = {
    "log_loss": _log_loss,
    "brier": lambda y, p: (y - p) ** 2,
    "mae": lambda y, p: np.abs(y - p),
    "rmse": lambda y, p: (y - p) ** 2,
    "mape": lambda y, p: np.abs((y - p) / y),
}
