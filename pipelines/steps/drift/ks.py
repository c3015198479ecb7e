"""The two-sample Kolmogorov-Smirnov test, computed from sketches of the rows instead of the rows."""

from __future__ import annotations

from math import sqrt

import numpy as np
from scipy.special import kolmogorov

from pipelines.steps.drift.sketch import QuantileSketch


def ks_test(reference: QuantileSketch, current: QuantileSketch) -> tuple[float, float]:
    """Statistic and p-value of the hypothesis that both come from one distribution.

    The statistic is the largest distance of the two empirical distribution functions over the union of kept points.
    Where a point of one falls between two of the other, the least possible distance is taken: the result is a lower
    bound, short of the statistic on the rows by no more than the weight of one gap (about 1/512). Merging days
    with more distinct values than a profile keeps adds as much uncertainty, either way.

    A null counts as a value below all others, so that a failed sensor is detected, and two columns of nulls only are
    equal. Without nulls this is the plain test.

    The p-value is the asymptotic one, ``K(D * sqrt(nm / (n + m)))`` with Kolmogorov's distribution (Smirnov 1939); it
    is too large, never too small, where values are tied. Raises ``ValueError`` for an empty side.
    """
    n, m = reference.rows, current.rows
    if not n or not m:
        raise ValueError("each side needs at least one row")
    points = np.union1d(reference.points, current.points)
    low, high = (bound + reference.nulls for bound in reference.rank_bounds(points))
    other_low, other_high = (bound + current.nulls for bound in current.rank_bounds(points))
    least = np.maximum(low / n - other_high / m, other_low / m - high / n)
    at_null = abs(reference.nulls / n - current.nulls / m)
    statistic = float(max(least.max(initial=0.0), at_null, 0.0))
    return statistic, float(kolmogorov(statistic * sqrt(n * m / (n + m))))
