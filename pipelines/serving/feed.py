"""Mirrored requests leave a data worker without ever making it wait: a full line drops them, and says so."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

BYTES = 4 * 1024 * 1024
BATCH_ROWS = 64
BATCH_SECONDS = 0.01
Heard = Callable[[bool], None]


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
_decoder = msgspec.msgpack.Decoder(list[Mirrored])


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
    """The writing end. Requests are handed over some at a time: waking the other process costs more than a request.

    ``schedule(seconds, callback)`` calls back later on the loop.
    """

    def __init__(self, endpoint: socket.socket, schedule: Callable[[float, Callable[[], None]], object]) -> None:
        self._socket, self._schedule = endpoint, schedule
        self._waiting: list[tuple[Mirrored, Heard]] = []
        self._rows = 0

    def send(self, packet: Mirrored, heard: Heard) -> None:
        """Hand it over soon; ``heard`` is told whether it could be: False if the line is full or it does not fit."""
        self._waiting.append((packet, heard))
        self._rows += len(packet.predictions)
        if self._rows >= BATCH_ROWS:
            self.flush()
        elif len(self._waiting) == 1:
            self._schedule(BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        """Hand over what waits."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if not waiting:
            return
        if self._put([packet for packet, _ in waiting]):
            for _, heard in waiting:
                heard(True)
            return
        for packet, heard in waiting:  # a large one takes none of the others with it
            heard(len(waiting) > 1 and self._put([packet]))

    def _put(self, packets: list[Mirrored]) -> bool:
        try:
            self._socket.send(_encoder.encode(packets))
        except (OSError, OverflowError):
            return False
        return True


def receive(endpoint: socket.socket) -> list[Mirrored]:
    """The oldest requests on the line; none if it is empty."""
    try:
        return _decoder.decode(endpoint.recv(BYTES))
    except BlockingIOError:
        return []
