"""Says line by line what takes the place of each field of a dataset that was written for ``schema: 1``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipelines.spec.durations import parse_duration, written_duration
from pipelines.spec.source_files import FOLDER

SCHEMA_1 = 1
DAILY = re.compile(r"(\d{1,2}) (\d{1,2}) (\S+ \S+ \S+)")
"""Minute, hour and days of a schedule in cron's form."""


def schema_1_faults(fields: Mapping[str, Any]) -> list[str]:
    """``<place>: <what to write>`` for each field that is written otherwise now, whatever else may be wrong."""
    faults = ["schema: 1 is no longer read; write `schema: 2`, and what is said of the other lines"]
    if "calendar" in fields:
        faults.append(f"calendar: write `{_partition(_fields(fields['calendar']))}`")
        faults += _schedule_faults(_fields(fields["calendar"]).get("schedule"))
    for name, source in _fields(fields.get("sources")).items():
        faults += [f"sources.{name}.{fault}" for fault in _source_faults(_fields(source))]
    return faults


def _partition(calendar: Mapping[str, Any]) -> str:
    due = DAILY.fullmatch(str(calendar.get("schedule", "0 6 * * *")))
    wait = calendar.get("wait_minutes", 360)
    parts = {
        "every": "day",
        **{name: calendar[name] for name in ("start", "end", "timezone") if calendar.get(name) is not None},
        "due": written_duration(parse_duration(f"{due[2]}h{due[1]}m")) if due else "6h",
        "wait": written_duration(parse_duration(f"{wait:.0f}m")) if isinstance(wait, int | float) else "6h",
    }
    return f"partition: {{{', '.join(f'{name}: {value}' for name, value in parts.items())}}}"


def _schedule_faults(schedule: Any) -> list[str]:
    match = DAILY.fullmatch(str(schedule))
    if schedule is None or (match and match[3] == "* * *"):
        return []
    way_on = "where days are without files, let the source deliver an empty one and declare `empty: allowed`"
    return [f"calendar.schedule: {schedule!r} has no like: every partition is due `due` after its end; {way_on}"]


def _source_faults(source: Mapping[str, Any]) -> list[str]:
    faults = []
    if "file" in source:
        faults.append(f"file: write `{_files(source)}`")
    if source.get("cadence") == "daily":
        faults.append("cadence: remove it; a source delivers for each partition unless it is a reference")
    faults += [
        f"{name}: it stands in `files` now; remove it here" for name in ("format", "null_values") if name in source
    ]
    if "day_columns" in source:
        faults.append(f"day_columns: write `{_event_time(source)}` in its place")
    if source.get("minimum_rows") == 0:
        faults.append("minimum_rows: write `empty: allowed`")
    for column, declared in _fields(source.get("columns")).items():
        faults += [f"columns.{column}.{fault}" for fault in _column_faults(_fields(declared))]
    return faults


def _files(source: Mapping[str, Any]) -> str:
    path = f'"{FOLDER}{source["file"]}"'
    block = {name: source[name] for name in ("format", "null_values") if name in source}
    if not block:
        return f"files: {path}"
    return f"files: {{path: {path}, {', '.join(f'{name}: {_inline(value)}' for name, value in block.items())}}}"


def _inline(value: Any) -> str:
    return f"[{', '.join(map(_quoted, value))}]" if isinstance(value, list) else str(value)


def _quoted(word: Any) -> str:
    return f'"{word}"'


def _event_time(source: Mapping[str, Any]) -> str:
    if not source.get("day_columns"):
        return "event_time: none"
    columns = _fields(source.get("columns"))
    times = [name for name, column in columns.items() if _fields(column).get("type") == "timestamp"]
    return f"event_time: {times[0] if len(times) == 1 else '<the timestamp of the event>'}"


def _column_faults(column: Mapping[str, Any]) -> list[str]:
    faults = []
    if "nullable" in column:
        kind = column.get("type")
        faults.append(f"nullable: write `type: {kind} or null`" if column["nullable"] else "nullable: remove it")
    faults += [
        f"{long}: write `{short}: {column[long]}`"
        for long, short in (("minimum", "min"), ("maximum", "max"))
        if long in column
    ]
    return faults


def _fields(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
