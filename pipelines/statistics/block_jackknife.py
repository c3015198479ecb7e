"""Standard error and interval of a statistic by leaving out one block (a day, an entity) at a time.

Rows of one day share weather, outages and promotions, so they do not count as independent; days nearly do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Weights = npt.NDArray[np.float64]
"""Weightings by rows: each line of the matrix weighs every row."""
Statistic = Callable[[Weights], npt.NDArray[np.float64]]
"""Weightings to one value each; NaN where a weighting does not define it."""
BATCH_CELLS = 1_000_000
"""Weights per batch, so that a batch needs a few megabytes."""


@dataclass(frozen=True)
class BlockError:
    """Standard error of a statistic over ``blocks`` blocks, with ``blocks - 1`` degrees of freedom."""

    standard_error: float
    blocks: int

    def half_width(self, confidence: float) -> float:
        """Half of the two-sided interval of Student's t around the estimate."""
        return self.quantile(confidence) * self.standard_error

    def quantile(self, confidence: float) -> float:
        """The two-sided quantile of Student's t."""
        return float(stats.t.ppf((1 + confidence) / 2, self.blocks - 1))

    def chance_to_pass(self, margin: float, confidence: float) -> float:
        """How probable it is that the interval of a true difference of zero begins at or above ``-margin``."""
        if self.standard_error == 0:
            return 1.0
        reserve = margin / self.standard_error - self.quantile(confidence)
        return float(stats.t.cdf(reserve, self.blocks - 1))


def block_jackknife(statistic: Statistic, blocks: npt.NDArray[np.int64]) -> BlockError | None:
    """The error of ``statistic``, from its values without each block. ``blocks``: each row's block, from 0, no gaps.

    None with fewer than two blocks, or if the statistic is not defined without one of them.
    Source: Efron, The Jackknife, the Bootstrap and Other Resampling Plans (1982), chapter 3; with Student's t.
    """
    count = int(blocks.max(initial=-1)) + 1
    if count < 2:
        return None
    batch = max(1, BATCH_CELLS // len(blocks))
    without = []
    for start in range(0, count, batch):
        left_out = np.arange(start, min(start + batch, count))
        without.append(statistic((blocks[None, :] != left_out[:, None]).astype(np.float64)))
    values = np.concatenate(without)
    if not np.isfinite(values).all():
        return None
    spread = float(((values - values.mean()) ** 2).sum())
    return BlockError(math.sqrt(spread * (count - 1) / count), count)
