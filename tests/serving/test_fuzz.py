"""A small seeded part of `make fuzz`: whatever bytes are sent, nothing fails, hangs or stays behind."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.__main__ import fuzzed_gateway, memory, send


def test_whatever_bytes_are_sent_the_gateway_answers_or_refuses_and_keeps_nothing(tmp_path: Path) -> None:
    gateway = fuzzed_gateway(tmp_path)
    try:
        before = memory(gateway)
        findings = send(gateway, seed=7, count=1000, seconds=60)
        assert findings.faults == []
        assert findings.answers > 1000
        assert {200, 400, 401, 403, 404, 405, 413, 415, 422} <= findings.statuses.keys()
        assert memory(gateway).keys() == before.keys()
    finally:
        gateway.stop()
