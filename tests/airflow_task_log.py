"""A task's log as Airflow 3.3 configures it: one list of processors, of which the last one writes the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import structlog


@contextmanager
def airflow_task_log() -> Iterator[tuple[Any, list[str]]]:
    """A logger, and the lines that it writes."""
    lines: list[str] = []
    before = structlog.get_config()
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
        structlog.processors.JSONRenderer(),
    ]
    write = SimpleNamespace(error=lines.append, info=lines.append)
    structlog.configure(processors=processors, logger_factory=lambda *_: write)
    try:
        yield structlog.get_logger(), lines
    finally:
        structlog.configure(**before)
