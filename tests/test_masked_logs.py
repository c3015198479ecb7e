"""The log of a task holds no e-mail address and no phone number, whoever wrote the line."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

import masked_logs
from pipelines.errors import Refused
from tests.airflow_task_log import airflow_task_log

EMAIL, PHONE = "jo.doe@mail.example", "+1 212 555 0199"


@pytest.fixture
def log() -> Iterator[tuple[Any, list[str]]]:
    with airflow_task_log() as logger_and_lines:
        yield logger_and_lines


def test_what_structlog_writes_is_masked_down_to_the_stack_trace(log: Any) -> None:
    logger, lines = log
    masked_logs.mask_logs()
    try:
        raise Refused("the delivery is refused", [f"column 'contact': {EMAIL}"])
    except Refused:
        logger.exception("Task failed", caller=PHONE)
    line = json.loads(lines[-1])
    assert (line["event"], line["caller"]) == ("Task failed", "<phone>")
    assert EMAIL not in lines[-1]
    assert "<email>" in json.dumps(line["exception"])


def test_what_the_standard_library_logs_is_masked(log: Any, caplog: pytest.LogCaptureFixture) -> None:
    masked_logs.mask_logs()
    try:
        with caplog.at_level(logging.INFO):
            logging.getLogger("pipelines.steps").info("%s wrote to %s; 12345678 rows", EMAIL, PHONE)
        assert caplog.messages == ["<email> wrote to <phone>; 12345678 rows"]
    finally:
        for handler in logging.getLogger().handlers:
            handler.removeFilter(masked_logs.mask_record)


def test_a_message_whose_arguments_do_not_fit_stops_no_task() -> None:
    record = logging.LogRecord("m", logging.INFO, __file__, 1, "%d of %s", ("three",), None)
    assert masked_logs.mask_record(record)


def test_only_a_tasks_own_process_is_changed(log: Any) -> None:
    masked_logs.on_starting(SimpleNamespace())
    assert masked_logs.mask_texts not in structlog.get_config()["processors"]
    for _ in range(2):
        masked_logs.on_starting(type("TaskRunnerMarker", (), {})())
    assert structlog.get_config()["processors"].count(masked_logs.mask_texts) == 1
    for handler in logging.getLogger().handlers:
        handler.removeFilter(masked_logs.mask_record)
