"""Says whether a text names a time zone that every machine knows by the same rules."""

from __future__ import annotations

from zoneinfo import ZoneInfo

OF_THE_MACHINE = {"localtime", "posixrules", "Factory"}
"""Files beside those of zones, which differ between machines."""
OTHER_CLOCKS = ("posix/", "right/")
"""Folders with the zones once more; those of ``right`` count leap seconds."""


def timezone_fault(name: str) -> str | None:
    """What to write in place of a name that is none; None: it is one."""
    try:
        known = name not in OF_THE_MACHINE and not name.startswith(OTHER_CLOCKS) and bool(ZoneInfo(name))
    except (KeyError, ValueError, OSError):  # no such file; a path that leaves the folder; a folder
        known = False
    return None if known else "unknown timezone; use a name such as America/New_York"
