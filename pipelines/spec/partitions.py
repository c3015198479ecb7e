"""Cuts time into the partitions of a calendar: hours, days, weeks, months or one; each instant is in exactly one.

Days, weeks and months begin where the local date begins, also in zones whose clocks skip midnight: the first instant of
a date is then 01:00, and a date that the clocks skip as a whole (``Pacific/Apia`` on 2011-12-30) is no partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from pipelines.errors import Refused

Every = Literal["hour", "day", "week", "month", "once"]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ONCE = "all"
"""Key of the partition of a table without dates."""
FIRST_DATE = date(1970, 1, 1)
"""With which that partition begins; every row is in it, whatever its time. Its features are of this one day."""
KEY_FORMATS: dict[Every, str] = {"hour": "%Y-%m-%dT%H:%MZ", "day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
"""The key of a partition, as ``strftime`` of its first date; of an hour, of its begin in UTC."""
LAST_DAY = date(2040, 12, 31)
"""Until then the midnights of a calendar without end are looked through."""


@dataclass(frozen=True)
class Partition:
    """``[begin, end)``, both in UTC. ``key`` names it among the partitions of its kind and sorts like time."""

    key: str
    begin: datetime
    end: datetime

    def __str__(self) -> str:
        return partition_name(self.key)

    @property
    def noun(self) -> str:
        return noun_of(kind_of_key(self.key) or "once")


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

    @property
    def noun(self) -> str:
        """What a partition is called: hour, day, week, month, or partition."""
        return noun_of(self.every)

    @property
    def example(self) -> str:
        """A key of the calendar's kind."""
        return next(self.partitions(self.start)).key if self.every == "hour" else self._key(self.start)

    def is_key(self, text: str) -> bool:
        """Whether a text is the key of such a partition, inside of the calendar or not."""
        return kind_of_key(text) == self.every

    def partition(self, key: str) -> Partition | None:
        """The partition of a key; None for a text that is no key of the calendar."""
        if not self.is_key(key):
            return None
        if self.every == "once":
            return self._whole()
        begin = _begin_of_key(key, self.every)
        instant = begin if self.every == "hour" else first_instant(begin.date(), self.zone)
        partition = self.partition_of(instant)
        return partition if partition is not None and partition.key == key else None

    def require(self, key: str, dataset: str) -> Partition:
        """The partition of a key. ``Refused``, naming the ``dataset``, for a key that is none of the calendar's."""
        partition = self.partition(key)
        if partition is None:
            until = "begins" if self.end is None else f"ends with {self.end} and begins"
            hint = f"its calendar {until} with {self.start}, and a key is written as {self.example}"
            raise Refused(f"{dataset} has no {self.noun} {key!r}", [hint])
        return partition

    def touches(self, key: str, first: date | None, last: date | None) -> bool:
        """Whether a partition has an instant of the days from ``first`` to ``last`` (None: no limit); a table once."""
        partition = self.partition(key)
        if partition is None or self.every == "once":
            return True
        begins_late = last is not None and partition.begin >= first_instant(last + DAY, self.zone)
        ends_early = first is not None and partition.end <= first_instant(first, self.zone)
        return not begins_late and not ends_early

    def run_time(self, partition: Partition) -> datetime | None:
        """When the scheduled run of a partition begins; None for a table without dates, which has no schedule.

        It is the partition's end; in a zone whose clocks skip a midnight of the calendar, the first hour after it that
        every day has.
        """
        if self.every == "once":
            return None
        hour = hour_of_every_day(self.timezone, self.start, self.end or LAST_DAY) if self.every != "hour" else 0
        if hour == 0:
            return partition.end
        return datetime.combine(partition.end.astimezone(self.zone).date(), time(hour), self.zone).astimezone(UTC)

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
            partition = Partition(_key_of(begin, "hour"), begin, begin + HOUR)
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
            yield Partition(_key_of(begin, "hour"), begin, begin + HOUR)
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
        return ONCE if self.every == "once" else _key_of(first, self.every)


def kind_of_key(text: str) -> Every | None:
    """Of what kind the partition is that a key names; None for a text that is no key, such as ``20130105``."""
    if text == ONCE:
        return "once"
    for kind in KEY_FORMATS:
        with suppress(ValueError):
            if _key_of(_begin_of_key(text, kind), kind) == text:
                return kind
    return None


def noun_of(kind: Every) -> str:
    """What a partition of a kind is called: hour, day, week, month, or partition for a table without dates."""
    return "partition" if kind == "once" else kind


NOUNS = tuple(noun_of(kind) for kind in get_args(Every))
"""By these names a key stands in the ledger, in forms and in messages: ``week 2024-W07``."""


def partition_name(key: str) -> str:
    """``day 2013-01-05``, ``week 2024-W07``, ``partition all``."""
    return f"{noun_of(kind_of_key(key) or 'once')} {key}"


def named_partition(key: str) -> dict[str, str]:
    """``{"week": "2024-W07"}``: how a record names a partition."""
    return {noun_of(kind_of_key(key) or "once"): key}


def recorded_partition(record: Mapping[str, Any]) -> str | None:
    """The key of the partition that a record names; None if it names none."""
    return next((str(record[noun]) for noun in NOUNS if record.get(noun) is not None), None)


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
    zone, last = ZoneInfo(timezone), min(last, max(first, LAST_DAY))
    days = [first + number * DAY for number in range((last - first).days + 2)]
    for hour in range(24):
        moments = (datetime.combine(day, time(hour), zone) for day in days)
        if all(moment.astimezone(UTC).astimezone(zone).hour == hour for moment in moments):
            return hour
    return 0


def _begin_of_key(text: str, kind: Every) -> datetime:
    """The first date of the partition, of an hour its begin in UTC. Raises ``ValueError`` for another text."""
    text, form = (f"{text}-1", f"{KEY_FORMATS[kind]}-%u") if kind == "week" else (text, KEY_FORMATS[kind])
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def _key_of(begin: date, kind: Every) -> str:
    """``%G`` and ``%Y`` do not fill a year before 1000 with zeros, so both are written as four digits here."""
    year = begin.isocalendar().year if kind == "week" else begin.year
    return begin.strftime(KEY_FORMATS[kind].replace("%G", f"{year:04d}").replace("%Y", f"{year:04d}"))
