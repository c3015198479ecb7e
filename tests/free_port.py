"""A port of its own for every server that a test starts, though other tests start and call others meanwhile."""

from __future__ import annotations

import secrets
import socket

FIRST, LAST = 12_000, 32_000
"""Below the ports that Linux gives to outgoing connections, so that none takes the port before its server does."""


def free_port(host: str = "127.0.0.1") -> int:
    while True:
        port = FIRST + secrets.randbelow(LAST - FIRST)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
