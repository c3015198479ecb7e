"""A task that was refused shows its reasons: in its log without a stack trace, and in the XCom ``reasons``.

``Refused`` and ``Unavailable`` are raised on purpose and their message says what to do; where in the code they were
raised helps nobody who reads a task's log. With the log level DEBUG the trace is shown as well. Other errors keep it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from pipelines.errors import AirworthyError

TASK_RUNNER = "TaskRunnerMarker"
"""The component that a task's own process names to ``on_starting``."""
log = logging.getLogger(__name__)


@hookimpl
def on_starting(component: object) -> None:
    """Called when an Airflow process or a task starts; only a task's log is changed."""
    if type(component).__name__ == TASK_RUNNER:
        remove_traces()


@hookimpl
def on_task_instance_failed(previous_state: object, task_instance: Any, error: object) -> None:  # noqa: ARG001
    """Called in the task's process when a try has failed: keep its reasons beside the task."""
    from pipelines.errors import (
        AirworthyError,
    )  # here: the scheduler imports plugins, and its tasks must not inherit it

    if isinstance(error, AirworthyError) and hasattr(task_instance, "xcom_push"):
        task_instance.xcom_push(key="reasons", value=reasons_of(error))


def reasons_of(error: AirworthyError) -> list[str]:
    """Every reason of a refusal; of another error its message."""
    from pipelines.errors import Refused

    return list(error.reasons) or [error.subject] if isinstance(error, Refused) else [str(error)]


def remove_traces() -> None:
    """Put ``without_trace`` before all other processors of this process's log."""
    import structlog

    processors = structlog.get_config()["processors"]
    if isinstance(processors, list) and without_trace not in processors:
        processors.insert(0, without_trace)


def without_trace(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001
    """Replace the stack trace of an error raised on purpose by its message, unless DEBUG is logged."""
    from pipelines.errors import AirworthyError

    error = event.get("exc_info")
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, AirworthyError) and not log.isEnabledFor(logging.DEBUG):
        event.pop("exc_info")
        notes = "".join(f"\n  - {note}" for note in getattr(error, "__notes__", ()))
        event["event"] = f"{type(error).__name__}: {error}{notes}"
    return event


class RefusedTasks(AirflowPlugin):
    """Registers the listeners above."""

    name = "refused_tasks"
    listeners = [sys.modules[__name__]]
