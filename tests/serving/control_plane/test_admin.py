"""The admin listener cannot be held up: large bodies are refused, slow ones cut off, and others served meanwhile."""

from __future__ import annotations

import socket

import httpx

from pipelines.serving.__main__ import ADMIN_CONNECTION_LIMITS
from pipelines.serving.control_plane.admin import MAX_BODY_BYTES
from tests.serving.gateway_process import Gateway


def test_a_body_beyond_the_limit_is_413_and_the_next_change_is_taken(gateway: Gateway) -> None:
    url = f"{gateway.admin}/models/flight_delay/rollback"
    response = httpx.post(url, content=b" " * (MAX_BODY_BYTES + 1), headers={"idempotency-key": "large"})
    assert (response.status_code, "larger than" in response.text) == (413, True)
    small = httpx.post(url, json={"reason": "r"}, headers={"idempotency-key": "small"})
    assert (small.status_code, "no previous version" in small.text) == (422, True)


def test_a_body_without_end_is_cut_off(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=30) as stranger:
        stranger.sendall(b"POST /flush HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 64:
                stranger.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
                sent += 1
        except OSError:
            pass
    assert sent < 64
    assert httpx.get(f"{gateway.admin}/ready").status_code == 200


def test_while_a_slow_caller_sends_nothing_others_are_answered(gateway: Gateway) -> None:
    assert ADMIN_CONNECTION_LIMITS.request_seconds <= 30
    with socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=30) as slow:
        slow.sendall(b"POST /flush HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
        before_it_is_cut_off = ADMIN_CONNECTION_LIMITS.request_seconds / 2
        assert httpx.get(f"{gateway.admin}/models", timeout=before_it_is_cut_off).status_code == 200


def test_a_head_without_end_is_431(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=30) as stranger:
        stranger.sendall(b"GET /models HTTP/1.1\r\n" + b"x-filler: " + b"y" * 4 * ADMIN_CONNECTION_LIMITS.header_bytes)
        assert stranger.recv(100).startswith(b"HTTP/1.1 431")
