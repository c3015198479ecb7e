"""Reads the day of a task, and gives that day's partition key to its verdict and to its asset events."""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import Asset, Context

from pipelines.verdict import Verdict
from practices._connections import installation
from practices._operators import run_context
from practices._operators.record_verdict import record_verdict
from practices._operators.step import StepPractice


class DatasetPractice(StepPractice):
    """The parent of the practices about one day of a dataset; ``day`` is given to mapped tasks alone."""

    template_fields = ("dataset", "day")

    def __init__(self, *, dataset: str, day: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dataset, self.day = dataset, day


def day_of(day: str | None, context: Context) -> date:
    """The day given to the operator (a mapped task), else the one in the run's form, else the run's partition."""
    return run_context.parse_day(day, "day") if day else run_context.day(context)


def record_day_verdict(
    verdict: Verdict, day: date, context: Context, *, subject: str, name: str, **details: Any
) -> None:
    """Record the verdict about a day of a dataset or a view (``name``); ``Refused`` unless it is PASS."""
    record_verdict(
        verdict,
        subject=subject,
        ledger_kind="data_verdict",
        model=name,
        version=None,
        ports=installation.open_ports(),
        context=context,
        details={"check": verdict.rule, "day": day.isoformat(), **details},
    )


def add_partition_key(context: Context, outlet: Asset, day: date) -> None:
    """Give the event of ``outlet`` the key of ``day``; a run by hand or for late days has none of its own."""
    context["outlet_events"][outlet].add_partitions(f"{day:%Y-%m-%d}")
