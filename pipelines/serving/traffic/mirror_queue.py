"""Hands mirrored requests to the shadow worker without blocking; what its socket cannot take is dropped and counted."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec

from pipelines.serving.prediction_log.writer import LoggedAnswer

BYTES = 4 * 1024 * 1024
BATCH_ROWS = 64
BATCH_SECONDS = 0.01
OnHandover = Callable[[int, int], None]
"""Told how many requests were handed over, and how many were dropped."""


class MirrorSource(msgspec.Struct, array_like=True, frozen=True):
    """What the requests of a mirror share; ``version`` is the one that sees them, ``names`` the champion's columns."""

    model: str
    rollout_id: str
    step: int
    version: str
    names: list[str]


class MirroredRequests(msgspec.Struct, array_like=True, frozen=True):
    """Requests with the champion's answers, as they are logged but for masking: the shadow worker predicts by them."""

    source: MirrorSource
    answers: list[LoggedAnswer]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MirroredRequests)


def mirror_sockets() -> tuple[socket.socket, socket.socket]:
    """The end that data workers write into and the end that the shadow worker reads.

    Both outlive every process that uses them, so that neither end ever breaks.
    """
    write, read = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    write.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BYTES)
    write.setblocking(False)
    read.setblocking(False)
    return write, read


class MirrorQueue:
    """The writing end. Requests are handed over some at a time: waking the other process costs more than a request.

    ``schedule(seconds, callback)`` calls back later on the loop.
    """

    def __init__(self, endpoint: socket.socket, schedule: Callable[[float, Callable[[], None]], object]) -> None:
        self._socket, self._schedule = endpoint, schedule
        self._waiting: list[MirrorChannel] = []
        self._rows = 0

    def lane(self, source: MirrorSource, heard: OnHandover) -> MirrorChannel:
        """Where the requests of one mirror are handed in."""
        return MirrorChannel(self, source, heard)

    def took(self, lane: MirrorChannel, rows: int) -> None:
        """A request of so many rows waits in this lane; it is handed over soon."""
        first = not self._waiting
        if len(lane.packed) == 1:
            self._waiting.append(lane)
        self._rows += rows
        if self._rows >= BATCH_ROWS:
            self.flush()
        elif first:
            self._schedule(BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        """Hand over what waits."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        for lane in waiting:
            packed, lane.packed = lane.packed, []
            over = len(packed)
            if not self._put(lane, packed):  # a large one takes none of the others with it
                over = sum(self._put(lane, [answer]) for answer in packed) if over > 1 else 0
            lane.heard(over, len(packed) - over)

    def _put(self, lane: MirrorChannel, packed: list[bytes]) -> bool:
        """The MessagePack of ``MirroredRequests``, made of parts that are packed already."""
        message = b"".join((lane.head, len(packed).to_bytes(4, "big"), *packed))
        if len(message) > BYTES:  # the line may take it, the other end would cut it off
            return False
        try:
            self._socket.send(message)
        except OSError:
            return False
        return True


class MirrorChannel:
    """The requests of one mirror that wait to be handed over; ``heard`` is told what became of them.

    They wait packed: bytes are a tenth of the objects, which the next requests would have to find room beside.
    """

    __slots__ = ("_feed", "head", "heard", "packed")

    def __init__(self, feed: MirrorQueue, source: MirrorSource, heard: OnHandover) -> None:
        self._feed, self.heard = feed, heard
        self.head = b"\x92" + _encoder.encode(source) + b"\xdd"
        self.packed: list[bytes] = []

    def send(self, answer: LoggedAnswer) -> None:
        """Hand it over soon; it is dropped if the line is full or it does not fit."""
        try:
            self.packed.append(_encoder.encode(answer))
        except OverflowError:
            self.heard(0, 1)
        else:
            self._feed.took(self, len(answer.predictions))


def receive(endpoint: socket.socket) -> MirroredRequests | None:
    """The oldest requests on the line; None if it is empty."""
    try:
        return _decoder.decode(endpoint.recv(BYTES))
    except BlockingIOError:
        return None
