"""Reads the day of a task, records its verdict under that day, and adds the day as partition key to asset events."""

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
    """Base class of operators on one day of a dataset; only mapped tasks set ``day``."""

    template_fields = ("dataset", "day")

    def __init__(self, *, dataset: str, day: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dataset, self.day = dataset, day


def day_of(day: str | None, context: Context) -> date:
    """The operator's ``day`` (in a mapped task), else the day in the run's form, else the run's partition key."""
    return run_context.parse_day(day, "day") if day else run_context.day(context)


def record_day(verdict: Verdict, day: date, context: Context, *, subject: str, name: str, **details: Any) -> None:
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
    """Add ``day`` as partition key to the event of ``outlet``; a manual run or one for late days has no key itself."""
    context["outlet_events"][outlet].add_partitions(f"{day:%Y-%m-%d}")
