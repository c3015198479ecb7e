"""A dataset declares its calendar, its sources with their column contracts, and when a day is refused."""

from __future__ import annotations

from datetime import date
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.runner import StageRunner

ColumnType = Literal["integer", "number", "string", "timestamp"]


class ColumnSpec(DeclarationBlock):
    """The contract of one column. ``minimum`` and ``maximum`` are inclusive."""

    type: ColumnType
    nullable: bool = False
    allowed: list[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
    pii: bool = False
    description: str = ""


class SourceSpec(DeclarationBlock):
    """One source system's file.

    ``cadence: daily`` delivers one folder per day; ``cadence: reference`` delivers a full copy irregularly, and a day
    uses the newest copy delivered on or before it.
    """

    file: str
    format: Literal["csv", "parquet"] = "csv"
    cadence: Literal["daily", "reference"] = "daily"
    null_values: list[str] = ["NA", ""]
    key: list[str] = Field(min_length=1)
    columns: dict[str, ColumnSpec] = Field(min_length=1)
    suite: Identifier | None = None
    """Name of the Great Expectations suite in ``include/expectations/``; none: only the contract is checked."""
    minimum_rows: int = Field(default=1, ge=0)
    """A delivery with fewer rows is refused; 0 if days without rows are normal."""
    day_columns: list[str] | None = None
    """``[year, month, day]``: columns that must contain the partition's day; rows of another day are refused."""

    @model_validator(mode="after")
    def check_key_is_declared(self) -> Self:
        unknown = [name for name in [*self.key, *(self.day_columns or [])] if name not in self.columns]
        if unknown:
            raise ValueError(f"key or day_columns name undeclared columns {unknown}; declare them under columns")
        nullable = [name for name in self.key if self.columns[name].nullable]
        if nullable:
            raise ValueError(f"key columns {nullable} are nullable; a key must not be null")
        return self


class Calendar(DeclarationBlock):
    """The days a dataset has. Runs outside ``start`` to ``end`` (both inclusive) are never scheduled."""

    start: date
    end: date | None = None
    timezone: str = "UTC"
    schedule: str = "0 6 * * *"
    wait_minutes: float = Field(default=360, gt=0)
    """How long a scheduled day waits for its files before it fails as Unavailable."""

    @field_validator("timezone")
    @classmethod
    def check_timezone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError) as error:
            raise ValueError(f"unknown timezone {name!r}; use a name such as America/New_York") from error
        return name


class ArrivalQueue(DeclarationBlock):
    """The Amazon SQS queue to which S3 reports each file in the landing folder; one queue per dataset."""

    queue: str = Field(pattern=r"^https?://[^\s/]+/\S+$")
    """URL of the queue."""
    connection: Identifier | None = "aws_default"
    """Airflow's amazon connection of the queue; null: credentials of the environment."""
    poll_minutes: float = Field(default=5, gt=0)
    """How often the landing folder is listed in addition, in case a message was lost."""


class DatasetSpec(DeclarationBlock):
    """``include/datasets/<dataset>.yaml``."""

    schema_: Literal[1] = Field(alias="schema")
    dataset: Identifier
    description: str = Field(min_length=1)
    owner: str = Field(min_length=1)
    calendar: Calendar
    sources: dict[Identifier, SourceSpec] = Field(min_length=1)
    arrival: ArrivalQueue | None = None
    """How the arrival of files is reported; none: the landing folder is listed periodically."""
    max_quarantined_share: float = Field(default=0.05, ge=0, le=1)
    """A day with a larger share of quarantined rows in any source is refused."""
    runner: StageRunner = StageRunner()
    """Where the steps that ingest, validate and build features run; none: the installation's runner."""

    @field_validator("runner")
    @classmethod
    def check_needs_no_gpu(cls, runner: StageRunner) -> StageRunner:
        if runner.gpus or runner.workers > 1:
            raise ValueError("gpus and workers are for training; remove them")
        return runner

    def daily(self) -> list[str]:
        return [name for name, source in self.sources.items() if source.cadence == "daily"]

    def reference(self) -> list[str]:
        return [name for name, source in self.sources.items() if source.cadence == "reference"]
