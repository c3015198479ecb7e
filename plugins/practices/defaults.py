"""Every DAG retries alike, names its assets alike, and builds only itself inside a running task."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import Asset, AssetWatcher, ExceptionRetryPolicy, RetryAction, RetryRule, get_parsing_context

from pipelines.errors import Refused, Unavailable
from pipelines.spec.dataset import Calendar

RETRIES = ExceptionRetryPolicy(
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
    "retry_policy": RETRIES,
}
"""Five more tries after 5, 10, 20, 40 and 80 seconds, for failures that a retry can mend."""


def asset(subject: str, state: str, *, watchers: Sequence[AssetWatcher] = ()) -> Asset:
    """The asset by which stages hand over: what ``subject`` (dataset, view or model) has become."""
    return Asset(name=f"{subject}:{state}", uri=f"x-airworthy://{subject}/{state}", watchers=list(watchers))


def run_dates(calendar: Calendar) -> dict[str, datetime]:
    """``start_date`` and ``end_date`` of a DAG that runs for a day once it is over: no run for a day that is not."""
    zone = ZoneInfo(calendar.timezone)
    first = calendar.start + timedelta(days=1)
    dates = {"start_date": datetime(first.year, first.month, first.day, tzinfo=zone)}
    if calendar.end:
        over = calendar.end + timedelta(days=2)
        dates["end_date"] = datetime(over.year, over.month, over.day, tzinfo=zone) - timedelta(seconds=1)
    return dates


def asked_for(dag_id: str) -> bool:
    """Whether this DAG is wanted: always when the folder is parsed, in a running task only its own."""
    wanted = get_parsing_context().dag_id
    return wanted is None or wanted == dag_id
