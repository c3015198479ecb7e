"""A schedule in cron's form is refused when it is read if Airflow could not run by it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
NAMES = {
    "month": {name: number for number, name in enumerate(MONTHS, start=1)},
    "weekday": {name: number for number, name in enumerate(WEEKDAYS)},
}
PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[1-9][0-9]?))?")
LAST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
EXAMPLE = "write minute, hour, day, month and weekday, as in `0 7 * * 1` (Mondays at 07:00 UTC), or a word as `@hourly`"


def check_cron(schedule: str) -> str:
    """The schedule as it is. Raises ``ValueError`` with every fault and what to write."""
    if schedule in PRESETS:
        return schedule
    fields = schedule.split()
    if len(fields) != len(FIELDS):
        raise ValueError(f"is no schedule; {EXAMPLE}")
    numbers = {name: _numbers(text, name, *limits) for text, (name, *limits) in zip(fields, FIELDS, strict=True)}
    wrong = [f"{name} {text!r}" for text, (name, *_) in zip(fields, FIELDS, strict=True) if not numbers[name]]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} cannot be read; {EXAMPLE}")
    never = all(LAST_DAYS[month - 1] < min(numbers["day"]) for month in numbers["month"])
    if never and fields[4] == "*":
        raise ValueError(f"no month of it has day {min(numbers['day'])}; {EXAMPLE}")
    return schedule


def _numbers(text: str, name: str, lowest: int, highest: int) -> set[int]:
    """The numbers of a field; empty: it cannot be read."""
    numbers: set[int] = set()
    for part in text.split(","):
        match = PART.fullmatch(part)
        first, last = (_number(match[end], name) if match else None for end in ("first", "last"))
        if match is None or (match["first"] and first is None) or (match["last"] and last is None):
            return set()
        begin = lowest if first is None else first
        end = last if last is not None else highest if first is None or match["step"] else begin
        if not lowest <= begin <= end <= highest:
            return set()
        numbers |= set(range(begin, end + 1, int(match["step"] or 1)))
    return numbers


def _number(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    named = NAMES.get(name, {}).get(text.lower())
    return named if named is not None else int(text) if re.fullmatch("[0-9]{1,2}", text) else None


Cron = Annotated[str, AfterValidator(check_cron)]
