"""Reads the partition of a task, records its verdict under it, and adds its key to asset events."""

from __future__ import annotations

from datetime import date
from typing import Any

from airflow.sdk import Asset, Context

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.spec.partitions import FIRST_DATE, Partition, named_partition
from pipelines.verdict import Verdict
from practices._connections import installation
from practices._operators import run_context
from practices._operators.record_verdict import record_verdict
from practices._operators.step import StepPractice


class DatasetPractice(StepPractice):
    """Base class of operators on one partition of a dataset; only mapped tasks set ``partition``."""

    template_fields = ("dataset", "partition")

    def __init__(self, *, dataset: str, partition: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dataset, self.partition = dataset, partition


def partition_of(key: str | None, spec: DatasetSpec, context: Context) -> Partition:
    """That of the operator's ``partition`` (in a mapped task), else in the run's form, else of its partition key.

    ``Refused`` if the run names none or two, or one that the dataset does not have.
    """
    calendar = spec.partition_calendar
    return calendar.require(key or run_context.partition_key(context, calendar), spec.dataset)


def day_of_rows(view: FeatureView, spec: DatasetSpec, day: str | None, context: Context) -> date:
    """The day of rows that a mapped task, the run's form or its partition names; of a table there is one."""
    if view.is_table:
        partition_of(None, spec, context)
        return FIRST_DATE
    return run_context.parse_day(day, "day") if day else run_context.day(context)


def record_partition(verdict: Verdict, key: str, context: Context, *, subject: str, name: str, **details: Any) -> None:
    """Record the verdict about a partition of a dataset or a view (``name``); ``Refused`` unless it is PASS."""
    record_verdict(
        verdict,
        subject=subject,
        ledger_kind="data_verdict",
        model=name,
        version=None,
        ports=installation.open_ports(),
        context=context,
        details={"check": verdict.rule, **named_partition(key), **details},
    )


def add_partition_key(context: Context, outlet: Asset, key: str) -> None:
    """Add the key to the event of ``outlet``; a manual run or one for late partitions has no key itself."""
    context["outlet_events"][outlet].add_partitions(key)
