"""Form fields that several DAGs share, with the same check and title in each."""

from __future__ import annotations

import re

from airflow.sdk import Param

from pipelines.spec.partitions import ONCE, PartitionCalendar


def day_field(description: str, *, title: str = "Day", example: str = "2013-01-31") -> Param:
    """An optional day, picked from a calendar."""
    types = ["null", "string"]
    return Param(None, type=types, format="date", title=title, description=description, examples=[example])


def partition_fields(calendar: PartitionCalendar, description: str) -> dict[str, Param]:
    """The field by which a manual run names its partition: ``day`` with a calendar, else ``week``, ``month``, …

    A table without dates has one partition, which the form fills in.
    """
    noun = calendar.noun
    if calendar.every == "day":
        return {noun: day_field(description, example=calendar.example)}
    only = ONCE if calendar.every == "once" else None
    types, example = ["null", "string"], calendar.example
    field = Param(
        only,
        type=types,
        pattern=f"^{re.sub('[0-9]', '[0-9]', example)}$",
        maxLength=len(example),
        title=noun.capitalize(),
        description=description,
        examples=[example],
    )
    return {noun: field}


def version_field(description: str, *, example: str = "3") -> Param:
    """An optional version number of the registry."""
    types, digits = ["null", "string"], "^[0-9]{1,9}$"
    return Param(None, type=types, pattern=digits, title="Version", description=description, examples=[example])


def count_field(description: str, *, title: str, maximum: int, minimum: int = 0) -> Param:
    """An optional whole number."""
    types = ["null", "integer"]
    return Param(None, type=types, title=title, description=description, minimum=minimum, maximum=maximum)


def text_field(description: str, *, title: str, example: str) -> Param:
    """An optional text. A type without ``null`` would make it obligatory: Airflow sends an empty field as null.

    The example is part of the description: with ``examples`` the form would offer them as options to choose from.
    """
    types, text = ["null", "string"], f"{description} For example: {example}."
    return Param("", type=types, maxLength=2000, title=title, description=text)


def switch_field(description: str, *, title: str) -> Param:
    """A check box, not checked."""
    return Param(False, type="boolean", title=title, description=description)


def dry_run_field(description: str) -> Param:
    """A check box for a run that changes nothing."""
    return switch_field(description, title="Dry run")
