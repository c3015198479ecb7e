"""The messages by which every worker of a distributed training gets the same work."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from pipelines.spec.model import Training
from pipelines.steps.models.registered_model import Problem
from pipelines.steps.training.checkpoints import CheckpointIndex
from pipelines.steps.training.device import Device
from pipelines.tables.encoding import FeatureInput, Kind, with_vocabularies

WORK, RESUME, MODEL, DONE = "work.json", "resume.ubj", "model.ubj", "done.json"
"""Files of a rank's folder: its work, the checkpoint to resume from, and the model and facts of rank 0."""
INVITATION_FILE = "workers.json"
"""Written by the coordinator into the launch's folder in the store when the workers may join."""

REPORTS_FOLDER = "workers/"
"""Where a worker writes why it was refused, for the coordinator to report."""


class ResumePoint(BaseModel):
    """The checkpoint that all workers resume from; its bytes are in a file of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    sha256: str
    index: CheckpointIndex


class SharedWork(BaseModel):
    """One fit. Of ``n`` workers, rank ``r`` holds the rows ``r``, ``r + n``, ``r + 2n``, ... of each part."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    model: str
    snapshot: str
    problem: Problem
    training: Training
    seed: int
    device: Device
    workers: int = Field(ge=2)
    types: dict[str, Kind]
    vocabularies: dict[str, list[str]]
    rates: list[float] | None = None
    """Of a fit on the rows of all parts, without validation: its learning rates, one a round. None: the first fit."""
    resume: ResumePoint | None = None

    @property
    def features(self) -> list[FeatureInput]:
        return with_vocabularies(self.types, self.vocabularies)


class Invitation(BaseModel):
    """Where the workers of a launch meet, and for what. ``session`` counts the fits of the launch from 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    session: int
    last: bool
    """Whether the workers may leave after it."""
    host: str
    port: int
    work: SharedWork
