"""One id leads from a caller's header to the row of the prediction log, and to the line about a failure."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest

from pipelines.serving.data_plane import inference
from pipelines.serving.data_plane.inference import MAX_CORRELATION_ID, DataPlane
from pipelines.serving.prediction_log.writer import LogWriter

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("headers", "correlation_id"),
    [
        ({}, ""),
        ({"x-correlation-id": "a b-1"}, "a b-1"),
        ({"x-request-id": "r-1"}, "r-1"),
        ({"x-correlation-id": "a", "x-request-id": "r", "traceparent": f"00-{TRACE}-{SPAN}-01"}, "a"),
        ({"x-correlation-id": "", "x-request-id": "r"}, "r"),
        ({"x-correlation-id": "é", "traceparent": f"00-{TRACE}-{SPAN}-01"}, TRACE),
        ({"x-request-id": "a" * MAX_CORRELATION_ID}, "a" * MAX_CORRELATION_ID),
        ({"x-request-id": "a" * (MAX_CORRELATION_ID + 1)}, ""),
        ({"x-request-id": "a\tb"}, ""),
        ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, TRACE),
        ({"traceparent": f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"}, TRACE),
        ({"traceparent": f"cc-{TRACE}-{SPAN}-01.what"}, ""),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01-more"}, ""),
        ({"traceparent": f"ff-{TRACE}-{SPAN}-01"}, ""),
        ({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, ""),
        ({"traceparent": f"00-{TRACE}-{'0' * 16}-01"}, ""),
        ({"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"}, ""),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01 "}, ""),
    ],
)
def test_an_id_is_taken_from_the_first_header_that_has_a_valid_one(
    headers: Mapping[str, str], correlation_id: str
) -> None:
    raw = {name.encode(): value.encode("utf-8") for name, value in headers.items()}
    assert inference._correlation_id(raw) == correlation_id


def test_of_many_failures_one_a_second_is_logged_with_its_ids_and_the_number_of_the_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    now = [100.0]
    monkeypatch.setattr(inference.time, "monotonic", lambda: now[0])
    plane = DataPlane(LogWriter(tmp_path_factory.mktemp("wal"), "w", lambda *_: None))
    with caplog.at_level(logging.ERROR):
        for number in range(5):
            plane._log_failure(ValueError("jo"), "m", "1", f"r{number}", f"c{number}")
        now[0] += 1.5
        plane._log_failure(ValueError("jo"), "m", "1", "r5", "c5")
    assert caplog.messages == [
        "model 'm' version 1 failed: ValueError (correlation id c0)",
        "model 'm' version 1 failed: ValueError (correlation id c5), after 4 that are not here",
    ]
    assert [(record.request_id, record.correlation_id) for record in caplog.records] == [("r0", "c0"), ("r5", "c5")]  # type: ignore[attr-defined]
