"""Uvicorn's HTTP protocol with limits on size, time and connections; whatever exceeds one is refused and cut off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pipelines.serving.http.response import Header, Problem, Response

log = logging.getLogger("airworthy.gateway")

SWEEP_SECONDS = 0.5


class ConnectionLimits(msgspec.Struct, frozen=True):
    """Of one worker: bytes of a request's head and body, seconds from its first byte to its last, connections."""

    header_bytes: int = 64 * 1024
    body_bytes: int = 8 * 1024 * 1024
    request_seconds: float = 30.0
    connections: int = 2000


class DirectAnswers(Protocol):
    """Answers plain requests without a task of their own."""

    def begin(self, url: bytes, headers: Sequence[Header], client: tuple[str, int] | None) -> Any:
        """What to remember of this request until its body is there; None: it is not plain."""
        ...

    def finish(self, request: Any, body: bytes) -> Response:
        """The answer, now that the body is there."""
        ...


class ListenerState:
    """What the connections of one listener in one process share. ``direct``: who answers plain requests, if anybody."""

    def __init__(self, limits: ConnectionLimits, refused: Callable[[int], None] = lambda _: None) -> None:
        self.limits = limits
        self.direct: DirectAnswers | None = None
        self.queue: list[tuple[LimitedHttpProtocol, Any, bytes]] = []
        """Plain requests that have been received and are answered in this turn of the loop."""
        self.refused = refused
        """Called with the status of each request that is answered before there was one to hand over."""
        self.waiting = 0
        """Requests that have been received to their last byte and are not answered yet."""
        self.sweeping = False


def limited_protocol(watch: ListenerState) -> type[LimitedHttpProtocol]:
    """A protocol for uvicorn whose connections keep the limits of ``watch``."""
    return type("Guarded", (LimitedHttpProtocol,), {"watch": watch})


class LimitedHttpProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with limits; there is one timer per listener and none per request."""

    watch: ListenerState
    began = 0.0
    """Loop time at which the request that is being received began; 0 between requests."""
    seen = 0
    """Bytes received since the last complete request."""
    headed = False
    over = False
    pending = 0
    stuck = 0.0
    idle = 0.0
    """Loop time at which the last plain request was answered; 0 if something came after it."""
    plain: Any = None
    """The plain request whose body is being received."""
    parts: list[bytes]
    queued = 0
    ending = False

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
        self.idle = 0.0
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
        if self.over:
            return
        direct = self.watch.direct
        if direct is not None and self._is_plain():
            self.plain = direct.begin(self.url, self.headers, self.client)
            if self.plain is not None:
                self.parts = []
                return
        super().on_headers_complete()

    def _is_plain(self) -> bool:
        """A POST on a connection that stays open, where nothing before it still waits for its answer."""
        parser, cycle = self.parser, self.cycle
        return (
            parser.get_method() == b"POST"
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
            and not self.expect_100_continue
            and (cycle is None or cycle.response_complete)
            and not self.flow.write_paused
        )

    def on_body(self, body: bytes) -> None:
        if self.plain is not None:
            self.parts.append(body)
        elif not self.over:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self.began, self.seen = 0.0, 0
        if self.over:
            return
        if self.plain is not None:
            parts, request, self.plain = self.parts, self.plain, None
            self.queued += 1
            self.watch.waiting += 1
            if not self.watch.queue:
                self.loop.call_soon(flush, self.watch)
            self.watch.queue.append((self, request, parts[0] if len(parts) == 1 else b"".join(parts)))
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

    # ---- plain requests ----------------------------------------------------------------------------------------

    def reply(self, response: Response) -> None:
        if self.transport.is_closing():
            return
        body = response.body
        kind = b"content-type: %b\r\ncontent-length: %d\r\n" % (response.content_type, len(body))
        parts = [STATUS_LINE[response.status], kind]
        for name, value in response.headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n", body)
        self.transport.write(b"".join(parts))

    def replied(self) -> None:
        """One plain request less; the connection waits for the next one, or ends."""
        self.queued -= 1
        self.watch.waiting -= 1
        self.server_state.total_requests += 1
        if self.ending and not self.queued:
            self.transport.close()
        elif not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.idle = self.loop.time()

    def shutdown(self) -> None:
        """A plain request that has begun is answered first."""
        if self.plain is not None or self.queued:
            self.ending = True
        else:
            super().shutdown()

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
        if self.headed and self.plain is None and self.cycle is not None and self.cycle.response_started:
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
        body = Problem(status, [fault]).response().body
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + headers + b"\r\n" + body)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        if not self.over:
            self._refuse(400, "this is no HTTP/1.1 request")

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing is upgraded here, and a stranger does not fill the log by asking for it."""


def flush(watch: ListenerState) -> None:
    """Answer every plain request that came in this turn of the loop, in the order in which they were complete."""
    queue, watch.queue = watch.queue, []
    for connection, request, body in queue:
        try:
            assert watch.direct is not None
            connection.reply(watch.direct.finish(request, body))
        except Exception as error:  # said without the values that a traceback or a message could hold
            log.error("a request failed with %s", type(error).__name__)
            connection.reply(Problem(500, [f"the gateway failed: {type(error).__name__}"]).response())
        finally:
            connection.replied()


def sweep(watch: ListenerState, loop: Any, connections: set[Any]) -> None:
    """End what takes too long, and look again later while there is anything to look at."""
    now = loop.time()
    for connection in list(connections):
        if connection.began and now - connection.began > watch.limits.request_seconds:
            connection.too_slow()
        elif connection.stuck and now - connection.stuck > watch.limits.request_seconds:
            connection.transport.abort()
        elif connection.idle and not connection.began and now - connection.idle > connection.timeout_keep_alive:
            connection.transport.close()
    watch.sweeping = bool(connections)
    if connections:
        loop.call_later(SWEEP_SECONDS, sweep, watch, loop, connections)
