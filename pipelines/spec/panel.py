"""Rows per entity and period: who has one, its moment ``t``, and which days of the dataset can be known by then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from pipelines.spec.declared import DeclarationBlock
from pipelines.spec.durations import Duration, written_duration
from pipelines.spec.partitions import DAY, Partition, PartitionCalendar, first_instant

PERIOD = "period"
"""Column of a panel's rows beside the entity's: the first date of their period."""
PanelEvery = Literal["day", "week", "month"]
DAYS: dict[PanelEvery, tuple[int, int]] = {"day": (1, 1), "week": (7, 7), "month": (28, 31)}
"""Days of the shortest and of the longest period."""
CLOCK_CHANGE = timedelta(hours=4)
"""By no more is a period shorter, or longer, where the clocks of its zone are changed."""


class PerPeriod(DeclarationBlock):
    """One row per entity and period in which the entity was active; ``t`` is the begin of the period plus ``at``."""

    each: Annotated[
        list[str],
        BeforeValidator(
            lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | list[str]
        ),
    ] = Field(min_length=1)
    """``<source>.<column>`` of the source whose events make an entity active, for each column that names one."""
    every: PanelEvery
    active_within: Duration
    """An entity is active if it had an event this long before ``t`` or less, which was known at ``t``."""
    at: Duration | None = None
    """How long after the begin of a period its rows are asked about; none: when the files of the day before are due."""
    warm_up: Duration | None = None
    """Rows with a ``t`` earlier than this after the start of the first partition are left out."""
    allow_missing: bool = False
    """Whether rows are trained on whose windows reach a partition that is not held."""

    @field_validator("each")
    @classmethod
    def check_is_of_one_source(cls, each: list[str]) -> list[str]:
        parts = [name.split(".") for name in each]
        if any(len(part) != 2 or not all(part) for part in parts) or len({part[0] for part in parts}) > 1:
            raise ValueError("name a column of a source, as in orders.customer_id, or several of one source")
        return each

    @field_validator("active_within")
    @classmethod
    def check_is_longer_than_nothing(cls, span: timedelta) -> timedelta:
        if not span:
            raise ValueError("must be longer than nothing; write 1d at least")
        return span

    @property
    def source(self) -> str:
        return self.each[0].partition(".")[0]

    @property
    def columns(self) -> list[str]:
        """The columns of the source that name an entity."""
        return [name.partition(".")[2] for name in self.each]

    @property
    def lead(self) -> timedelta:
        """A row has no event of its own that could be later than ``t``."""
        return timedelta()

    def meaning(self, due: timedelta) -> str:
        """What decides ``t`` and which rows there are. ``due``: that of the dataset."""
        at = self.at if self.at is not None else due
        return f"{','.join(self.each)}|{self.every}|{self.active_within.total_seconds():g}|{at.total_seconds():g}"

    def moment_faults(self, due: timedelta) -> list[str]:
        """Why ``t`` would lie beyond its period. ``due``: that of the dataset."""
        at, least = self.at if self.at is not None else due, DAYS[self.every][0] * DAY - CLOCK_CHANGE
        if at < least:
            return []
        text = f"{written_duration(at)} is not within a {self.every}"
        return [f"at: {text}; write less" if self.at is not None else f"at: the files are due after {text}; write `at`"]


@dataclass(frozen=True)
class Panel:
    """The periods of a view, each named by its first date; ``days`` are partitions of the dataset."""

    calendar: PartitionCalendar
    at: timedelta
    active_within: timedelta
    due: timedelta
    """A day's files are due so long after its end, and unless declared otherwise its rows are known then."""
    reads_own_day: bool = False
    """Whether something is declared as known earlier, so that the day of ``t`` is read, too."""

    @property
    def days(self) -> int:
        """Days of the shortest period."""
        return DAYS[self._every][0]

    @property
    def longest(self) -> timedelta:
        """From the moment of a period until that of the next, at the most; with a day for the zone's clocks."""
        return DAYS[self._every][1] * DAY + DAY

    @property
    def _every(self) -> PanelEvery:
        return self.calendar.every  # type: ignore[return-value]

    def period(self, day: date) -> Partition | None:
        """The period that begins with this date; None if none does."""
        partition = self.calendar.partition_of(first_instant(day, self.calendar.zone))
        return partition if partition is not None and self._first_date(partition) == day else None

    def moment(self, period: date) -> datetime:
        """``t`` of the rows of a period (UTC)."""
        return first_instant(period, self.calendar.zone) + self.at

    def period_of(self, moment: datetime) -> date | None:
        """The period of which rows are asked about at a moment: the newest whose ``t`` has come; None outside."""
        partition = self.calendar.partition_of(moment - self.at)
        return None if partition is None else self._first_date(partition)

    def periods(self, first: date, last: date) -> list[date]:
        """Those that begin on these dates, both inclusive, ascending."""
        return [period for period in _first_dates(self.calendar, last) if first <= period <= last]

    def last_periods(self, last: date, count: int) -> list[date]:
        """So many up to ``last``, ascending; fewer at the begin of the calendar."""
        return [period for period in _first_dates(self.calendar, last) if period <= last][-count:]

    def last_day(self, period: date) -> date:
        """The last day of the dataset that can be known at ``t``."""
        moment, zone = self.moment(period), self.calendar.zone
        if self.reads_own_day:
            return moment.astimezone(zone).date()
        day = (moment - self.due).astimezone(zone).date()  # if this instant begins it, the day before has just ended
        return day - DAY

    def period_due(self, day: date) -> date | None:
        """The period whose rows can be built when this day is held; None if there is none."""
        near = self.calendar.partition_of(first_instant(day, self.calendar.zone))
        first = day if near is None else self._first_date(near)
        return next(
            (period for period in self.periods(first - DAY, first + 40 * DAY) if self.last_day(period) == day), None
        )

    def _first_date(self, partition: Partition) -> date:
        return partition.begin.astimezone(self.calendar.zone).date()


@lru_cache(maxsize=64)
def _first_dates(calendar: PartitionCalendar, until: date) -> tuple[date, ...]:
    return tuple(_iterate(calendar, until))


def _iterate(calendar: PartitionCalendar, until: date) -> Iterator[date]:
    for partition in calendar.partitions(until):
        yield partition.begin.astimezone(calendar.zone).date()
