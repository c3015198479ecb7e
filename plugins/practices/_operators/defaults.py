"""Defaults of tasks and DAGs: retries, asset names, the pool for GPUs, and daily schedules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import Asset, AssetWatcher, CronPartitionTimetable, ExceptionRetryPolicy, RetryAction, RetryRule

from pipelines.errors import Refused, Unavailable
from pipelines.settings import Settings
from pipelines.spec.model import ModelSpec
from pipelines.spec.partitioning import Partitioning
from pipelines.spec.partitions import hour_of_every_day
from practices._operators.failed_task import report_failure

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=Refused, action=RetryAction.FAIL, reason="refused: needs a person, not a retry"),
        RetryRule(exception=Unavailable, action=RetryAction.RETRY, reason="unavailable: a retry can succeed"),
    ]
)
"""``Refused`` fails at once; ``Unavailable`` and unforeseen errors (a lost worker) are retried."""

DEFAULT_ARGS: dict[str, Any] = {
    "retries": 8,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "retry_policy": RETRY_POLICY,
    "on_failure_callback": report_failure,
}
"""Eight retries after at least 5, 10, 20, 40, 80, 160, 300 and 300 seconds (Airflow adds jitter): a service may be away
for a quarter of an hour."""

LAST_DAY = date(2040, 12, 31)
"""Until then the midnights of a calendar without end are looked through."""
GPU_POOL = "gpu"
UNFINISHED_STATES = ["queued", "running"]
"""States of runs that have not ended."""


def gpu_slots(spec: ModelSpec) -> dict[str, Any]:
    """``pool`` and ``pool_slots`` of a training with GPUs, whose wait is then visible in Airflow; else nothing.

    A training that needs more GPUs than configured takes the whole pool and is refused by the cluster; with more slots
    than the pool has, Airflow would let it wait for ever.
    """
    if not (slots := spec.gpus_per_training):
        return {}
    gpus = Settings.from_environment().gpus
    return {"pool": GPU_POOL, "pool_slots": slots if gpus is None else min(slots, max(1, gpus))}


def asset(subject: str, state: str, *, watchers: Sequence[AssetWatcher] = ()) -> Asset:
    """The asset whose event starts the next stage: ``subject`` (dataset, view or model) has reached ``state``."""
    return Asset(name=f"{subject}:{state}", uri=f"x-airworthy://{subject}/{state}", watchers=list(watchers))


def daily_schedule(partition: Partitioning) -> dict[str, Any]:
    """``schedule``, ``start_date`` and ``end_date`` of a DAG with one run per day of the calendar, keyed by the day.

    A run begins at midnight after its day, not when its files are due: so files that land early are used early, and a
    backfill between two dates includes both. In a zone whose clocks skip a midnight of the calendar it begins at the
    first hour that every day has, else that day would be lost or doubled.
    """
    zone = ZoneInfo(partition.timezone)
    hour = hour_of_every_day(partition.timezone, partition.first_date, partition.end or LAST_DAY)
    timetable = CronPartitionTimetable(
        f"0 {hour} * * *", timezone=partition.timezone, run_offset=-1, key_format="%Y-%m-%d"
    )
    first = datetime.combine(partition.first_date + timedelta(days=1), time(), zone)
    if partition.end is None:
        return {"schedule": timetable, "start_date": first}
    last = datetime.combine(partition.end + timedelta(days=2), time(), zone) - timedelta(seconds=1)
    return {"schedule": timetable, "start_date": first, "end_date": last}
