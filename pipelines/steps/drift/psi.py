"""The population stability index measures the size of a difference, independent of the number of rows."""

from __future__ import annotations

import numpy as np

from pipelines.steps.drift.sketch import Floats, QuantileSketch

BINS = 10


def psi(reference: Floats, current: Floats) -> float:
    """Population stability index of two count vectors over the same bins: ``sum((q - p) * ln(q / p))``.

    It is the symmetrised Kullback-Leibler divergence of the shares. Half a row is added to each bin of each side
    (Jeffreys' prior), so that an empty bin gives a large number and not infinity. By custom 0.1 is called a small
    shift and 0.25 a large one.
    """
    p = (reference + 0.5) / (reference.sum() + 0.5 * len(reference))
    q = (current + 0.5) / (current.sum() + 0.5 * len(current))
    return float(np.sum((q - p) * np.log(q / p)))


def psi_numeric(reference: QuantileSketch, current: QuantileSketch, bins: int = BINS) -> float:
    """PSI over the reference's quantile bins; nulls are a bin of their own where either side has any."""
    edges = reference.quantile_edges(bins)
    ref, cur = reference.bin_counts(edges), current.bin_counts(edges)
    if reference.nulls or current.nulls:
        ref, cur = np.append(ref, reference.nulls), np.append(cur, current.nulls)
    return psi(ref, cur)
