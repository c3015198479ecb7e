"""When a value of a row is known: before or after its event, or with its partition; never by the wall clock.

A delivery tells nothing about when its values were known, and the moment at which it was read would differ between a
backfill and the day itself. So it is declared, or follows from the calendar.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator

from pipelines.spec.durations import DURATION, parse_duration, written_duration
from pipelines.spec.event_time import MINUTE_TYPES

Anchor = Literal["event", "partition_start", "partition_end"]
FORMS = "write {before: 1d}, {after: 2h}, {after: delay + 60} with columns of minutes, or partition_start"


@dataclass(frozen=True)
class KnownTime:
    """``anchor`` of the row, plus ``offset``, plus the minutes of each of ``minutes``, in UTC.

    ``event`` is the row's event time, ``partition_start`` and ``partition_end`` are the first instants of its partition
    and of the next one. Where one of ``minutes`` is null the value is not known yet.
    """

    anchor: Anchor
    offset: timedelta = timedelta()
    minutes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: Any) -> KnownTime:
        """Raises ``ValueError`` with what to write."""
        if isinstance(value, cls):
            return value
        if value == "partition_start":
            return cls("partition_start")
        if not isinstance(value, dict) or list(value) not in (["before"], ["after"]):
            raise ValueError(f"is no known time; {FORMS}")
        if "before" in value:
            return cls("event", -parse_duration(value["before"]))
        return _after(value["after"])

    @property
    def columns(self) -> tuple[str, ...]:
        """All that it reads beside the event time."""
        return self.minutes

    @property
    def digest(self) -> str:
        """sha256 of its meaning, 64 hex digits."""
        meaning = "|".join([self.anchor, f"{self.offset.total_seconds():g}", *sorted(self.minutes)])
        return hashlib.sha256(meaning.encode()).hexdigest()

    def faults(self, types: Mapping[str, str], *, has_event_time: bool) -> list[str]:
        """What keeps it from being computed from columns of these types."""
        faults = (
            [] if has_event_time or self.anchor != "event" else ["before and after are of an event: declare event_time"]
        )
        faults += [f"{name!r} is no column of the source" for name in self.minutes if name not in types]
        return faults + [
            f"{name!r} is {types[name]}; what is added to a time must be a number of minutes"
            for name in self.minutes
            if types.get(name, "integer") not in MINUTE_TYPES
        ]

    def __str__(self) -> str:
        """``1d before the event``, ``delay + 1h after the event``, ``at partition_start``."""
        written = self.written()
        if isinstance(written, str):
            return f"at {written}"
        [(where, text)] = written.items()
        return f"{text} {where} the event"

    def written(self) -> str | dict[str, str]:
        """As ``parse`` reads it."""
        if self.anchor != "event":
            return self.anchor
        if self.offset < timedelta():
            return {"before": written_duration(-self.offset)}
        constant = [written_duration(self.offset)] if self.offset or not self.minutes else []
        return {"after": " + ".join([*self.minutes, *constant])}


def is_known_by(known: KnownTime, lead: timedelta) -> bool:
    """Whether what is known then is known at ``t``, ``lead`` before the event, for every row."""
    if known.anchor == "event":
        return not known.minutes and known.offset <= -lead
    return known.anchor == "partition_start" and not lead and known.offset <= timedelta()


def written_moment(lead: timedelta) -> str:
    return f"t is {written_duration(lead)} before the event" if lead else "t is the time of the event"


def _after(value: Any) -> KnownTime:
    """A sum of columns of minutes, durations and, beside a column, numbers of minutes."""
    if not isinstance(value, str):
        return KnownTime("event", parse_duration(value))
    offset, columns, bare = timedelta(), [], []
    for term in (part.strip() for part in value.split("+")):
        if not term:
            raise ValueError(f"is no known time; {FORMS}")
        if re.fullmatch("[0-9]{1,9}", term):
            bare.append(term)
            offset += timedelta(minutes=int(term))
        elif re.fullmatch(DURATION, term) or ":" in term:
            offset += parse_duration(term)
        else:
            columns.append(term)
    if bare and not columns:
        raise ValueError(f"a duration needs its unit; write {bare[0]}m, {bare[0]}h or {bare[0]}d")
    return KnownTime("event", offset, tuple(columns))


DeclaredKnownTime = Annotated[
    KnownTime,
    PlainValidator(
        KnownTime.parse,
        json_schema_input_type=Literal["partition_start"]
        | dict[Literal["before", "after"], Annotated[str, Field(min_length=1)]],
    ),
    PlainSerializer(KnownTime.written),
]
"""A field of a declaration that holds a known time."""
