"""Mirrored requests leave a data worker without ever making it wait: a full line drops them, and says so."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import msgspec

BYTES = 4 * 1024 * 1024


class Mirrored(msgspec.Struct, array_like=True, frozen=True):
    """One request with the champion's answers, as the shadow worker gets it; ``moment`` in microseconds since 1970."""

    model: str
    rollout_id: str
    step: int
    version: str
    generation: int
    request_id: str
    correlation_id: str
    moment: int
    bucket: int
    ids: list[str] | None
    names: list[str]
    values: list[Sequence[Any]]
    predictions: list[float]
    unit: int | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Mirrored)


def line() -> tuple[socket.socket, socket.socket]:
    """The end that data workers write into and the end that the shadow worker reads.

    Both outlive every process that uses them, so that neither end ever breaks.
    """
    write, read = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    write.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BYTES)
    write.setblocking(False)
    read.setblocking(False)
    return write, read


class Feed:
    """The writing end."""

    def __init__(self, endpoint: socket.socket) -> None:
        self._socket = endpoint

    def send(self, packet: Mirrored) -> bool:
        """Whether it could be handed over: False if the line is full or the request too large for it."""
        try:
            self._socket.send(_encoder.encode(packet))
        except (OSError, OverflowError):
            return False
        return True


def receive(endpoint: socket.socket) -> Mirrored | None:
    """The oldest request on the line; None if there is none."""
    try:
        return _decoder.decode(endpoint.recv(BYTES))
    except BlockingIOError:
        return None
