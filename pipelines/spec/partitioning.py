"""Declares the partitions of a dataset: how long each is, when its files are due and how long they are awaited."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Self

from pydantic import field_validator, model_validator

from pipelines.spec.declared import DeclarationBlock
from pipelines.spec.durations import Duration
from pipelines.spec.partitions import FIRST_DATE, Every, PartitionCalendar
from pipelines.spec.time_zone import timezone_fault

FIRST_YEAR, LAST_YEAR = 1800, 2999
"""Of partitions. Events may lie in any of the years 1 to 9999 where rows of any time are taken."""


class Partitioning(DeclarationBlock):
    """``partition`` of a dataset. Runs outside ``start`` to ``end`` (both inclusive) are never scheduled."""

    every: Every
    """One file of each source per hour, day, week from Monday, or month; ``once``: a table without dates."""
    start: date | None = None
    end: date | None = None
    timezone: str = "UTC"
    """In which a day begins, and in which dates and times without a zone are read."""
    due: Duration = timedelta(hours=6)
    """How long after the end of a partition its files are due. Unless a source declares otherwise, its values are known
    then."""
    wait: Duration = timedelta(hours=6)
    """How much longer a scheduled run waits for its files before it fails as Unavailable."""

    @model_validator(mode="after")
    def check_start_and_end(self) -> Self:
        if self.every == "once":
            useless = sorted(self.model_fields_set & {"start", "end", "due", "wait"})
            if useless:
                raise ValueError(f"{', '.join(useless)}: `every: once` has one partition and no dates; remove them")
            return self
        if self.start is None:
            raise ValueError("start is required; write the first date, as in `start: 2013-01-01`")
        if self.end is not None and self.end < self.start:
            raise ValueError(f"end {self.end} is before start {self.start}; there would be no partition")
        return self

    @field_validator("wait")
    @classmethod
    def check_waits(cls, wait: timedelta) -> timedelta:
        if not wait:
            raise ValueError("must be longer than nothing; write 1m at least")
        return wait

    @field_validator("timezone")
    @classmethod
    def check_timezone_exists(cls, name: str) -> str:
        if fault := timezone_fault(name):
            raise ValueError(fault)
        return name

    @field_validator("start", "end")
    @classmethod
    def check_year(cls, day: date | None) -> date | None:
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            way_on = (
                "leave `end` out where there is none" if day.year > LAST_YEAR else "write the year with four digits"
            )
            raise ValueError(f"must be of the years {FIRST_YEAR} to {LAST_YEAR}; {way_on}")
        return day

    @property
    def first_date(self) -> date:
        return self.start or FIRST_DATE

    @property
    def calendar(self) -> PartitionCalendar:
        return PartitionCalendar(self.every, self.first_date, self.end, self.timezone)
