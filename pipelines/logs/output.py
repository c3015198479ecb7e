"""Writes what a process logs to stderr, one line a message: readable, or JSON where AIRWORTHY_LOG_FORMAT says so."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from pipelines.errors import Refused
from pipelines.logs.personal_data import mask_event, mask_message

LOG_FORMAT = "AIRWORTHY_LOG_FORMAT"
FORMATS = ("text", "json")
OWN_LOGGERS = ("airworthy", "pipelines", "practices")
"""They log from INFO on, libraries from WARNING on."""
TEXT_LINE = "%(asctime)s %(levelname)s %(message)s"
FIRST_FIELDS = ("timestamp", "level", "event")
"""As in the JSON lines of Airflow's task logs."""


def configure(part: str, **fields: str) -> None:
    """Begin to log. ``part`` and ``fields`` are on each JSON line: who writes, and for which run.

    Raises ``Refused`` for a format that is none.
    """
    name = os.environ.get(LOG_FORMAT) or "text"
    if name not in FORMATS:
        raise Refused(f"{LOG_FORMAT} {name!r} is no format of a log", [f"set it to {' or '.join(FORMATS)}"])
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_formatter({"part": part, **fields}) if name == "json" else ReadableFormatter(TEXT_LINE))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for logger in OWN_LOGGERS:
        logging.getLogger(logger).setLevel(logging.INFO)


class ReadableFormatter(logging.Formatter):
    """One line a message, and its stack trace where it has one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = mask_message(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return mask_message(super().formatException(ei))


def _json_formatter(fields: Mapping[str, str]) -> logging.Formatter:
    import structlog  # here: it takes a tenth of a second and 8 MB, which readable logs do not need

    def add_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        first = {name: event.pop(name) for name in FIRST_FIELDS}
        masked: dict[str, Any] = mask_event({**first, **fields, **event})
        return masked

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.UnicodeDecoder(),
            add_fields,
            structlog.processors.JSONRenderer(default=str, skipkeys=True),
        ],
    )
