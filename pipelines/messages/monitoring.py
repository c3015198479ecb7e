"""Requests and results of monitoring: performance and drift of the live version, by day and window."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pipelines.messages.message import Message


class MonitorRequest(Message):
    model: str
    day: date
    version: str | None = None
    """The version that the target serves; None (in requests from before 0.2.0): what the alias champion names."""
    test_metrics: dict[str, dict[str, float]] = {}
    """Version to its test metrics on the ledger; of another version, from before it had them, the registry's."""
    report: bool | Literal["when_drifted"] = "when_drifted"
    """Whether the drift report for people is written; the measures do not depend on it."""


class DayPerformance(Message):
    day: date
    predictions: int
    labelled: int
    metrics: dict[str, float | None]
    versions: dict[str, int] = {}


class PerformanceResult(Message):
    """Performance of each day whose labels were joined again, and of one version over the whole window."""

    model: str
    day: date
    window: list[date] = []
    days: list[DayPerformance]
    window_metrics: dict[str, float | None]
    window_predictions: int
    window_labelled: int
    version: str | None = None
    """The live version if it answered in the window, else the version with the most predictions there."""
    reference: dict[str, float] = {}
    """The version's own test metrics."""
    notes: list[str] = []
    """Data that was not available and was left out."""


class DriftMeasure(Message):
    """One column. ``p_value`` and ``statistic`` by KS or chi-squared; ``psi`` is the effect size."""

    name: str
    kind: Literal["numeric", "categorical"]
    method: Literal["ks", "chi_squared"]
    rows: int
    statistic: float | None
    p_value: float | None
    psi: float | None


class DriftResult(Message):
    model: str
    day: date
    window: list[date]
    version: str | None = None
    reference: str
    """URI of the reference profile."""
    features: list[DriftMeasure]
    prediction: DriftMeasure | None = None
    report: str | None = None
    """URI of the report for people."""
    missing_days: list[date] = []
    """Days of the trailing window that have no feature profile."""
    notes: list[str] = []
    """Data that was not available and was left out."""
