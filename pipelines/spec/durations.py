"""Durations as people write them, ``6h``, ``30m`` or ``1d12h``; a number alone and a time of day are refused."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
"""Of each unit. A day of a duration is 24 hours, whatever the clocks of a zone do."""
DURATION = "(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?"
TIME_OF_DAY = re.compile("([0-9]+):([0-9]{2})(?::([0-9]{2}))?")
MAX_DAYS = 36_500
LONGEST_TEXT = 40
EXAMPLES = "write a whole number with d, h, m or s, as in 6h, 30m, 1d or 1d12h"


def parse_duration(value: Any) -> timedelta:
    """The duration that is written. Raises ``ValueError`` with what to write."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"is no duration; {EXAMPLES}")
    if isinstance(value, int | float):
        raise ValueError(f"a duration needs its unit; write {value}m, {value}h or {value}d")
    if clock := TIME_OF_DAY.fullmatch(value):
        parts = [f"{int(part)}{unit}" for part, unit in zip(clock.groups(), "hms", strict=True) if part and int(part)]
        raise ValueError(f"a duration is not written as a time of day; write {''.join(parts) or '0m'}")
    match = re.fullmatch(DURATION, value) if len(value) <= LONGEST_TEXT else None
    if not value or match is None:
        raise ValueError(f"is no duration; {EXAMPLES}")
    seconds = sum(int(part or 0) * SECONDS[unit] for part, unit in zip(match.groups(), "dhms", strict=True))
    if seconds > MAX_DAYS * SECONDS["d"]:
        raise ValueError(f"is longer than {MAX_DAYS}d, a century; write a shorter one")
    return timedelta(seconds=seconds)


def written_duration(duration: timedelta) -> str:
    """The shortest text that ``parse_duration`` reads as this duration of whole seconds."""
    rest, parts = int(duration.total_seconds()), []
    for unit, seconds in SECONDS.items():
        count, rest = divmod(rest, seconds)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0m"


Duration = Annotated[
    timedelta,
    BeforeValidator(
        parse_duration, json_schema_input_type=Annotated[str, Field(pattern=f"^{DURATION}$", min_length=2)]
    ),
    PlainSerializer(written_duration, return_type=str, when_used="json"),
]
"""A field of a declaration that holds a duration."""
