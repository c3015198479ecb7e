"""What a task that was refused leaves in its log and beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

import refused_tasks
from pipelines.errors import Refused, Unavailable
from tests.airflow_task_log import airflow_task_log

REFUSAL = Refused("the delivery of flights for 2013-01-05 is refused", ["column 'carrier' is missing", "no rows"])


@pytest.fixture
def log() -> Iterator[tuple[Any, list[str]]]:
    with airflow_task_log() as logger_and_lines:
        yield logger_and_lines


def failed(log: Any, error: Exception) -> dict[str, Any]:
    """The line that Airflow logs about a task that raised ``error``."""
    logger, lines = log
    refused_tasks.remove_traces()
    try:
        raise error
    except Exception:
        logger.exception("Task failed with exception")
    return json.loads(lines[-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("error", [REFUSAL, Unavailable("the store does not answer")])
def test_an_error_raised_on_purpose_is_logged_by_its_message_without_a_trace(log: Any, error: Exception) -> None:
    line = failed(log, error)
    assert line == {"level": "error", "event": f"{type(error).__name__}: {error}"}


def test_the_numbers_of_a_refusal_follow_its_reasons(log: Any) -> None:
    error = Refused("version 3 is refused", ["roc_auc 0.61 < 0.62"])
    error.add_note("measured: pr_auc 0.41 ≥ 0.3")
    lines = failed(log, error)["event"].splitlines()
    assert lines == ["Refused: version 3 is refused", "  - roc_auc 0.61 < 0.62", "  - measured: pr_auc 0.41 ≥ 0.3"]


def test_an_unforeseen_error_keeps_its_trace(log: Any) -> None:
    line = failed(log, ZeroDivisionError("division by zero"))
    assert line["event"] == "Task failed with exception"
    assert line["exception"][0]["exc_type"] == "ZeroDivisionError"


def test_only_a_tasks_own_process_logs_without_traces(log: Any) -> None:
    refused_tasks.on_starting(SimpleNamespace())
    assert refused_tasks.without_trace not in structlog.get_config()["processors"]
    refused_tasks.on_starting(type("TaskRunnerMarker", (), {})())
    assert structlog.get_config()["processors"].count(refused_tasks.without_trace) == 1


@pytest.mark.parametrize(
    ("error", "reasons"),
    [
        (REFUSAL, REFUSAL.reasons),
        (Refused("this run names no version"), ["this run names no version"]),
        (Unavailable("the store does not answer"), ["the store does not answer"]),
    ],
)
def test_every_reason_is_kept_beside_the_failed_task(error: Exception, reasons: list[str]) -> None:
    pushed: dict[str, Any] = {}
    instance = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
    refused_tasks.on_task_instance_failed(None, instance, error)
    assert pushed == {"reasons": reasons}


def test_an_unforeseen_error_leaves_nothing_beside_the_task() -> None:
    refused_tasks.on_task_instance_failed(None, SimpleNamespace(xcom_push=None), ValueError("?"))
