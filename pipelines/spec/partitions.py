"""Cuts time into the partitions of a calendar: hours, days, weeks, months or one; each instant is in exactly one.

Days, weeks and months begin where the local date begins, also in zones whose clocks skip midnight: the first instant of
a date is then 01:00, and a date that the clocks skip as a whole (``Pacific/Apia`` on 2011-12-30) is no partition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

Every = Literal["hour", "day", "week", "month", "once"]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ONCE = "all"
"""Key of the partition of a table without dates."""


@dataclass(frozen=True)
class Partition:
    """``[begin, end)``, both in UTC. ``key`` names it among the partitions of its kind and sorts like time."""

    key: str
    begin: datetime
    end: datetime


@dataclass(frozen=True)
class PartitionCalendar:
    """Partitions of one kind in a time zone, from the one that holds the date ``start`` to the one that holds ``end``.

    ``end`` None: without end. Weeks begin on Monday. Hours are sixty minutes each, counted from the first instant of
    ``start``, so an hour that the clocks repeat is two partitions and one that they skip is none.
    """

    every: Every
    start: date
    end: date | None = None
    timezone: str = "UTC"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def partitions(self, until: date) -> Iterator[Partition]:
        """Those that begin before the end of the date ``until`` and do not lie beyond ``end``, ascending."""
        last = until if self.end is None else min(self.end, until)
        if self.every == "once":
            if self.start <= last:
                yield self._whole()
            return
        if self.every == "hour":
            yield from self._hours(first_instant(last + DAY, self.zone))
            return
        first = self._first_date(self.start)
        while first <= last:
            following = self._following(first)
            begin, end = first_instant(first, self.zone), first_instant(following, self.zone)
            if begin < end:
                yield Partition(self._key(first), begin, end)
            first = following

    def partition_of(self, instant: datetime) -> Partition | None:
        """The partition that holds an instant; None outside of the calendar."""
        if self.every == "once":
            return self._whole()
        if self.every == "hour":
            start = first_instant(self.start, self.zone)
            begin = start + (instant - start) // HOUR * HOUR
            partition = Partition(_hour_key(begin), begin, begin + HOUR)
            after = self.end is not None and begin >= first_instant(self.end + DAY, self.zone)
            return None if begin < start or after else partition
        near = self._first_date(instant.astimezone(self.zone).date())
        for first in (self._first_date(near - DAY), near, self._following(near)):
            begin, end = first_instant(first, self.zone), first_instant(self._following(first), self.zone)
            if begin <= instant < end:
                beyond = self.end is not None and first > self.end
                inside = first >= self._first_date(self.start) and not beyond
                return Partition(self._key(first), begin, end) if inside else None
        return None

    def _whole(self) -> Partition:
        begin = first_instant(self.start, self.zone)
        end = datetime.max.replace(tzinfo=UTC) if self.end is None else first_instant(self.end + DAY, self.zone)
        return Partition(ONCE, begin, end)

    def _hours(self, until: datetime) -> Iterator[Partition]:
        begin = first_instant(self.start, self.zone)
        while begin < until:
            yield Partition(_hour_key(begin), begin, begin + HOUR)
            begin += HOUR

    def _first_date(self, day: date) -> date:
        """The date with which the partition that holds ``day`` begins."""
        if self.every == "week":
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.every == "month" else day

    def _following(self, first: date) -> date:
        if self.every == "month":
            return (first + timedelta(days=31)).replace(day=1)
        return first + (timedelta(days=7) if self.every == "week" else DAY)

    def _key(self, first: date) -> str:
        if self.every == "week":
            year, week, _ = first.isocalendar()
            return f"{year:04d}-W{week:02d}"
        return f"{first:%Y-%m}" if self.every == "month" else first.isoformat()


def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """When a local date begins (UTC): at its midnight, the first of two, or where the clocks jump over it."""
    midnight = datetime.combine(day, time(), zone)
    begin = midnight.astimezone(UTC)
    if begin.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return begin
    before, after = midnight.replace(fold=1).astimezone(UTC), begin  # the jump lies between
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).replace(tzinfo=None) < midnight.replace(tzinfo=None):
            before = middle
        else:
            after = middle
    return after


@lru_cache(maxsize=64)
def hour_of_every_day(timezone: str, first: date, last: date) -> int:
    """The first hour that every local day from ``first`` to the day after ``last`` has, so that no day is missed by it.

    It is 0 unless the clocks of the zone jump over a midnight.
    """
    zone = ZoneInfo(timezone)
    days = [first + number * DAY for number in range((last - first).days + 2)]
    for hour in range(24):
        moments = (datetime.combine(day, time(hour), zone) for day in days)
        if all(moment.astimezone(UTC).astimezone(zone).hour == hour for moment in moments):
            return hour
    return 0


def _hour_key(begin: datetime) -> str:
    return f"{begin:%Y-%m-%dT%H:%MZ}"
