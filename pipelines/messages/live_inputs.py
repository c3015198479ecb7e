"""Result of watching what callers send: beside training, beside the offline features, and against the constraints."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, ConfigDict

from pipelines.messages.message import Message
from pipelines.messages.monitoring import ColumnFinding, DriftMeasure


class InputMeasure(BaseModel):
    """One feature over the callers' rows of ``LiveInputsResult.judged``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rows: int
    null_share: float
    max_null_share: float
    """The view's constraint."""
    outside_share: float
    """Share of the rows with a value beyond the view's ``min``, ``max`` or ``allowed``; 0 without such limits."""
    outside: str = ""
    """An example of such a value with its limit, as in ``9999 > 130``."""
    unseen_share: float | None = None
    """Share of the rows with a category that training had not; None: a number, or there are more than are kept."""
    unseen: list[str] = []
    """The most frequent of these categories, at most three."""
    training: DriftMeasure
    """These rows against those the version was fitted on."""
    kl_divergence: float | None = None
    """Kullback-Leibler divergence of these rows from the training rows in nats, over the bins of the PSI."""
    wasserstein: float | None = None
    """Wasserstein-1 distance from the training rows in their standard deviations; None for categories."""
    recent: DriftMeasure | None = None
    """The newest rows against the rows before them, by count; None: too few rows."""
    matched_rows: int = 0
    """Rows whose entity id the offline feature table has."""
    differing_share: float | None = None
    """Share of the matched rows whose value is not the offline one; None: no row was matched."""
    differing: str = ""
    """An example, as in ``2013-03-01T10:00:00Z|UA|1545: sent 39.2, offline 4``."""


class LiveInputsResult(Message):
    """What callers sent about the days up to ``day``."""

    model: str
    day: date
    window: list[date]
    version: str | None = None
    judged: list[date] = []
    """The newest days of the window that together have enough rows, ascending; all of it where they are too few."""
    rows: int = 0
    """Rows of callers on these days."""
    measures: list[InputMeasure] = []
    findings: list[ColumnFinding] = []
    """Columns that left their own past of what callers sent."""
    history_days: int = 0
    """Days with rows of callers before the last two, of those from which a column's past is taken."""
    recent_rows: int = 0
    former_rows: int = 0
    """Rows on both sides of ``InputMeasure.recent``; 0: not compared."""
    report: str | None = None
    """URI of the page for people."""
    notes: list[str] = []
    """Data that was not available and was left out."""
