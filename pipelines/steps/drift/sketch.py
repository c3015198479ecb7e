"""A numeric column is compared as a distribution of kept points: exact at each of them, bounded in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.tables.profile import POINTS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sketch:
    """``weights[i]`` rows lie in ``(points[i-1], points[i]]``; ``points`` ascend; ``nulls`` rows have no value."""

    points: Floats
    weights: Floats
    nulls: int

    @classmethod
    def of(cls, points: Sequence[float], weights: Sequence[int], nulls: int) -> Sketch:
        return cls(np.asarray(points, dtype=np.float64), np.asarray(weights, dtype=np.float64), nulls)

    @property
    def rows(self) -> int:
        """Rows with and without a value."""
        return int(self.weights.sum()) + self.nulls

    def bounds(self, at: Floats) -> tuple[Floats, Floats]:
        """Rows with a value ``<= x``, for each ``x`` of ``at``: the fewest and the most there can be.

        Both are equal at every kept point, from the last one on, and everywhere if no value was merged.
        """
        below = np.concatenate(([0.0], np.cumsum(self.weights)))
        fewest = below[np.searchsorted(self.points, at, side="right")]
        if len(self.points) < POINTS:  # fewer than a profile keeps: every distinct value is there
            return fewest, fewest
        # Rows merged into the next kept point may lie anywhere in the gap that `x` falls into.
        return fewest, below[np.searchsorted(self.points, at, side="left") + (at <= self.points[-1])]

    def counts(self, edges: Floats) -> Floats:
        """Rows in ``(-inf, edges[0]]``, ``(edges[0], edges[1]]``, ..., ``(edges[-1], inf)``.

        An edge that falls into the gap between two kept points takes the middle of what is likely: a kept point that
        carries more than a gap's share of rows does so because they are tied at the point itself.
        """
        fewest, most = self.bounds(edges)
        rows = float(self.weights.sum())
        below = fewest + np.minimum(most - fewest, 2 * rows / POINTS) / 2
        return np.diff(np.concatenate(([0.0], below, [rows])))

    def quantile_edges(self, bins: int) -> Floats:
        """The distinct inner quantiles that cut the values into at most ``bins`` bins of like size.

        Where the outermost bin is one tied value alone (no rain at all), what lies beyond it gets a bin of its own:
        otherwise a column that never varied could never be seen to move.
        """
        if not len(self.points):
            return np.empty(0)
        below = np.cumsum(self.weights)
        ranks = below[-1] * np.arange(1, bins) / bins
        edges: Floats = np.unique(self.points[np.searchsorted(below, ranks, side="left")])
        if edges[0] == self.points[0]:
            edges = np.concatenate(([np.nextafter(edges[0], -np.inf)], edges))
        return edges
