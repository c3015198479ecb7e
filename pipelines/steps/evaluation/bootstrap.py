"""Paired bootstrap: the gain of a candidate with an interval, both models measured on the same resampled rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipelines.messages.evaluation import Interval
from pipelines.spec.model import LOWER_IS_BETTER, ComparisonSpec
from pipelines.steps.evaluation.metrics import gain, measure_one
from pipelines.steps.evaluation.weighted import Array, weighted_metric

BATCH_CELLS = 1_000_000
"""Counts per batch, so that a batch needs a few megabytes."""
MIN_MEASURED_SHARE = 0.95
"""Share of the resamples that must define the metric; below it there is no interval."""


def paired_bootstrap(
    problem: str,
    declared: ComparisonSpec,
    target: Array,
    candidate: Array,
    champion: Array,
    *,
    threshold: float,
    seed: int,
) -> Interval | None:
    """Percentile interval of ``candidate - champion`` over resampled rows, oriented so that positive is better.

    None if either model's metric, or too many resamples, could not be measured. Rows are drawn independently:
    rows of one day are correlated, so the interval is somewhat too narrow.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    metric = declared.metric
    values = [measure_one(problem, metric, target, answers, threshold) for answers in (candidate, champion)]
    estimate = gain(metric, values[0], values[1])
    if estimate is None or values[0] is None or values[1] is None:
        return None
    measures = [weighted_metric(metric, target, answers, threshold) for answers in (candidate, champion)]
    random = np.random.default_rng(seed)

    def difference(counts: Array) -> Array:
        return measures[0](counts) - measures[1](counts)

    gains = _resample(difference, len(target), declared.resamples, random)
    gains = gains[np.isfinite(gains)]
    if len(gains) < MIN_MEASURED_SHARE * declared.resamples:
        return None
    if metric in LOWER_IS_BETTER:
        gains = -gains
    tail = (1 - declared.confidence) / 2
    low, high = np.quantile(gains, [tail, 1 - tail])
    return Interval(
        metric=metric,
        candidate=values[0],
        champion=values[1],
        gain=estimate,
        low=float(low),
        high=float(high),
        confidence=declared.confidence,
        resamples=declared.resamples,
        rows=len(target),
    )


def _resample(
    statistic: Callable[[Array], Array], rows: int, resamples: int, random: np.random.Generator
) -> npt.NDArray[np.float64]:
    batch = max(1, min(resamples, BATCH_CELLS // rows))
    statistics = []
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start)
        drawn = random.integers(0, rows, size=(size, rows)) + np.arange(size)[:, None] * rows
        counts = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)
        statistics.append(statistic(counts.astype(np.float64)))
    return np.concatenate(statistics)
