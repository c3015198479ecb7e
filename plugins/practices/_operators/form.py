"""A field that several stages have in their forms looks alike and is checked alike in all of them."""

from __future__ import annotations

from airflow.sdk import Param


def day_field(description: str, *, title: str = "Day", example: str = "2013-01-31") -> Param:
    """A day, picked from a calendar, or nothing."""
    kind = ["null", "string"]
    return Param(None, type=kind, format="date", title=title, description=description, examples=[example])


def version_field(description: str, *, example: str = "3") -> Param:
    """The registry's number of a version, or nothing."""
    kind, digits = ["null", "string"], "^[0-9]+$"
    return Param(None, type=kind, pattern=digits, title="Version", description=description, examples=[example])


def dry_run_field(description: str) -> Param:
    """A box to tick for a run that changes nothing."""
    return Param(False, type="boolean", title="Only tell", description=description)
