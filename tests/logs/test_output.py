"""A process writes one line a message: readable, or JSON with who wrote it; personal data in it is masked."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.logs.output import LOG_FORMAT, OWN_LOGGERS, configure

PERSONAL = ("jo.doe@mail.example", "+1 212 555 0199")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., list[str]]]:
    """Configure the log of a part, log by a function, and return the lines."""
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in OWN_LOGGERS]
    before = root.handlers[:], root.level, [logger.level for logger in loggers]

    def write(log_format: str, say: Callable[[logging.Logger], object], **fields: str) -> list[str]:
        monkeypatch.setenv(LOG_FORMAT, log_format)
        configure("gateway", **fields)
        say(logging.getLogger("airworthy.gateway"))
        return capsys.readouterr().err.splitlines()

    yield write
    root.handlers[:], root.level = before[0], before[1]
    for logger, level in zip(loggers, before[2], strict=True):
        logger.setLevel(level)


def fail(log: logging.Logger) -> None:
    try:
        raise ValueError(f"no such person: {PERSONAL[0]}")
    except ValueError:
        log.exception("it failed for %s", PERSONAL[1])


def test_a_readable_line_has_time_level_and_message(written: Any) -> None:
    (line,) = written("text", lambda log: log.info("serving on %s", "127.0.0.1:8900"))
    assert line.endswith(" INFO serving on 127.0.0.1:8900")


def test_a_json_line_says_who_wrote_it_and_carries_the_fields_of_the_message(written: Any) -> None:
    (text,) = written("json", lambda log: log.error("m failed", extra={"correlation_id": "abc-1"}), process="worker 0")
    line = json.loads(text)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "error",
        "event": "m failed",
        "part": "gateway",
        "process": "worker 0",
        "logger": "airworthy.gateway",
        "correlation_id": "abc-1",
    }


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_personal_data_is_neither_in_a_message_nor_in_a_stack_trace(written: Any, log_format: str) -> None:
    text = "\n".join(written(log_format, fail))
    assert "ValueError: no such person: <email>" in text
    assert "it failed for <phone>" in text
    assert not [value for value in PERSONAL if value in text]


def test_sizes_addresses_and_times_are_no_phone_numbers(written: Any) -> None:
    message = "10.244.123.101 sent 16777216 bytes at 2013-01-05 10:00:00, id 12345678-1234"
    (line,) = written("text", lambda log: log.info(message))
    assert line.endswith(message)


def test_a_json_line_is_one_line_whatever_the_message_holds(written: Any) -> None:
    (text,) = written("json", lambda log: log.warning("a\nb\r\x00 é \ud800", extra={"odd": {(1, 2): 3, 4: object}}))
    assert json.loads(text)["event"].startswith("a\nb\r\x00 é ")


def test_libraries_are_heard_from_warnings_on(written: Any) -> None:
    def say(_: logging.Logger) -> None:
        for name in ("httpx", "pipelines.steps"):
            logging.getLogger(name).info("from %s", name)

    assert [line.rpartition(" ")[2] for line in written("text", say)] == ["pipelines.steps"]


def test_a_format_that_is_none_is_refused(written: Any) -> None:
    with pytest.raises(Refused, match="is no format of a log"):
        written("yaml", lambda _: None)
