"""Which way a metric of XGBoost is better, and whether a score improves on the best; NaN never does."""

from __future__ import annotations

import math
from typing import Literal

Mode = Literal["min", "max"]
HIGHER_IS_BETTER = ("auc", "aucpr", "map", "ndcg", "pre", "interval-regression-accuracy")
"""XGBoost's metrics that grow as the model gets better; its ``name@cut`` forms included."""


def mode_of(metric: str, declared: Mode | None = None) -> Mode:
    """The declared mode, else the metric's own."""
    if declared is not None:
        return declared
    return "max" if metric.partition("@")[0] in HIGHER_IS_BETTER else "min"


def improves(score: float, best: float | None, mode: str, min_delta: float = 0.0) -> bool:
    """True if ``score`` beats ``best`` by more than ``min_delta``."""
    if math.isnan(score):
        return False
    if best is None:
        return True
    return score - best > min_delta if mode == "max" else best - score > min_delta
