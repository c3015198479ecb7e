"""Reads the day of a task, and gives that day's partition key to the asset events of the task."""

from __future__ import annotations

from datetime import date

from airflow.sdk import Asset, Context

from practices._operators import run_context


def day_of(named: str | None, context: Context) -> date:
    """The day given to the operator (a mapped task), else the one in the run's form, else the run's partition."""
    return run_context.read_day(named, "day") if named else run_context.day(context)


def hand_on(context: Context, outlet: Asset, day: date) -> None:
    """Give the event of ``outlet`` the key of ``day``; a run by hand or for late days has none of its own."""
    context["outlet_events"][outlet].add_partitions(f"{day:%Y-%m-%d}")
