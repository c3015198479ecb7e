"""Sends mirrored requests to the shadow worker without blocking; requests beyond its socket buffer are dropped."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec

from pipelines.serving.prediction_log.writer import LoggedAnswer

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
BATCH_ROWS = 64
BATCH_SECONDS = 0.01
OnHandover = Callable[[int, int], None]
"""Called with the number of requests sent and the number dropped."""


class MirrorBatchHeader(msgspec.Struct, array_like=True, frozen=True):
    """Common fields of a mirror's requests; ``version`` is the mirrored one, ``names`` the champion's columns."""

    model: str
    rollout_id: str
    step: int
    version: str
    names: list[str]


class MirrorBatch(msgspec.Struct, array_like=True, frozen=True):
    """Requests with the champion's answers, as logged but not masked; the shadow worker predicts them again."""

    header: MirrorBatchHeader
    answers: list[LoggedAnswer]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MirrorBatch)


def mirror_sockets() -> tuple[socket.socket, socket.socket]:
    """The socket that data workers write and the one that the shadow worker reads; the supervisor keeps both open."""
    write, read = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    write.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_MESSAGE_BYTES)
    write.setblocking(False)
    read.setblocking(False)
    return write, read


class MirrorQueue:
    """The writing end. Requests are sent in batches: waking the shadow worker costs more than sending a request.

    ``schedule(seconds, callback)`` calls back on the loop.
    """

    def __init__(self, endpoint: socket.socket, schedule: Callable[[float, Callable[[], None]], object]) -> None:
        self._socket, self._schedule = endpoint, schedule
        self._waiting: list[MirrorChannel] = []
        self._rows = 0

    def open_channel(self, header: MirrorBatchHeader, on_handover: OnHandover) -> MirrorChannel:
        """A channel for the requests of one mirror."""
        return MirrorChannel(self, header, on_handover)

    def schedule_flush(self, channel: MirrorChannel, rows: int) -> None:
        """Send the waiting requests soon, after one of so many rows was added to a channel."""
        was_empty = not self._waiting
        if len(channel.packed) == 1:
            self._waiting.append(channel)
        self._rows += rows
        if self._rows >= BATCH_ROWS:
            self.flush()
        elif was_empty:
            self._schedule(BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        """Send all waiting requests."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        for channel in waiting:
            packed, channel.packed = channel.packed, []
            sent = len(packed)
            if not self._send(channel, packed):  # one large request must not drop the others
                sent = sum(self._send(channel, [answer]) for answer in packed) if sent > 1 else 0
            channel.on_handover(sent, len(packed) - sent)

    def _send(self, channel: MirrorChannel, packed: list[bytes]) -> bool:
        """Send a ``MirrorBatch`` in MessagePack, joined from encoded parts; returns whether it was sent."""
        message = b"".join((channel.prefix, len(packed).to_bytes(4, "big"), *packed))
        if len(message) > MAX_MESSAGE_BYTES:  # the receiver would truncate it
            return False
        try:
            self._socket.send(message)
        except OSError:
            return False
        return True


class MirrorChannel:
    """The waiting requests of one mirror, encoded to save memory; ``on_handover`` gets the numbers sent and dropped."""

    __slots__ = ("_queue", "on_handover", "packed", "prefix")

    def __init__(self, queue: MirrorQueue, header: MirrorBatchHeader, on_handover: OnHandover) -> None:
        self._queue, self.on_handover = queue, on_handover
        self.prefix = b"\x92" + _encoder.encode(header) + b"\xdd"
        self.packed: list[bytes] = []

    def send(self, answer: LoggedAnswer) -> None:
        """Queue one answer; it is dropped if the socket buffer is full or the answer cannot be encoded."""
        try:
            self.packed.append(_encoder.encode(answer))
        except OverflowError:
            self.on_handover(0, 1)
        else:
            self._queue.schedule_flush(self, len(answer.predictions))


def receive(endpoint: socket.socket) -> MirrorBatch | None:
    """The oldest waiting message; None if there is none."""
    try:
        return _decoder.decode(endpoint.recv(MAX_MESSAGE_BYTES))
    except BlockingIOError:
        return None
