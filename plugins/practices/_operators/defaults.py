"""What tasks and DAGs share: retries, names of assets, the pool for GPUs, and daily schedules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import Asset, AssetWatcher, CronPartitionTimetable, ExceptionRetryPolicy, RetryAction, RetryRule

from pipelines.errors import Refused, Unavailable
from pipelines.settings import Settings
from pipelines.spec.dataset import Calendar
from pipelines.spec.model import ModelSpec

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=Refused, action=RetryAction.FAIL, reason="refused: no again until a person acts"),
        RetryRule(exception=Unavailable, action=RetryAction.RETRY, reason="unavailable: worth trying again"),
    ]
)
"""``Refused`` fails at once, ``Unavailable`` and everything unforeseen (a lost worker) is tried again."""

DEFAULT_ARGS: dict[str, Any] = {
    "retries": 5,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "retry_policy": RETRY_POLICY,
}
"""Five more tries for failures that a retry can mend. Airflow waits at least 5, 10, 20, 40 and 80 seconds before them,
and less than twice as long (it adds a share of its own to each pause)."""

GPU_POOL = "gpu"


def gpu_pool_arguments(spec: ModelSpec) -> dict[str, Any]:
    """``pool`` and ``pool_slots`` of a training that holds GPUs, so that its wait for them is seen; else nothing.

    One that asks for more than the installation has takes the whole pool and is told so by the cluster: Airflow would
    let it wait for ever.
    """
    if not (slots := spec.gpus_at_once):
        return {}
    gpus = Settings.from_environment().gpus
    return {"pool": GPU_POOL, "pool_slots": slots if gpus is None else min(slots, max(1, gpus))}


def asset(subject: str, state: str, *, watchers: Sequence[AssetWatcher] = ()) -> Asset:
    """The asset by which stages hand over: what ``subject`` (dataset, view or model) has become."""
    return Asset(name=f"{subject}:{state}", uri=f"x-airworthy://{subject}/{state}", watchers=list(watchers))


def daily_schedule(calendar: Calendar) -> dict[str, Any]:
    """``schedule``, ``start_date`` and ``end_date`` of a DAG with one run per day of the calendar, keyed by the day.

    A run begins at midnight, when its day is over, and not at the hour of ``calendar.schedule``, when its files are
    due: so what lands earlier is used earlier, and a backfill from one date to another holds both days.
    """
    zone, midnight = ZoneInfo(calendar.timezone), " ".join(["0 0", *calendar.schedule.split()[2:]])
    timetable = CronPartitionTimetable(midnight, timezone=calendar.timezone, run_offset=-1, key_format="%Y-%m-%d")
    first = datetime.combine(calendar.start + timedelta(days=1), time(), zone)
    if calendar.end is None:
        return {"schedule": timetable, "start_date": first}
    last = datetime.combine(calendar.end + timedelta(days=2), time(), zone) - timedelta(seconds=1)
    return {"schedule": timetable, "start_date": first, "end_date": last}
