"""Metrics of an A/B test: the better direction of each, and the faults of a declared list of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pipelines.spec.strategy import AbTestSpec

Better = Literal["higher", "lower", "same"]
BUILT_IN_METRICS: dict[str, Better] = {
    "error_rate": "lower",
    "latency": "lower",
    "prediction": "same",
    "accuracy": "higher",
    "absolute_error": "lower",
    "squared_error": "lower",
    "brier": "lower",
}
"""Built-in metrics and their better direction; a mean of predictions has none: it should stay the same."""
LABEL_METRICS = frozenset({"accuracy", "absolute_error", "squared_error", "brier"})
NUMERIC_TYPES = frozenset({"integer", "number", "boolean"})
CLASSIFICATION_ONLY = frozenset({"accuracy", "brier"})
"""Metrics that need a classification."""


def better_direction(metric: str) -> Better:
    """The better direction of a metric; for an outcome column higher, or lower with a minus: ``-refunds``."""
    return BUILT_IN_METRICS.get(metric, "lower" if metric.startswith("-") else "higher")


def outcome_column(metric: str) -> str | None:
    """The outcome column of a metric; None for a built-in metric."""
    return None if metric in BUILT_IN_METRICS else metric.removeprefix("-")


def experiment_faults(declared: AbTestSpec, problem: str, outcomes: Mapping[str, str] | None = None) -> list[str]:
    """Every reason why these metrics cannot decide an experiment of this model.

    ``outcomes``: type of each outcome column; None: not known here.
    """
    first, *others = declared.metrics
    faults = []
    if better_direction(first) == "same":
        faults.append(f"metrics: {first} comes first, but has no better direction; put another metric first")
    if duplicates := sorted({name for name in declared.metrics if declared.metrics.count(name) > 1}):
        faults.append(f"metrics: {', '.join(duplicates)} is named twice")
    if problem != "classification" and (wrong := sorted(CLASSIFICATION_ONLY & set(declared.metrics))):
        faults.append(f"metrics: {', '.join(wrong)} needs a classification; use absolute_error or squared_error")
    if "prediction" in others and not declared.margin:
        faults.append("metrics: prediction needs a margin to stay within; declare margin above 0")
    return faults + (_outcome_faults(declared, outcomes) if outcomes is not None else [])


def _outcome_faults(declared: AbTestSpec, outcomes: Mapping[str, str]) -> list[str]:
    faults = []
    for metric in declared.metrics:
        column = outcome_column(metric)
        if column is None:
            continue
        if column not in outcomes:
            faults.append(f"metrics: {metric!r} is neither an outcome column nor one of {', '.join(BUILT_IN_METRICS)}")
        elif outcomes[column] not in NUMERIC_TYPES:
            faults.append(f"metrics: {metric!r} is {outcomes[column]}; an outcome must be a number")
    return faults
