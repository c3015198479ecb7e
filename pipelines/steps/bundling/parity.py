"""Compares a bundle's answers with the registered model's: at most 1e-5 apart, on the same side of each threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.spec.deployment import PARITY_LIMIT

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Parity:
    """``largest_difference``: of ``|answer - expected| / max(1, |expected|)``; ``flips``: rows across a threshold."""

    rows: int
    largest_difference: float
    flips: int

    @property
    def holds(self) -> bool:
        return self.largest_difference <= PARITY_LIMIT and self.flips == 0

    def __str__(self) -> str:
        return f"largest difference {self.largest_difference:.3g} (limit {PARITY_LIMIT:g}), {self.flips} label flips"


def compare(answers: Array, expected: Array, thresholds: tuple[float, ...]) -> Parity:
    """Compare row by row; an answer that is not finite, or another number of answers, never agrees."""
    if answers.shape != expected.shape:
        return Parity(len(expected), float("inf"), 0)
    difference = np.abs(answers - expected) / np.maximum(1.0, np.abs(expected))
    largest_difference = float(np.max(np.where(np.isfinite(difference), difference, np.inf), initial=0.0))
    flips = sum(int(((answers >= threshold) != (expected >= threshold)).sum()) for threshold in thresholds)
    return Parity(len(expected), largest_difference, flips)
