"""A numeric column as the kept points of its profile: counts are exact below and at each point, bounded in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.tables.profile import NumericProfile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QuantileSketch:
    """``weights[i]`` rows lie in ``(points[i-1], points[i]]``, ``ties[i]`` of them at ``points[i]``.

    ``points`` ascend; ``nulls`` rows have no value.
    """

    points: Floats
    weights: Floats
    ties: Floats
    nulls: int

    @classmethod
    def of(cls, profile: NumericProfile) -> QuantileSketch:
        points, weights, ties = (
            np.asarray(values, dtype=np.float64) for values in (profile.points, profile.weights, profile.ties)
        )
        return cls(points, weights, ties, profile.nulls)

    @property
    def rows(self) -> int:
        """Rows with and without a value."""
        return int(self.weights.sum()) + self.nulls

    def rank_bounds(self, values: Floats, *, side: Literal["left", "right"] = "right") -> tuple[Floats, Floats]:
        """Rows with a value ``<= x`` (left: ``< x``), for each ``x`` of ``values``: the fewest and the most.

        Both are equal at every kept point, beyond the last one, and everywhere if no value was merged; elsewhere, just
        below a kept point, too, they differ by the rows of the gap.
        """
        below = np.concatenate(([0.0], np.cumsum(self.weights)))
        in_gap = np.concatenate((self.weights - self.ties, [0.0]))
        place = np.searchsorted(self.points, values, side=side)
        fewest = below[place]
        if side == "right":
            is_point = place > np.searchsorted(self.points, values, side="left")
            return fewest, fewest + np.where(is_point, 0.0, in_gap[place])
        return fewest, fewest + in_gap[place]

    def bin_counts(self, edges: Floats) -> Floats:
        """Rows in ``(-inf, edges[0]]``, ``(edges[0], edges[1]]``, ..., ``(edges[-1], inf)``.

        An edge between two kept points gets half of the rows that lie between them.
        """
        fewest, most = self.rank_bounds(edges)
        rows = float(self.weights.sum())
        return np.diff(np.concatenate(([0.0], (fewest + most) / 2, [rows])))

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
