"""A dataset declares its calendar, its sources with their column contracts, and when a day is refused."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from pipelines.spec.column import ColumnSpec
from pipelines.spec.declared import DeclarationBlock, Identifier
from pipelines.spec.file_format import FileFormat
from pipelines.spec.partitions import PartitionCalendar
from pipelines.spec.runner import StageRunner

OWN_DAY_COLUMN = "source_day"
"""Column of the tables that holds a source's own column ``day``: the partition's column has that name."""
OWN_REASONS_COLUMN = "source_reasons"
"""Column of the quarantine table that holds a source's own column ``reasons``."""
DAILY_SCHEDULE = re.compile(r"[0-5]?\d (?:[01]?\d|2[0-3])(?: [\d*,/A-Za-z-]+){3}")
"""Cron with one minute and one hour; the days may be limited."""
RESERVED_NAMES = {"day": OWN_DAY_COLUMN, "reasons": OWN_REASONS_COLUMN}


class SourceSpec(DeclarationBlock):
    """One source system's file.

    ``cadence: daily`` delivers one folder per day; ``cadence: reference`` delivers a full copy irregularly, and a day
    uses the newest copy delivered on or before it.
    """

    file: str
    format: Literal["csv", "parquet"] = "csv"
    cadence: Literal["daily", "reference"] = "daily"
    null_values: list[str] = ["NA", ""]
    """Texts that stand for no value. Parquet has nulls of its own, so there only those count that are declared."""
    key: list[str] = Field(min_length=1)
    columns: dict[str, ColumnSpec] = Field(min_length=1)
    suite: Identifier | None = None
    """Name of the Great Expectations suite in ``include/expectations/``; none: only the contract is checked."""
    minimum_rows: int = Field(default=1, ge=0)
    """A delivery with fewer rows is refused; 0 if days without rows are normal."""
    day_columns: list[str] | None = None
    """``[year, month, day]``: columns that must contain the partition's day; rows of another day are refused.

    None: the timestamp of the key says the day of a row (see ``event_column``). ``[]``: rows of any day are taken.
    """

    @model_validator(mode="after")
    def check_key_is_declared(self) -> Self:
        unknown = [name for name in [*self.key, *(self.day_columns or [])] if name not in self.columns]
        if unknown:
            raise ValueError(f"key or day_columns name undeclared columns {unknown}; declare them under columns")
        nullable = [name for name in self.key if self.columns[name].nullable]
        if nullable:
            raise ValueError(f"key columns {nullable} are nullable; a key must not be null")
        repeated = sorted({name for name in self.key if self.key.count(name) > 1})
        if repeated:
            raise ValueError(f"key names {repeated} more than once; name each column once")
        if self.day_columns and [self.columns[name].type for name in self.day_columns] != ["integer"] * 3:
            raise ValueError(f"day_columns {self.day_columns} must be three integer columns: year, month and day")
        return self

    @model_validator(mode="after")
    def leave_the_nulls_of_parquet(self) -> Self:
        if self.format == "parquet" and "null_values" not in self.model_fields_set:
            object.__setattr__(self, "null_values", [])
        return self

    @field_validator("file")
    @classmethod
    def check_file_lies_in_its_folder(cls, file: str) -> str:
        if not file or "/" in file or "\\" in file or file.startswith("_"):
            raise ValueError(
                f"{file!r} is no name of a data file; name a file of the day's folder, not starting with _"
            )
        return file

    @field_validator("columns")
    @classmethod
    def check_column_names(cls, columns: dict[str, ColumnSpec]) -> dict[str, ColumnSpec]:
        own = [name for name in columns if not name or name.startswith(("__", "*", "^"))]
        if own:
            raise ValueError(f"column names {own} are empty, or begin with __, ^ or *; have the source rename them")
        spelt = [name for name in columns if name.lower() in ("day", "reasons") and name not in RESERVED_NAMES]
        alike = [name for name in columns if [other.lower() for other in columns].count(name.lower()) > 1]
        if spelt or alike:
            raise ValueError(
                f"columns {sorted({*spelt, *alike})} differ from another column of their table only by capitals, which "
                "tables do not tell apart; have the source rename them"
            )
        taken = [name for name in columns if name in RESERVED_NAMES and RESERVED_NAMES[name] in columns]
        if taken:
            stored = [RESERVED_NAMES[name] for name in taken]
            raise ValueError(
                f"columns {taken} are stored as {stored}, which are columns, too; have the source rename one"
            )
        return columns

    @property
    def files(self) -> FileFormat:
        """How its files are written."""
        return FileFormat(format=self.format, null_values=self.null_values)

    def stored_columns(self) -> dict[str, ColumnSpec]:
        """The columns by their names in the raw and validated tables."""
        names = {name: self.stored_name(name) for name in self.columns}
        return {stored: self.columns[name] for name, stored in names.items() if stored != "day"}

    def stored_name(self, column: str) -> str:
        """Name of a declared column in the raw and validated tables."""
        return OWN_DAY_COLUMN if column == "day" and "day" not in (self.day_columns or ()) else column

    def contract_digest(self, timezone: str, event_column: str | None) -> str:
        """sha256 of all that decides whether a delivery is accepted and how its rows are read, 64 hex digits."""
        columns = {
            name: column.model_dump(mode="json", exclude={"pii", "description", "unit"})
            for name, column in self.columns.items()
        }
        fields = self.model_dump(mode="json", include={"file", "format", "null_values", "key", "minimum_rows"})
        fields |= {"columns": columns, "day_columns": self.day_columns, "day": [timezone, event_column]}
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()

    def event_column(self) -> str | None:
        """The timestamp by which a row belongs to a day: the key's only one; None if the key has none or several."""
        timestamps = [name for name in self.key if self.columns[name].type == "timestamp"]
        return timestamps[0] if len(timestamps) == 1 else None


class Calendar(DeclarationBlock):
    """The days a dataset has. Runs outside ``start`` to ``end`` (both inclusive) are never scheduled."""

    start: date
    end: date | None = None
    timezone: str = "UTC"
    schedule: str = "0 6 * * *"
    wait_minutes: float = Field(default=360, gt=0)
    """How long a scheduled day waits for its files before it fails as Unavailable."""

    @field_validator("schedule")
    @classmethod
    def check_due_once_a_day(cls, schedule: str) -> str:
        if not DAILY_SCHEDULE.fullmatch(schedule):
            raise ValueError(
                "a day's files are due at one minute and hour, as cron writes it: `0 6 * * *` is 06:00 of the next day"
            )
        return schedule

    @model_validator(mode="after")
    def check_ends_after_its_start(self) -> Self:
        if self.end is not None and self.end < self.start:
            raise ValueError(f"end {self.end} is before start {self.start}; the calendar would have no day")
        return self

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

    @property
    def partition_calendar(self) -> PartitionCalendar:
        """The partitions that the dataset has."""
        calendar = self.calendar
        return PartitionCalendar("day", calendar.start, calendar.end, calendar.timezone)

    def daily(self) -> list[str]:
        return [name for name, source in self.sources.items() if source.cadence == "daily"]

    def reference(self) -> list[str]:
        return [name for name, source in self.sources.items() if source.cadence == "reference"]
