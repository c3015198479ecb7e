"""A numeric column as the kept points of its profile: counts are exact at each point and bounded in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.tables.profile import MAX_SKETCH_POINTS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QuantileSketch:
    """``weights[i]`` rows lie in ``(points[i-1], points[i]]``; ``points`` ascend; ``nulls`` rows have no value."""

    points: Floats
    weights: Floats
    nulls: int

    @classmethod
    def of(cls, points: Sequence[float], weights: Sequence[int], nulls: int) -> QuantileSketch:
        return cls(np.asarray(points, dtype=np.float64), np.asarray(weights, dtype=np.float64), nulls)

    @property
    def rows(self) -> int:
        """Rows with and without a value."""
        return int(self.weights.sum()) + self.nulls

    def rank_bounds(self, values: Floats) -> tuple[Floats, Floats]:
        """Rows with a value ``<= x``, for each ``x`` of ``values``: the fewest and the most there can be.

        Both are equal at every kept point, from the last one on, and everywhere if no value was merged.
        """
        below = np.concatenate(([0.0], np.cumsum(self.weights)))
        fewest = below[np.searchsorted(self.points, values, side="right")]
        if len(self.points) < MAX_SKETCH_POINTS:  # fewer than a profile keeps: every distinct value is there
            return fewest, fewest
        # Rows merged into the next kept point may lie anywhere in the gap that `x` falls into.
        return fewest, below[np.searchsorted(self.points, values, side="left") + (values <= self.points[-1])]

    def bin_counts(self, edges: Floats) -> Floats:
        """Rows in ``(-inf, edges[0]]``, ``(edges[0], edges[1]]``, ..., ``(edges[-1], inf)``.

        An edge between two kept points gets the middle of the likely range: a point with more rows than the share of
        one gap has most of them tied at the point itself.
        """
        fewest, most = self.rank_bounds(edges)
        rows = float(self.weights.sum())
        below = fewest + np.minimum(most - fewest, 2 * rows / MAX_SKETCH_POINTS) / 2
        return np.diff(np.concatenate(([0.0], below, [rows])))

    def quantile_edges(self, bins: int) -> Floats:
        """The distinct inner quantiles that cut the values into at most ``bins`` bins of like size.

        If the lowest bin is a single tied value (no rain at all), lower values get a bin of their own: otherwise a
        shift of a constant column would not be detected.
        """
        if not len(self.points):
            return np.empty(0)
        below = np.cumsum(self.weights)
        ranks = below[-1] * np.arange(1, bins) / bins
        edges: Floats = np.unique(self.points[np.searchsorted(below, ranks, side="left")])
        if edges[0] == self.points[0]:
            edges = np.concatenate(([np.nextafter(edges[0], -np.inf)], edges))
        return edges
