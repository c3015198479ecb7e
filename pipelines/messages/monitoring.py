"""Requests and results of monitoring: performance and drift of the live version, by day and window."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.messages.message import Message


class MonitorRequest(Message):
    model: str
    day: date
    version: str | None = None
    """The version that the target serves; None (in requests from before 0.2.0): what the alias champion names."""
    test_metrics: dict[str, dict[str, float]] = {}
    """Version to its test metrics on the ledger; of another version, from before it had them, the registry's."""
    anchors: list[str] = Field(default=[], exclude_if=lambda versions: not versions)
    """Earlier versions beside whose certificate losses add up that no release shows, the first first."""
    shapes: bool = False
    """Whether the drift report shows the shapes of columns though none broke; the measures do not depend on it."""


class DayPerformance(Message):
    day: date
    predictions: int
    labelled: int
    metrics: dict[str, float | None]
    versions: dict[str, int] = {}


class DayValue(BaseModel):
    """The metrics within one day, or within consecutive days that are too thin to be measured one by one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: date
    day: date
    """The last of its days."""
    rows: int
    metrics: dict[str, float]


class DayComparison(BaseModel):
    """The day values of a version since it is live, against those of its certificate. Positive: better than there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    certificate_days: int
    window_days: int
    """Day values in the window."""
    difference: float
    """Mean of the window's day values minus that of the certificate's, in the metric's unit, better is positive."""
    half_width: float
    """Of the 95 % interval of ``difference``, which allows for few days and for their autocorrelation."""
    limit_half_width: float
    """Of the wider interval by which the drop is judged on every day of a year."""
    autocorrelation: float
    watched_days: int
    """Day values that the sum of losses is over."""
    cusum: float | None = None
    """Sum of losses beyond the certificate's noise (CUSUM), in deviations of a day; None: too few certificate days."""
    cusum_limit: float | None = None
    cusum_since: date | None = None
    """The day on which the sum last left zero."""


class AnchorComparison(BaseModel):
    """The window's day values against those of an earlier version's certificate. Positive: better than there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    certificate_days: int
    difference: float
    half_width: float
    """Of the 95 % interval of ``difference``."""


class ScoredAnswer(BaseModel):
    """An answer whose label has arrived. ``correlation_id``: by it its request is found, in logs and by its caller."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: date
    correlation_id: str | None
    prediction: float
    label: float


class PerformanceResult(Message):
    """Performance of each day whose labels were joined again, and of one version over the whole window."""

    model: str
    day: date
    window: list[date] = []
    days: list[DayPerformance]
    window_metrics: dict[str, float | None]
    window_predictions: int
    window_labelled: int
    right: int | None = Field(default=None, exclude_if=lambda count: count is None)
    """Of the labelled answers of the window those that are right (``Worth``); None: nothing says what is right."""
    version: str | None = None
    """The live version if it answered in the window, else the version with the most predictions there."""
    reference: dict[str, float] = {}
    """The version's own test metrics."""
    comparison: DayComparison | None = None
    """Of the declared metric; None where the certificate has no day values, or none are measured yet."""
    uncompared: tuple[int, int] | None = Field(default=None, exclude_if=lambda days: days is None)
    """Where there is no comparison, how many days of the window and of the certificate have the metric."""
    anchor: AnchorComparison | None = Field(default=None, exclude_if=lambda comparison: comparison is None)
    """The same beside the anchor; None: the version is its own, or no anchor's certificate has day values."""
    furthest_off: list[ScoredAnswer] = Field(default=[], exclude_if=lambda answers: not answers)
    """The version's answers of the window that lie furthest from their labels, the worst first."""
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


StatisticKind = Literal["mean", "spread", "nulls", "category"]
"""The statistics of a column that have a series of daily values."""


class ColumnFinding(BaseModel):
    """A column that left its own recent past. ``fault``: it broke; ``watch``: it moved, which may well be natural."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    lane: Literal["fault", "watch"]
    since: date
    """The first day that is found to be different."""
    signs: list[str]
    """What shows it, in words with numbers."""
    size: float | None = None
    """The largest shift in usual daily changes (watch: in standard errors); None if plain checks alone show it."""
    moved: float | None = None
    """Share of the distribution that moved since: KS distance, or the share of rows in other categories."""
    influence: float | None = None
    """Mean change of the model's answer if the column is drawn at random; None: its training did not measure it."""

    @property
    def weight(self) -> float | None:
        """How much the answers may have moved; None if it is not known."""
        return None if self.moved is None or self.influence is None else self.moved * self.influence


class DriftResult(Message):
    model: str
    day: date
    window: list[date]
    version: str | None = None
    reference: str
    """URI of the reference profile."""
    features: list[DriftMeasure]
    prediction: DriftMeasure | None = None
    findings: list[ColumnFinding] = []
    """Columns that left their own recent past, those that may move the answers most first."""
    history_days: int | None = None
    """Days with a profile before the last two, of those that a column's past is taken from; None in older results."""
    report: str | None = None
    """URI of the report for people."""
    missing_days: list[date] = []
    """Days of the trailing window that have no feature profile."""
    notes: list[str] = []
    """Data that was not available and was left out."""
