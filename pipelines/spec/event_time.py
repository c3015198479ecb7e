"""When the event of a row happened: a column, with columns of minutes added, as in ``hour + minute``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIME_TYPES = ("timestamp", "date")
MINUTE_TYPES = ("integer", "number", "decimal")


@dataclass(frozen=True)
class EventTime:
    """``column`` plus the minutes of each of ``minutes``, per row, in UTC.

    ``column`` is a timestamp, or a date: the event is then the last microsecond of that day in the zone of the
    dataset, so that nothing seems known before the day is over, and no minutes are added. A row in which one of the
    columns is null has no event time.
    """

    column: str
    minutes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: Any) -> EventTime:
        """``<column>`` or ``<column> + <column> …``. Raises ``ValueError`` with what to write."""
        if isinstance(value, cls):
            return value
        names = [name.strip() for name in value.split("+")] if isinstance(value, str) else [""]
        if not all(names):
            raise ValueError("is no event time; write a column, or one and columns of minutes, as in `hour + minute`")
        return cls(names[0], tuple(names[1:]))

    @property
    def columns(self) -> tuple[str, ...]:
        """All that it reads."""
        return (self.column, *self.minutes)

    @property
    def digest(self) -> str:
        """sha256 of its meaning, 64 hex digits."""
        return hashlib.sha256(str(self).encode()).hexdigest()

    def faults(self, types: Mapping[str, str], nullable: Mapping[str, bool]) -> list[str]:
        """What keeps it from being computed from columns of these types; a row always needs its event time."""
        faults = [f"{name!r} is no column of the source" for name in self.columns if name not in types]
        if types.get(self.column, "timestamp") not in TIME_TYPES:
            faults.append(f"{self.column!r} is {types[self.column]}; the first column must be a timestamp or a date")
        faults += [
            f"{name!r} is {types[name]}; what is added to a time must be a number of minutes"
            for name in self.minutes
            if types.get(name, "integer") not in MINUTE_TYPES
        ]
        if self.minutes and types.get(self.column) == "date":
            faults.append(f"{self.column!r} is a date, to which no minutes are added; name the date alone")
        faults += [
            f"{name!r} may be null, and a row without a time is of no partition; remove `or null`"
            for name in self.columns
            if nullable.get(name)
        ]
        return faults

    def __str__(self) -> str:
        return " + ".join(self.columns)
