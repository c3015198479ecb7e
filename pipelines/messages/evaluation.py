"""Request and result of an evaluation: the metrics of a candidate and of the champion."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from pipelines.messages.message import Message
from pipelines.messages.training import ModelDigests

Method = Literal["held_out", "forward_chaining", "cross_fitting"]
"""On which rows models were compared: test rows later than both trainings; later rows of models trained again on what
was known before; rows of models trained again without their entities."""


class EvaluateRequest(Message):
    model: str
    version: str
    champion: str | None = None
    """The live version; None: there is none."""
    anchors: list[str] = []
    """Certified versions against one of which losses add up: the first that can be compared."""
    digests: dict[str, ModelDigests] = {}
    """Version to its digests on the ledger; a version without digests is not loaded."""
    attempts: dict[str, list[str]] = {}
    """Digest of a test part to the versions that were compared on it before."""
    chosen_of: dict[str, int] = {}
    """Version to the number of models that it is the best of, by days that its test part holds; others: 1."""


class HistoryRequest(Message):
    """Two snapshots of one moment: of the declared history, and of its last ``recent_days`` alone."""

    model: str
    declared: str
    recent: str
    """Digests."""
    recent_days: int


class Interval(Message):
    """The gain ``candidate - champion``, oriented so that positive is better, with its interval by units."""

    metric: str
    candidate: float
    champion: float
    gain: float
    low: float | None
    high: float | None
    """None: with these units there is no interval."""
    confidence: float
    rows: int
    unit: str = "row"
    """``day``, or the column whose values are entities; ``row`` in a measurement from before 0.2.0."""
    units: int = 0
    standard_error: float | None = None
    equal_passes: float | None = None
    """How probable it is that a candidate as good as the champion passes at the margin."""
    margin: float | None = None
    """The loss that the declaration tolerates at the champion's value."""
    method: Method = "held_out"
    attempt: int = 1
    """The n-th candidate that was compared on these test rows."""
    resamples: int | None = Field(default=None, exclude_if=lambda resamples: resamples is None)
    """Of a measurement from before 0.2.0."""


class HistoryComparison(Message):
    """The gain of a model of the newest rows alone over one of all rows, on days that neither had seen."""

    model: str
    recent_days: int
    rows: int
    """Rows of the declared history."""
    gain: Interval | None = None
    """``candidate``: the newest rows alone; ``champion``: all rows. None: it was not measured."""
    notes: list[str] = []
    """How it was measured, or why it was not."""


class Optimism(Message):
    """What a version's own test part showed, and what the same metric is on rows that its snapshot does not hold."""

    metric: str
    of: str
    """The version whose shown metric it is."""
    shown: float
    later: float
    amount: float
    """By how much ``later`` is worse; negative: it is better."""
    standard_error: float | None = None
    units: int
    unit: str


class SliceMetric(Message):
    column: str
    value: str
    rows: int
    metric: str
    candidate: float | None
    champion: float | None = None
    gain: float | None = None
    """Oriented so that positive is better; None if either was not measured."""
    units: int = 0
    standard_error: float | None = None
    loss_p: float | None = None
    """Probability of such a loss or a larger one if the slice loses nothing; None: it could not be measured."""


class EvaluateResult(Message):
    """``metrics`` are of the candidate's test part; comparison and slices are of the rows that ``method`` says."""

    model: str
    version: str
    champion: str | None = None
    snapshot: str
    rows: int
    metrics: dict[str, float | None]
    """None: could not be measured."""
    champion_metrics: dict[str, float | None] = {}
    comparison: Interval | None = None
    anchor: str | None = None
    anchor_comparison: Interval | None = None
    anchor_notes: list[str] = []
    """Why an anchor could not be compared, or how it was."""
    test_part: str | None = None
    """Digest of the test rows: their keys, times and targets."""
    optimism: Optimism | None = None
    slices: list[SliceMetric] = []
    plots: list[str] = []
    first: datetime | None = None
    last: datetime | None = None
    trained_until: datetime | None = None
    """Last prediction time of the candidate's train and validation parts."""
    champion_trained_until: datetime | None = None
    compared_from: datetime | None = None
    """First prediction time of the compared rows; held-out ones are later than both trainings."""
    notes: list[str] = []
    """Why something could not be measured."""
