"""Defaults of tasks and DAGs: retries, asset names, the pool for GPUs, and the schedules of partitions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetWatcher, CronPartitionTimetable, ExceptionRetryPolicy, RetryAction, RetryRule

from pipelines.errors import Refused, Unavailable
from pipelines.settings import Settings
from pipelines.spec.model import ModelSpec
from pipelines.spec.partitions import (
    DAY,
    HOUR,
    KEY_FORMATS,
    LAST_DAY,
    PartitionCalendar,
    first_instant,
    hour_of_every_day,
)
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


def partition_schedule(calendar: PartitionCalendar) -> dict[str, Any]:
    """``schedule``, ``start_date`` and ``end_date`` of a DAG with one run per partition, which has its key.

    A run begins when its partition is over, not when its files are due: so files that land early are used early, and
    a backfill between two dates includes both. In a zone whose clocks skip a midnight of the calendar it begins at the
    first hour that every day has, else that day would be lost or doubled. A table without dates has no schedule.
    """
    if calendar.every == "once":
        return {"schedule": None}
    hour = hour_of_every_day(calendar.timezone, calendar.start, calendar.end or LAST_DAY)
    first = next(calendar.partitions(calendar.start + timedelta(days=31)))
    ticks = {
        "hour": f"{first.begin.minute} * * * *",
        "day": f"0 {hour} * * *",
        "week": f"0 {hour} * * 1",
        "month": f"0 {hour} 1 * *",
    }[calendar.every]
    timetable = CronPartitionTimetable(
        ticks,
        timezone="UTC" if calendar.every == "hour" else calendar.timezone,
        run_offset=-1,
        key_format=KEY_FORMATS[calendar.every],
    )
    dates = {"schedule": timetable, "start_date": first.end.astimezone(calendar.zone)}
    if calendar.end is None:
        return dates
    last = calendar.partition_of(first_instant(calendar.end + DAY, calendar.zone) - timedelta(microseconds=1))
    if last is None:
        raise Refused(f"a calendar of {calendar.every}s from {calendar.start} to {calendar.end} has none; correct it")
    following = HOUR if calendar.every == "hour" else DAY  # the tick lies in it, and the next one does not
    return dates | {"end_date": last.end.astimezone(calendar.zone) + following - timedelta(seconds=1)}
