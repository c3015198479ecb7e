"""Every DAG retries alike, names its assets alike, and builds only itself inside a running task."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, ExceptionRetryPolicy, RetryAction, RetryRule, get_parsing_context

from pipelines.errors import Refused, Unavailable

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


def asset(subject: str, state: str) -> Asset:
    """The asset by which stages hand over: what ``subject`` (dataset, view or model) has become."""
    return Asset(name=f"{subject}:{state}", uri=f"x-airworthy://{subject}/{state}")


def asked_for(dag_id: str) -> bool:
    """Whether this DAG is wanted: always when the folder is parsed, in a running task only its own."""
    wanted = get_parsing_context().dag_id
    return wanted is None or wanted == dag_id
