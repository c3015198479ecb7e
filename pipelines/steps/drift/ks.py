"""The two-sample Kolmogorov-Smirnov test, computed from sketches of the rows instead of the rows."""

from __future__ import annotations

from math import sqrt
from typing import Literal

import numpy as np
from scipy.special import kolmogorov

from pipelines.steps.drift.sketch import Floats, QuantileSketch


def ks_test(reference: QuantileSketch, current: QuantileSketch) -> tuple[float, float]:
    """Statistic and p-value of the hypothesis that both come from one distribution.

    The statistic is the largest distance of the two empirical distribution functions, below and at every kept point of
    either side. There a side's own function is exact, tied values included. Where a point of one falls between two of
    the other, the least possible distance is taken: the result is never above the statistic on the rows, and short of
    it by no more than one gap (1/512 of the rows) of each side that has more distinct values than a profile keeps.
    Merging days that had more adds 1/512 of uncertainty for each merged side, either way.

    A null counts as a value below all others, so that a failed sensor is detected, and two columns of nulls only are
    equal. Without nulls this is the plain test.

    The p-value is the asymptotic one, ``K(D * sqrt(nm / (n + m)))`` with Kolmogorov's distribution (Smirnov 1939); it
    is too large, never too small, where values are tied. Raises ``ValueError`` for an empty side.
    """
    n, m = reference.rows, current.rows
    if not n or not m:
        raise ValueError("each side needs at least one row")
    points = np.union1d(reference.points, current.points)
    least = max(
        _least_distance(reference, current, points, "left"), _least_distance(reference, current, points, "right")
    )
    at_null = abs(reference.nulls / n - current.nulls / m)
    statistic = max(least, at_null)
    return statistic, float(kolmogorov(statistic * sqrt(n * m / (n + m))))


def _least_distance(
    reference: QuantileSketch, current: QuantileSketch, points: Floats, side: Literal["left", "right"]
) -> float:
    """The largest distance that the two functions have at the least, at (left: just below) any of ``points``."""
    n, m = reference.rows, current.rows
    low, high = (bound + reference.nulls for bound in reference.rank_bounds(points, side=side))
    other_low, other_high = (bound + current.nulls for bound in current.rank_bounds(points, side=side))
    return float(np.maximum(low / n - other_high / m, other_low / m - high / n).max(initial=0.0))
