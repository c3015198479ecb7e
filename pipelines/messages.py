"""Requests and results travel between tasks, processes and pods as small JSON: ids, URIs and numbers, never tables."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Message(BaseModel):
    """The parent of every request and result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal[1] = Field(default=1, alias="schema", validation_alias="schema", serialization_alias="schema")


# ---- ingestion ---------------------------------------------------------------------------------------


class IngestRequest(Message):
    dataset: str
    day: date


class SourceIngest(Message):
    """One source of one day, as found. ``failures`` lists every broken promise of the contract; none: publishable."""

    source: str
    landed_day: date
    """The folder read: the day itself, or for a reference source the newest day on or before it."""
    rows: int = 0
    sha256: dict[str, str] = {}
    failures: list[str] = []
    table: str | None = None
    """``raw/<source>`` once written."""
    version: int | None = None
    unchanged: bool = False
    """True if the table already held this very delivery, so that nothing was written."""


class IngestResult(Message):
    dataset: str
    day: date
    sources: list[SourceIngest]


# ---- validation --------------------------------------------------------------------------------------------------


class ValidateRequest(Message):
    dataset: str
    day: date


class SourceAudit(Message):
    """One source of one day under its suite: ``received == accepted + quarantined``, always."""

    source: str
    landed_day: date
    """The partition judged: the day itself, or for a reference source the day of its newest copy."""
    received: int
    accepted: int
    quarantined: int
    reasons: dict[str, int] = {}
    """Rows per failing expectation; a row with two reasons counts under both."""
    failures: list[str] = []
    """Expectations on the whole table that failed (they have no rows to quarantine)."""
    raw_version: int


class AuditResult(Message):
    """What the suites found; the accepted and quarantined rows wait under ``staged`` until they are published."""

    dataset: str
    day: date
    sources: list[SourceAudit]
    staged: str
    report: str | None = None
    """URI of the HTML data docs."""


class PublishRequest(Message):
    """``accept=False`` writes the quarantine only and leaves the published tables alone."""

    audit: AuditResult
    accept: bool


class PublishResult(Message):
    dataset: str
    day: date
    versions: dict[str, int] = {}
    """Table to version, for example ``validated/flights`` to 12."""
    profiles: dict[str, str] = {}


# ---- features ----------------------------------------------------------------------------------------------------


class FeaturesRequest(Message):
    view: str
    day: date


class FeatureFacts(Message):
    """One feature of the built day."""

    name: str
    rows: int
    nulls: int
    minimum: float | None = None
    maximum: float | None = None


class FeaturesResult(Message):
    """``days`` were rebuilt: the day itself and those later days whose windows reach into it.

    ``rows``, ``features`` and ``profile`` are those of ``day``; ``version`` is the table's once all were written."""

    view: str
    day: date
    days: list[date]
    rows: int
    table: str
    version: int
    features: list[FeatureFacts]
    profile: str
    definition_digests: dict[str, str]


class FeatureDefinitions(Message):
    """Features as last built: name to (version, digest of its meaning). Features since removed stay listed."""

    view: str
    features: dict[str, tuple[int, str]] = {}


# ---- training ----------------------------------------------------------------------------------------------------


class SnapshotRequest(Message):
    model: str
    as_of: datetime
    """Only labels known by then (UTC) are used."""


class SplitPart(Message):
    rows: int
    first: datetime | None = None
    last: datetime | None = None
    positives: int | None = None
    """Rows with a positive label; None for a regression."""


class SnapshotResult(Message):
    """A frozen training table: ``snapshots/<model>/<digest>/data.parquet`` with columns key, prediction_time,
    label_time, features, ``target`` and ``part`` (train, validation, test); or, with ``batch_rows``, several such
    files, which ``files.json`` beside them names."""

    model: str
    as_of: datetime
    digest: str
    uri: str
    rows: int
    parts: dict[str, SplitPart]
    features: list[str]
    table_versions: dict[str, int]
    latest_label_time: datetime | None = None
    batch_rows: int | None = Field(default=None, exclude_if=lambda rows: rows is None)
    """Most rows per file, where the table was frozen in batches."""


class TrainRequest(Message):
    model: str
    snapshot: str
    """Digest of the snapshot."""
    hypothesis: str = ""
    seed: int | None = None
    """None: the declared seed."""
    run_key: str
    """Names the attempt across retries (``<dag_id>/<run_id>``): checkpoints are resumed under it."""
    git_revision: str = "unknown"
    requested_by: str = "airworthy"
    trigger: str = "manual"


class TrainResult(Message):
    model: str
    run_id: str
    version: str
    """MLflow model version (an integer as text)."""
    model_uri: str
    model_digest: str
    """sha256 of the native model file."""
    snapshot: str
    request_digest: str
    environment_digest: str
    rounds: int
    best_round: int | None = None
    resumed_from_round: int | None = None
    metrics: dict[str, float]
    seconds: float
    device: Literal["cpu", "cuda"] = "cpu"
    """Where boosting really ran; differs from the declaration only where it allows ``cpu_fallback``."""
    notes: list[str] = []
    """What was measured on a sample only."""


class ReproduceRequest(Message):
    model: str
    version: str


class ReproduceResult(Message):
    model: str
    version: str
    registered_digest: str
    reproduced_digest: str
    snapshot: str
    differences: list[str] = []
    """What differs from the first training (environment, code revision, library versions)."""


# ---- evaluation --------------------------------------------------------------------------------------------------


class EvaluateRequest(Message):
    model: str
    version: str
    champion: str | None = None
    """Version now live; None: there is none."""


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
    """Measured on the candidate's own test part (later than all it was trained on), champion and candidate alike."""

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
    """First prediction time of the rows that both answered: later than all that either was trained on."""
    notes: list[str] = []
    """Why something could not be measured."""


# ---- release -----------------------------------------------------------------------------------------------------


class BundleRequest(Message):
    model: str
    version: str


class BundleResult(Message):
    """``bundles/<model>/<version>/``: what the gateway serves, checked against the registered model."""

    model: str
    version: str
    uri: str
    predictor: Literal["onnx", "native", "pyfunc"]
    sha256: str
    """Digest over the bundle's files."""
    model_digest: str
    parity_rows: int
    largest_difference: float
    notes: list[str] = []


class LiveState(Message):
    """What one deployment of the gateway serves now."""

    model: str
    version: str | None = None
    previous: str | None = None
    generation: int = 0
    bundle_sha256: str | None = None
    workers: int = 0
    applied: bool = True
    """Whether every live worker answers with this generation."""


# ---- monitoring --------------------------------------------------------------------------------------------------


class MonitorRequest(Message):
    model: str
    day: date
    report: bool | Literal["when_drifted"] = "when_drifted"
    """Whether the drift report for people is written; the measures do not depend on it."""


class DayPerformance(Message):
    day: date
    predictions: int
    labelled: int
    metrics: dict[str, float | None]
    versions: dict[str, int] = {}


class PerformanceResult(Message):
    """Performance of the predictions of each re-joined day and of the whole window."""

    model: str
    day: date
    days: list[DayPerformance]
    window_metrics: dict[str, float | None]
    window_predictions: int
    window_labelled: int
    version: str | None = None
    """Version that answered most of the window."""
    reference: dict[str, float] = {}
    """The version's own test metrics."""
    notes: list[str] = []
    """What could not be had and was gone on without."""


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
    """What could not be had and was gone on without."""
