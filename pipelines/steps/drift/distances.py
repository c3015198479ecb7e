"""Distances of two distributions for people to read: Kullback-Leibler and Wasserstein, from profiles."""

from __future__ import annotations

import numpy as np

from pipelines.steps.drift.chi_squared import pooled_counts
from pipelines.steps.drift.psi import BINS
from pipelines.steps.drift.sketch import Floats, QuantileSketch
from pipelines.tables.profile import CategoricalProfile, NumericProfile


def kl_divergence(
    reference: NumericProfile | CategoricalProfile, current: NumericProfile | CategoricalProfile
) -> float | None:
    """``sum(q * ln(q / p))`` in nats of the current shares q from the reference's p; None where the kinds differ.

    Over the bins of the PSI; half a row is added to each bin of each side (Jeffreys' prior), so that it is finite.
    Kullback and Leibler, "On Information and Sufficiency" (1951).
    """
    counts = _bins(reference, current)
    if counts is None:
        return None
    p, q = ((side + 0.5) / (side.sum() + 0.5 * len(side)) for side in counts)
    return float(np.sum(q * np.log(q / p)))


def wasserstein(reference: NumericProfile, current: NumericProfile) -> float | None:
    """Wasserstein-1 distance in standard deviations of the reference: the area between the distribution functions.

    None where a side has no values or the reference does not vary. Between two kept points of a compressed profile the
    rows count at the upper one.
    """
    if not reference.count or not current.count or not reference.std:
        return None
    ref, cur = QuantileSketch.of(reference), QuantileSketch.of(current)
    points = np.union1d(ref.points, cur.points)
    shares = [side.rank_bounds(points[:-1])[0] / side.weights.sum() for side in (ref, cur)]
    return float(np.sum(abs(shares[0] - shares[1]) * np.diff(points)) / reference.std)


def _bins(
    reference: NumericProfile | CategoricalProfile, current: NumericProfile | CategoricalProfile
) -> tuple[Floats, Floats] | None:
    if isinstance(reference, CategoricalProfile) and isinstance(current, CategoricalProfile):
        _, first, second = pooled_counts(reference, current)
        return first, second
    if isinstance(reference, NumericProfile) and isinstance(current, NumericProfile):
        ref, cur = QuantileSketch.of(reference), QuantileSketch.of(current)
        edges = ref.quantile_edges(BINS)
        return np.append(ref.bin_counts(edges), ref.nulls), np.append(cur.bin_counts(edges), cur.nulls)
    return None
