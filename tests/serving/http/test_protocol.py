"""A connection is ended once nothing comes of it, and none is while a request is on its way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.serving.http.protocol import ConnectionLimits, ListenerState, sweep

NOW = 1000.0


@pytest.mark.parametrize(
    ("state", "end"),
    [
        ({}, ""),
        ({"idle": NOW - 74}, ""),
        ({"idle": NOW - 76}, "closed"),
        ({"idle": NOW - 76, "began": NOW - 20}, ""),
        ({"began": NOW - 31}, "too slow"),
        ({"stuck": NOW - 29}, ""),
        ({"stuck": NOW - 31}, "aborted"),
    ],
    ids=["fresh", "idle", "idle too long", "a second request is coming", "too slow", "stuck", "stuck too long"],
)
def test_what_takes_too_long_is_ended_and_everything_else_is_left(state: dict[str, float], end: str) -> None:
    ends: list[str] = []
    transport = SimpleNamespace(close=lambda: ends.append("closed"), abort=lambda: ends.append("aborted"))
    times = {"began": 0.0, "stuck": 0.0, "idle": 0.0, "timeout_keep_alive": 75} | state
    connection: Any = SimpleNamespace(transport=transport, too_slow=lambda: ends.append("too slow"), **times)
    later: list[Any] = []
    loop = SimpleNamespace(time=lambda: NOW, call_later=lambda *when: later.append(when))
    connections: Any = [connection]
    sweep(ListenerState(ConnectionLimits(request_seconds=30)), loop, connections)
    assert ends == ([end] if end else [])
    assert len(later) == 1
