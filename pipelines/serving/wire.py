"""No connection can hold a worker: slow, endless and idle ones are cut off, and others do not wait for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

SWEEP_SECONDS = 0.5


class Limits(msgspec.Struct, frozen=True):
    """Of one worker: bytes of a request's head and body, seconds from its first byte to its last, connections."""

    header_bytes: int = 64 * 1024
    body_bytes: int = 8 * 1024 * 1024
    request_seconds: float = 30.0
    connections: int = 2000


class Watch:
    """What the connections of one listener in one process share."""

    def __init__(self, limits: Limits, refused: Callable[[int], None] = lambda _: None) -> None:
        self.limits = limits
        self.refused = refused
        """Called with the status of each request that is answered before there was one to hand over."""
        self.waiting = 0
        """Requests that have been received to their last byte and are not answered yet."""
        self.sweeping = False


def guarded(watch: Watch) -> type[Guarded]:
    """A protocol for uvicorn whose connections keep the limits of ``watch``."""
    return type("Guarded", (Guarded,), {"watch": watch})


class Guarded(HttpToolsProtocol):
    """Uvicorn's protocol with limits; there is one timer per listener and none per request."""

    watch: Watch
    began = 0.0
    """Loop time at which the request that is being received began; 0 between requests."""
    seen = 0
    """Bytes received since the last complete request."""
    headed = False
    over = False
    pending = 0
    stuck = 0.0

    # ---- from the transport ------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.began = self.loop.time()
        if not self.watch.sweeping:
            self.watch.sweeping = True
            self.loop.call_later(SWEEP_SECONDS, sweep, self.watch, self.loop, self.connections)
        if len(self.connections) > self.watch.limits.connections:
            self._refuse(503, "too many connections are open; try again", b"retry-after: 1\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.watch.waiting -= self.pending
        self.pending = 0
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.over:
            return
        self.seen += len(data)
        super().data_received(data)
        if self.began and self.seen > self.watch.limits.header_bytes and not self.over:
            self._check_size()

    def pause_writing(self) -> None:
        self.stuck = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.stuck = 0.0
        super().resume_writing()

    # ---- from the parser ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.headed = False
        self.began = self.began or self.loop.time()

    def on_headers_complete(self) -> None:
        self.headed = True
        if self.seen > self.watch.limits.header_bytes and self._head() > self.watch.limits.header_bytes:
            self._too_long()
        if not self.over:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self.over:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self.began, self.seen = 0.0, 0
        if self.over:
            return
        if not self.cycle.response_complete:
            self.pending += 1
            self.watch.waiting += 1
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.pending:
            self.pending -= 1
            self.watch.waiting -= 1
        super().on_response_complete()

    # ---- what is cut off ---------------------------------------------------------------------------------------

    def _head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _check_size(self) -> None:
        limits = self.watch.limits
        if not self.headed:
            self._too_long()
        elif self.seen > limits.header_bytes + 2 * limits.body_bytes:
            self.over = True  # it was told 413 one body ago and goes on
            self.transport.close()

    def _too_long(self) -> None:
        self._refuse(431, f"the request's head is larger than {self.watch.limits.header_bytes} bytes")

    def too_slow(self) -> None:
        """Answer 408 if nothing was answered yet, and end the connection."""
        if self.headed and self.cycle is not None and self.cycle.response_started:
            self.over = True
            self.transport.abort()
        elif self.seen == 0:
            self.transport.close()  # it never asked anything
        else:
            self._refuse(
                408, f"the request was not complete after {self.watch.limits.request_seconds:g} s; send faster"
            )

    def _refuse(self, status: int, fault: str, headers: bytes = b"") -> None:
        self.over = True
        self.watch.refused(status)
        body = orjson.dumps({"error": fault, "faults": [fault]})
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + headers + b"\r\n" + body)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        if not self.over:
            self._refuse(400, "this is no HTTP/1.1 request")

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing is upgraded here, and a stranger does not fill the log by asking for it."""


def sweep(watch: Watch, loop: Any, connections: set[Any]) -> None:
    """End what takes too long, and look again later while there is anything to look at."""
    now = loop.time()
    for one in list(connections):
        if one.began and now - one.began > watch.limits.request_seconds:
            one.too_slow()
        elif one.stuck and now - one.stuck > watch.limits.request_seconds:
            one.transport.abort()
    watch.sweeping = bool(connections)
    if connections:
        loop.call_later(SWEEP_SECONDS, sweep, watch, loop, connections)
