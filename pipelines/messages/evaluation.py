"""Request and result of an evaluation: the metrics of a candidate and of the champion."""

from __future__ import annotations

from datetime import datetime

from pipelines.messages.message import Message
from pipelines.messages.training import ModelDigests


class EvaluateRequest(Message):
    model: str
    version: str
    champion: str | None = None
    """The live version; None: there is none."""
    digests: dict[str, ModelDigests] = {}
    """Version to its digests on the ledger; a version without digests is not loaded."""


class Interval(Message):
    """Paired bootstrap of ``candidate - champion`` oriented so that positive is better."""

    metric: str
    candidate: float
    champion: float
    gain: float
    low: float
    high: float
    confidence: float
    resamples: int
    rows: int


class SliceMetric(Message):
    column: str
    value: str
    rows: int
    metric: str
    candidate: float | None
    champion: float | None = None
    gain: float | None = None
    """Oriented so that positive is better; None if either was not measured."""


class EvaluateResult(Message):
    """``metrics`` are of the candidate's test part; the rest is of its rows later than the champion's training.

    Under a ``time_ordered`` split those rows are later than the candidate's training, too.
    """

    model: str
    version: str
    champion: str | None = None
    snapshot: str
    rows: int
    metrics: dict[str, float | None]
    """None: could not be measured."""
    champion_metrics: dict[str, float | None] = {}
    comparison: Interval | None = None
    slices: list[SliceMetric] = []
    plots: list[str] = []
    first: datetime | None = None
    last: datetime | None = None
    trained_until: datetime | None = None
    """Last prediction time of the candidate's train and validation parts."""
    champion_trained_until: datetime | None = None
    compared_from: datetime | None = None
    """First prediction time of the compared rows, which are later than the champion's training rows."""
    notes: list[str] = []
    """Why something could not be measured."""
