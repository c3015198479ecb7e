"""Requests and results of snapshot, training and reproduction: digests, versions and counts."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.messages.message import Message
from pipelines.messages.monitoring import DayValue


class SnapshotRequest(Message):
    model: str
    as_of: datetime
    """Only labels known at this time (UTC) are used."""
    recent_days: int | None = Field(default=None, exclude_if=lambda days: days is None)
    """Only rows of this many days before ``as_of``; None: of all days that are declared."""


class HistoryChoice(BaseModel):
    """Which rows a training has that was asked to try the newest alone: those that predicted the next days better."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recent_days: int
    """The days that were tried alone."""
    chosen: Literal["declared", "recent"]
    snapshots: dict[str, str] = {}
    """``declared`` and ``recent`` to the digest of the snapshot."""
    reasons: list[str]

    @property
    def history_days(self) -> int | None:
        """The history that the training has; None: the declared one."""
        return self.recent_days if self.chosen == "recent" else None

    @property
    def is_compared(self) -> bool:
        """Whether the training is the better of two that were measured."""
        return len(self.snapshots) > 1


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
    definitions: dict[str, tuple[int, str]] = Field(default={}, exclude_if=lambda definitions: not definitions)
    """Feature to its version and the digest of its definition; empty in a snapshot of before 0.2.0."""
    rests_on: dict[str, list[int]] = Field(default={}, exclude_if=lambda tables: not tables)
    """Validated table to those of its versions that the days of features were built from, ascending."""
    missing_days: dict[date, list[str]] = Field(default={}, exclude_if=lambda days: not days)
    """Days of the history that were validated and have no features, with every reason."""
    incomplete_days: dict[date, str] = Field(default={}, exclude_if=lambda days: not days)
    """Days of the history whose windows reach a partition that is not held, each with what is not. Their rows are not
    in the snapshot, unless the view declares ``allow_missing``."""
    batch_rows: int | None = Field(default=None, exclude_if=lambda rows: rows is None)
    """Maximum rows per file if the table was written in batches."""
    history: HistoryChoice | None = Field(default=None, exclude_if=lambda choice: choice is None)
    """Where the newest rows alone were tried beside all of them, which of the two this snapshot is, and why."""


class TrainRequest(Message):
    model: str
    snapshot: str
    """Digest of the snapshot."""
    hypothesis: str = ""
    seed: int | None = None
    """None: the declared seed."""
    history_days: int | None = Field(default=None, exclude_if=lambda days: days is None)
    """The days that the snapshot holds, where they are not the declared ones."""
    run_key: str
    """Identifies the training across retries (``<dag_id>/<run_id>``) to resume its checkpoints."""
    git_revision: str = "unknown"
    requested_by: str = "airworthy"
    trigger: str = "manual"


class ModelDigests(Message):
    """Digests of a registered model's files, as the ledger's line on its training has them."""

    model_digest: str
    """sha256 of the native model file."""
    judged_digest: str | None = Field(default=None, exclude_if=lambda digest: digest is None)
    """sha256 of the model that was judged, if the deployed one was trained again on all rows; None: they are one."""
    folder_digest: str | None = None
    """sha256 over the names and digests of all its files; None: the line is of a time when none was recorded."""
    snapshot: str | None = None
    """Digest of the snapshot that it was trained on."""


class RefitCheck(BaseModel):
    """Both models on the newest rows (the test part), which the deployed one has learnt and the judged one has not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    metric: str
    judged: float | None
    """The metric of the judged model; None: it is not defined on these rows."""
    refitted: float | None
    not_finite: int
    """Answers of the deployed model that are missing or infinite."""
    target_mean: float
    target_spread: float
    """Standard deviation of the targets."""
    judged_mean: float
    """Mean answer of the judged model."""
    judged_spread: float
    refitted_mean: float


class TrainResult(Message):
    model: str
    run_id: str
    version: str
    """MLflow model version (an integer as text)."""
    model_uri: str
    model_digest: str
    """sha256 of the native model file that is deployed."""
    judged_digest: str | None = Field(default=None, exclude_if=lambda digest: digest is None)
    """sha256 of the model that was judged, if the deployed one was trained again on all rows; None: they are one."""
    folder_digest: str | None = None
    """sha256 over the names and digests of all files of the registered model."""
    snapshot: str
    request_digest: str
    environment_digest: str
    rounds: int
    best_round: int | None = None
    resumed_from_round: int | None = None
    seed: int | None = None
    """The seed that was used; None: the result is of a time when it was not told."""
    metrics: dict[str, float]
    seconds: float
    device: Literal["cpu", "cuda"] = "cpu"
    """The device that ran the boosting; it differs from the declared one only with ``cpu_fallback``."""
    notes: list[str] = []
    """Measurements that were made on a sample only."""
    refit: RefitCheck | None = Field(default=None, exclude_if=lambda check: check is None)
    """None: the deployed model is the judged one."""
    test_days: list[DayValue] = Field(default=[], exclude_if=lambda days: not days)
    """The monitored metric within each day of the test part, which the days after the release are compared with."""


class ReproduceRequest(Message):
    model: str
    version: str


class ReproduceResult(Message):
    model: str
    version: str
    registered_digest: str
    reproduced_digest: str
    registered_judged_digest: str | None = None
    """The same of the model that was judged, if the deployed one was trained again on all rows."""
    reproduced_judged_digest: str | None = None
    snapshot: str
    differences: list[str] = []
    """Differences from the first training (environment, code revision, library versions)."""
