"""Requests and results of the shadow comparison and the A/B test: numbers only, the rows stay in the store."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Literal

from pipelines.messages.message import Message
from pipelines.messages.rollout import ArmCounts

# ---- in the shadow -----------------------------------------------------------------------------------------------


class ShadowRequest(Message):
    """Analyse the mirror's counts from ``started`` to ``now``; with ``report``, read the prediction log too."""

    model: str
    champion: str
    version: str
    rollout_id: str
    started: datetime
    now: datetime
    arms: list[ArmCounts]
    callers: int | None = None
    """Requests of callers since ``started``, mirrored or not; None: not known."""
    callers_failed: int | None = None
    """Those of them to which the champion's answer was bad; None: not known."""
    report: bool = False


class PairedLabels(Message):
    """Answers of both versions to the same request, once per entity whose label is known.

    ``candidate_wrong`` and ``champion_wrong`` count the pairs in which that version alone was wrong (a regression:
    was further off). ``worse_log_e`` and ``better_log_e``: natural log of the evidence about the candidate.
    """

    labelled: int
    candidate_wrong: int
    champion_wrong: int
    worse_log_e: float
    better_log_e: float


class ShadowMeasure(Message):
    """``requests``, ``failed``, ``sent`` and ``dropped`` count requests; ``compared``, ``disagreed``, ``flipped`` rows.

    Evidence is a natural log, of the share of disagreeing (bad) answers being above or below its limit.
    """

    model: str
    champion: str
    version: str
    rollout_id: str
    elapsed: float
    """Seconds since the mirror was set."""
    requests: int
    failed: int
    sent: int
    dropped: int
    compared: int
    disagreed: int
    flipped: int
    coverage: float | None
    """Share of the sampled requests that the candidate has handled; None: no request was sampled."""
    callers: int | None = None
    """Requests of callers, mirrored or not; None: not known."""
    callers_failed: int | None = None
    """Those of them to which the champion's answer was bad; None: not known."""
    disagreement_above_log_e: float = 0.0
    disagreement_below_log_e: float = 0.0
    bad_above_log_e: float = 0.0
    bad_below_log_e: float = 0.0
    bad_beyond_champion_log_e: float | None = None
    """Evidence that the candidate fails more often than the champion; None: the champion's failures are not known."""
    errors: list[str] = []
    """Impossible counts."""
    labels: PairedLabels | None = None
    score_psi: float | None = None
    latency_ratio: float | None = None
    """Median time of the candidate's prediction divided by that of the champion's whole request."""
    report: str | None = None
    picture: str | None = None
    """URIs of the numbers (JSON) and of the picture (PNG)."""
    notes: list[str] = []


# ---- an experiment on users --------------------------------------------------------------------------------------


class MetricInterval(Message):
    """Variant minus control, in the metric's own unit (``latency``: relative to control).

    ``low`` and ``high`` are valid at every observation at the declared confidence; ``low_shared`` and ``high_shared``
    share the error over all metrics. None: unbounded on that side. ``minimum_units``: units that each arm needs for its
    interval, because its values are skewed.
    """

    metric: str
    better: Literal["higher", "lower", "same"]
    control_units: int
    variant_units: int
    control: float | None
    variant: float | None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    low_shared: float | None = None
    high_shared: float | None = None
    minimum_units: int = 0

    def gain_interval(self, *, shared: bool = False) -> tuple[float, float]:
        """Lowest and highest gain in the interval; for ``better: same`` every change is a loss."""
        ends = (self.low_shared, self.high_shared) if shared else (self.low, self.high)
        low, high = -math.inf if ends[0] is None else ends[0], math.inf if ends[1] is None else ends[1]
        if self.better == "higher":
            return low, high
        if self.better == "lower":
            return -high, -low
        return -max(-low, high), -max(low, -high, 0.0)


class ExperimentMeasure(Message):
    model: str
    control: str
    variant: str
    rollout_id: str
    elapsed: float
    """Seconds since the split was set."""
    control_units: int
    variant_units: int
    """Distinct users, by the target's count."""
    split_log_e: float
    """Evidence that the users were not split as declared."""
    metrics: list[MetricInterval]
    errors: list[str] = []
    picture: str | None = None
    """URI of a picture of the intervals."""
    notes: list[str] = []


class ExperimentRequest(Message):
    """Measure the declared metrics of both arms per user, as of ``now``; or only plot the earlier measure ``found``."""

    model: str
    control: str
    variant: str
    rollout_id: str
    started: datetime
    now: datetime
    arms: list[ArmCounts]
    found: ExperimentMeasure | None = None
