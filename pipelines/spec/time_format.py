"""The forms in which a source writes dates and times: a format by directives, and the texts that match it."""

from __future__ import annotations

import re
from collections.abc import Mapping

DATE_FORMAT = "%Y-%m-%d"
OFFSET = "%z"
FRACTION = "%.f"
DIRECTIVES: Mapping[str, str] = {
    "%Y": "[0-9]{4}",
    "%y": "[0-9]{2}",
    "%m": "(?:0?[1-9]|1[0-2])",
    "%b": "[A-Za-z]{3}",
    "%B": "[A-Za-z]{3,9}",
    "%d": "(?:0?[1-9]|[12][0-9]|3[01])",
    "%j": "[0-9]{3}",
    "%H": "(?:[01]?[0-9]|2[0-3])",
    "%I": "(?:0?[1-9]|1[0-2])",
    "%p": "[AaPp][Mm]",
    "%M": "[0-5][0-9]",
    "%S": "[0-5][0-9]",
    FRACTION: r"(?:\.[0-9]{1,6}0*)?",
    OFFSET: "(?:Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])",
    "%%": "%",
}
"""Directive to the texts that it stands for. ``%.f``: up to six decimals of a second, with their point, or nothing.

More are not read: microseconds are what a table holds, and a time with finer digits would not stay the same.
"""
PART = re.compile(r"%\.f|%.|[^%]+|%")


def format_faults(form: str, kind: str) -> list[str]:
    """Why dates (or timestamps, by ``kind``) cannot be read by a format; empty: they can."""
    used = _directives(form)
    unknown = sorted({part for part in used if part not in DIRECTIVES})
    faults = [f"format has {', '.join(unknown)}; the directives are {', '.join(DIRECTIVES)}"] if unknown else []
    twice = sorted({part for part in used if used.count(part) > 1 and part != "%%"})
    if twice:
        faults.append(f"format has {', '.join(twice)} more than once; name each part once")
    years, months = {"%Y", "%y"} & {*used}, {"%m", "%b", "%B"} & {*used}
    if len(years) != 1 or ("%j" in used) == (len(months) == 1 and "%d" in used):
        faults.append("format must say the year (%Y), the month (%m) and the day (%d) of each value, each once")
    hours = {"%H", "%I"} & {*used}
    clock = [part for part in (*hours, "%p", "%M", "%S", FRACTION, OFFSET) if part in used]
    if kind == "date" and clock:
        faults.append(f"format has {', '.join(clock)}, and a date has no time of day; declare the type timestamp")
    elif kind == "timestamp" and not clock:
        faults.append("format has no time of day; declare the type date")
    elif clock and (len(hours) != 1 or "%M" not in used or ("%I" in used) != ("%p" in used)):
        faults.append("format must say the hour (%H, or %I with %p) and the minute (%M) together")
    elif FRACTION in used and "%S" not in used:
        faults.append("format has decimals of a second (%.f) without the second (%S)")
    if OFFSET in used and not form.endswith(OFFSET):
        faults.append("format has the offset (%z) before its end; only at the end it is read")
    return faults


def says_offset(form: str) -> bool:
    """Whether each value has its own offset from UTC."""
    return OFFSET in _directives(form)


def text_pattern(form: str) -> str:
    """Regular expression of the texts that a format takes, as a whole."""
    parts = (DIRECTIVES[part] if part.startswith("%") else re.escape(part) for part in PART.findall(form))
    return f"^{''.join(parts)}$"


def _directives(form: str) -> list[str]:
    return [part for part in PART.findall(form) if part.startswith("%")]
