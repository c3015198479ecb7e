"""E-mail addresses and international phone numbers are masked in the log of every task, whoever writes the line."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

TASK_RUNNER = "TaskRunnerMarker"
"""The component that a task's own process names to ``on_starting``."""


@hookimpl
def on_starting(component: object) -> None:
    """Called when an Airflow process or a task starts; only a task's log is changed."""
    if type(component).__name__ == TASK_RUNNER:
        mask_logs()


def mask_logs() -> None:
    """Mask what is logged by structlog and by the standard library from now on."""
    import structlog

    processors = structlog.get_config()["processors"]
    if isinstance(processors, list) and processors and mask_texts not in processors:
        processors.insert(-1, mask_texts)  # before the last one, which writes the line
    for handler in logging.getLogger().handlers:
        if mask_record not in handler.filters:
            handler.addFilter(mask_record)


def mask_texts(logger: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001
    """Mask every text of an event of structlog, those of a stack trace among them."""
    from pipelines.logs.personal_data import mask_event

    event.update(mask_event(dict(event)))
    return event


def mask_record(record: logging.LogRecord) -> bool:
    """Mask the message of a record of the standard library; every record is let through."""
    from pipelines.logs.personal_data import mask_message

    try:
        message = record.getMessage()
    except Exception:  # arguments that do not fit: the handler itself says so, and the task goes on
        return True
    masked = mask_message(message)
    if masked != message:
        record.msg, record.args = masked, ()
    return True


class MaskedLogs(AirflowPlugin):
    """Registers the listener above."""

    name = "masked_logs"
    listeners = [sys.modules[__name__]]
