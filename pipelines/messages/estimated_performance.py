"""Request and result of estimating a live version's performance before the labels of the window arrive."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict

from pipelines.messages.message import Message
from pipelines.messages.monitoring import MonitorRequest


class EstimateRequest(MonitorRequest):
    faulty_columns: list[str] = []
    """Columns that broke by the newest checks of this day and move the answers: an estimate would rest on them."""
    loses: bool = False
    """Whether the sum of losses of the version is above its limit: its probabilities are known to be off."""


class Estimate(BaseModel):
    """The estimate for one window, which is kept and later held against the truth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    day: date
    """The last day of the window."""
    window_days: int
    metric: str
    value: float
    """Mean of the metric to expect within each day of the window."""
    rows: int
    truth: float | None = None
    """Mean of the metric within each day, once the labels arrived; None: not yet, or of fewer than half of the rows."""


class EstimatedPerformanceResult(Message):
    model: str
    day: date
    window: list[date]
    version: str | None = None
    metric: str
    estimate: float | None = None
    reference: float | None = None
    """Mean of the metric over the days of the version's certificate."""
    half_width: float | None = None
    """Of the band around the estimate in which nine of ten truths lie, learned from past errors; None: too few."""
    past_errors: int = 0
    """Past windows, which do not overlap, of which the truth is known."""
    calibration_days: int = 0
    """Days with labels on which the probabilities were calibrated."""
    answered_days: int = 0
    """Days of the window with answers."""
    rows: int = 0
    faulty_columns: list[str] = []
    loses: bool = False
    is_estimable: bool = True
    """False for a regression, whose answers are no probabilities."""
    notes: list[str] = []
