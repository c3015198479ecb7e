"""Hand-written evaluation results and declarations that the tests of the gates change by a field or two."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.messages.evaluation import EvaluateResult, Interval, SliceMetric
from pipelines.spec.model import ModelSpec

TRAINED_UNTIL = datetime(2013, 2, 20, tzinfo=UTC)
FIRST = datetime(2013, 2, 21, tzinfo=UTC)
LAST = datetime(2013, 3, 1, tzinfo=UTC)


def _spec(*, split: str = "time_ordered", **evaluation: Any) -> ModelSpec:
    """A classification with a floor for roc_auc, a ceiling for log_loss and slices by origin and carrier."""
    declared = {
        "minimum_metrics": {"roc_auc": {"min": 0.7}, "log_loss": {"max": 0.6}},
        "comparison": {"metric": "roc_auc", "margin": 0.005},
        "slices": {"columns": ["origin", "carrier"], "metric": "roc_auc", "max_loss": 0.05, "min_rows": 300},
        **evaluation,
    }
    return ModelSpec.model_validate(
        {
            "model": "flight_delay",
            "description": "late or not",
            "owner": "flight-operations",
            "view": "flight_delay",
            "problem": "classification",
            "target": {"expression": "arr_delay >= 15"},
            "training": {"split": {"strategy": split}},
            "evaluation": declared,
            "monitoring": {"performance": {"metric": "roc_auc", "max_drop": 0.1}},
        }
    )


def _interval(low: float | None, high: float | None = 0.02, **changes: Any) -> Interval:
    fields: dict[str, Any] = {
        "metric": "roc_auc",
        "candidate": 0.74,
        "champion": 0.73,
        "gain": 0.01,
        "low": low,
        "high": high,
        "confidence": 0.95,
        "rows": 5000,
        "unit": "day",
        "units": 45,
        "standard_error": 0.005,
        "equal_passes": 0.8,
    }
    return Interval(**(fields | changes))


def _slice(
    column: str, value: str, gain: float | None, rows: int = 300, chance: float | None = 0.001, units: int = 45
) -> SliceMetric:
    """A slice whose gain or loss is hardly chance."""
    return SliceMetric(
        column=column,
        value=value,
        rows=rows,
        metric="roc_auc",
        candidate=None if gain is None else 0.7 + gain,
        champion=0.7,
        gain=gain,
        units=units,
        loss_p=None if gain is None else chance,
    )


def _result(**changes: Any) -> EvaluateResult:
    """An evaluation against champion 3 that every gate lets pass, but for the changes."""
    fields: dict[str, Any] = {
        "model": "flight_delay",
        "version": "4",
        "champion": "3",
        "snapshot": "a" * 64,
        "rows": 5000,
        "metrics": {"roc_auc": 0.74, "log_loss": 0.5},
        "comparison": _interval(0.001),
        "slices": [_slice("origin", "JFK", 0.01), _slice("carrier", "UA", -0.01)],
        "first": FIRST,
        "last": LAST,
        "trained_until": TRAINED_UNTIL,
        "champion_trained_until": TRAINED_UNTIL,
        "compared_from": FIRST,
    }
    return EvaluateResult(**(fields | changes))


@pytest.fixture
def spec() -> Callable[..., ModelSpec]:
    return _spec


@pytest.fixture
def interval() -> Callable[..., Interval]:
    return _interval


@pytest.fixture
def slice_metric() -> Callable[..., SliceMetric]:
    return _slice


@pytest.fixture
def result() -> Callable[..., EvaluateResult]:
    return _result
