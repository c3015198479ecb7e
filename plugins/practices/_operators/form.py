"""Form fields that several DAGs share, with the same check and title in each."""

from __future__ import annotations

from airflow.sdk import Param


def day_field(description: str, *, title: str = "Day", example: str = "2013-01-31") -> Param:
    """An optional day, picked from a calendar."""
    types = ["null", "string"]
    return Param(None, type=types, format="date", title=title, description=description, examples=[example])


def version_field(description: str, *, example: str = "3") -> Param:
    """An optional version number of the registry."""
    types, digits = ["null", "string"], "^[0-9]{1,9}$"
    return Param(None, type=types, pattern=digits, title="Version", description=description, examples=[example])


def dry_run_field(description: str) -> Param:
    """A check box for a run that changes nothing."""
    return Param(False, type="boolean", title="Dry run", description=description)
