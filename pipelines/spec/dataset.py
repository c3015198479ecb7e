"""A dataset declares its partitions, its sources with their column contracts, and when a partition is refused."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from pipelines.spec.alerts import AlertRule
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.fault_text import FieldFaults
from pipelines.spec.known_time import KnownTime
from pipelines.spec.partitioning import Partitioning
from pipelines.spec.partitions import Partition, PartitionCalendar
from pipelines.spec.personal_names import may_be_personal
from pipelines.spec.runner import StageRunner
from pipelines.spec.source import SourceSpec


class ArrivalQueue(DeclarationBlock):
    """The Amazon SQS queue to which S3 reports each file in the landing folder; one queue per dataset."""

    queue: str = Field(pattern=r"^https?://[^\s/]+/\S+$")
    """URL of the queue."""
    connection: Identifier | None = "aws_default"
    """Airflow's amazon connection of the queue; null: credentials of the environment."""
    poll_minutes: float = Field(default=5, gt=0)
    """How often the landing folder is listed in addition, in case a message was lost."""


NO_OWNER = "nobody"
"""Whose a dataset is that names no owner; ``airworthy check`` asks for one."""


class DatasetSpec(DeclarationBlock):
    """``include/datasets/<dataset>.yaml``."""

    schema_: Literal[2] = Field(alias="schema")
    dataset: Identifier
    description: str = ""
    owner: str = Field(default=NO_OWNER, min_length=1)
    partition: Partitioning
    sources: dict[Identifier, SourceSpec] = Field(min_length=1)
    arrival: ArrivalQueue | None = None
    """How the arrival of files is reported; none: the landing folder is listed periodically."""
    max_quarantined_share: float = Field(default=0.05, ge=0, le=1)
    """A partition with a larger share of quarantined rows in any source is refused."""
    alerts: list[AlertRule] = []
    """Who hears of which incident; none: the installation's ``default_channels`` hear of all."""
    runner: StageRunner = StageRunner()
    """Where the steps that ingest, validate and build features run; none: the installation's runner."""

    @field_validator("runner")
    @classmethod
    def check_needs_no_gpu(cls, runner: StageRunner) -> StageRunner:
        if runner.gpus or runner.workers > 1:
            raise ValueError("gpus and workers are for training; remove them")
        return runner

    @model_validator(mode="after")
    def check_rows_have_one_time(self) -> Self:
        """Of several times in a row nothing but the declaration says which one decides the row's partition."""
        faults = []
        for name, source in self.sources.items():
            times = source.time_columns()
            if source.event_time is None and source.cadence == "partition" and len(times) > 1:
                ways = " or ".join(f"`event_time: {column}`" for column in times)
                way_on = f"write {ways}, or `event_time: none` if rows of any time may land"
                faults.append((f"sources.{name}", f"{', '.join(times)} are times; {way_on}"))
            elif source.sql is not None and source.cadence == "partition" and source.window is None:
                way_on = (
                    "name the time by which a partition is read, as in `window: updated_at`, or `cadence: reference`"
                )
                faults.append((f"sources.{name}.sql", way_on))
        if self.partition.every == "once":
            windows = [name for name, source in self.sources.items() if source.sql and source.sql.window]
            late = [name for name, source in self.sources.items() if source.late]
            faults = [
                (f"sources.{name}.sql.window", "a table without dates is read whole; remove it") for name in windows
            ]
            faults += [(f"sources.{name}.late", "a table without dates has one partition; remove it") for name in late]
        if faults:
            raise FieldFaults(faults)
        return self

    @property
    def partition_calendar(self) -> PartitionCalendar:
        """The partitions that the dataset has."""
        return self.partition.calendar

    def known_time(self, source: str, column: str) -> KnownTime:
        """When the values of a column are known: as declared, else when its partition is due.

        A table without dates has no time before which its values were unknown.
        """
        declared = self.sources[source].known_time(column)
        if declared is not None:
            return declared
        if self.partition.every == "once":
            return KnownTime("partition_start")
        return KnownTime("partition_end", self.partition.due)

    def questions(self) -> list[tuple[str, str]]:
        """What is not declared and people will ask for: the field, and what to write."""
        questions = [] if self.description else [("description", "say in a sentence what the rows are")]
        if "owner" not in self.model_fields_set:
            questions.append(("owner", "name who answers for the data"))
        return questions + [
            (f"sources.{name}.columns.{column}.pii", "write `pii: true` if it tells of a person, else `pii: false`")
            for name, source in self.sources.items()
            for column, contract in source.columns.items()
            if "pii" not in contract.model_fields_set and may_be_personal(column)
        ]

    def window_of(self, source: str) -> str | None:
        """Column by which a partition of a database's table is read; None: it is read whole, or is no such table."""
        return None if self.partition.every == "once" else self.sources[source].window

    def complete_at(self, partition: Partition) -> datetime | None:
        """When a database has all rows of a partition; None: a table without dates is never awaited."""
        return None if self.partition.every == "once" else partition.end + self.partition.due

    def extracted(self) -> list[str]:
        """Sources that are read from a database."""
        return [name for name, source in self.sources.items() if source.sql is not None]

    def daily(self) -> list[str]:
        return [name for name, source in self.sources.items() if source.cadence == "partition"]

    def reference(self) -> list[str]:
        return [name for name, source in self.sources.items() if source.cadence == "reference"]
