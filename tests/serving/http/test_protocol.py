"""A connection is ended once nothing comes of it, and none is while a request is on its way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.serving.http.listener import ConnectionLimits, ListenerState, end_slow_connections

NOW = 1000.0


@pytest.mark.parametrize(
    ("state", "end"),
    [
        ({}, ""),
        ({"idle_since": NOW - 74}, ""),
        ({"idle_since": NOW - 76}, "closed"),
        ({"idle_since": NOW - 76, "began_at": NOW - 20}, ""),
        ({"began_at": NOW - 31}, "too slow"),
        ({"blocked_since": NOW - 29}, ""),
        ({"blocked_since": NOW - 31}, "aborted"),
    ],
    ids=["fresh", "idle", "idle too long", "a second request is coming", "too slow", "stuck", "stuck too long"],
)
def test_what_takes_too_long_is_ended_and_everything_else_is_left(state: dict[str, float], end: str) -> None:
    ends: list[str] = []
    transport = SimpleNamespace(close=lambda: ends.append("closed"), abort=lambda: ends.append("aborted"))
    times = {"began_at": 0.0, "blocked_since": 0.0, "idle_since": 0.0, "timeout_keep_alive": 75} | state
    connection: Any = SimpleNamespace(transport=transport, end_slow_request=lambda: ends.append("too slow"), **times)
    later: list[Any] = []
    loop = SimpleNamespace(time=lambda: NOW, call_later=lambda *when: later.append(when))
    connections: Any = [connection]
    end_slow_connections(ListenerState(ConnectionLimits(request_seconds=30)), loop, connections)
    assert ends == ([end] if end else [])
    assert len(later) == 1
