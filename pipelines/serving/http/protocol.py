"""Uvicorn's HTTP protocol with limits on size, time and connections; a request beyond one is refused and cut off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pipelines.serving.http.response import Header, Problem, Response

log = logging.getLogger("airworthy.gateway")

SLOW_CHECK_SECONDS = 0.5


class ConnectionLimits(msgspec.Struct, frozen=True):
    """Limits per worker: bytes of a request's head and body, seconds from its first byte to its last, connections."""

    header_bytes: int = 64 * 1024
    body_bytes: int = 8 * 1024 * 1024
    request_seconds: float = 30.0
    connections: int = 2000


class InlineRequestHandler(Protocol):
    """Answers inline requests: POSTs that are answered in the event loop without an asyncio task of their own."""

    def begin_request(self, url: bytes, headers: Sequence[Header], client: tuple[str, int] | None) -> Any:
        """The request to pass to ``finish_request`` once its body has come; None: it cannot be answered inline."""
        ...

    def finish_request(self, request: Any, body: bytes) -> Response:
        """The response to a request whose body has come."""
        ...


class ListenerState:
    """State that all connections of one listener in one process share; ``inline_handler`` answers inline requests."""

    def __init__(self, limits: ConnectionLimits, on_refusal: Callable[[int], None] = lambda _: None) -> None:
        self.limits = limits
        self.inline_handler: InlineRequestHandler | None = None
        self.queue: list[tuple[LimitedHttpProtocol, Any, bytes]] = []
        """Plain requests that were received in this turn of the event loop, to be answered in the same turn."""
        self.on_refusal = on_refusal
        """Called with the status of each request that the connection itself refuses."""
        self.waiting = 0
        """Requests that were received completely and are not answered yet."""
        self.sweep_scheduled = False


def make_limited_protocol(listener: ListenerState) -> type[LimitedHttpProtocol]:
    """A protocol for uvicorn whose connections keep the limits of ``listener``."""
    return type("LimitedHttpProtocol", (LimitedHttpProtocol,), {"listener": listener})


class LimitedHttpProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with limits; one timer per listener, none per request."""

    listener: ListenerState
    began_at = 0.0
    """Loop time at which the current request began to arrive; 0 between requests."""
    received_bytes = 0
    """Bytes received since the last complete request."""
    headers_complete = False
    ended = False
    pending_requests = 0
    blocked_since = 0.0
    idle_since = 0.0
    """Loop time of the last inline response; 0 once more data came."""
    inline_request: Any = None
    """The inline request whose body is arriving."""
    body_parts: list[bytes]
    queued_requests = 0
    closes_when_answered = False

    # ---- from the transport ------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.began_at = self.loop.time()
        if not self.listener.sweep_scheduled:
            self.listener.sweep_scheduled = True
            self.loop.call_later(SLOW_CHECK_SECONDS, end_slow_connections, self.listener, self.loop, self.connections)
        if len(self.connections) > self.listener.limits.connections:
            self._refuse(503, "too many connections are open; try again", b"retry-after: 1\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.listener.waiting -= self.pending_requests
        self.pending_requests = 0
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.ended:
            return
        self.idle_since = 0.0
        self.received_bytes += len(data)
        super().data_received(data)
        if self.began_at and self.received_bytes > self.listener.limits.header_bytes and not self.ended:
            self._check_size()

    def pause_writing(self) -> None:
        self.blocked_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.blocked_since = 0.0
        super().resume_writing()

    # ---- from the parser ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.headers_complete = False
        self.began_at = self.began_at or self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headers_complete:  # a trailer comes after the check of the headers, and is none of them
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self.headers_complete = True
        limit = self.listener.limits.header_bytes
        if self.received_bytes > limit and self._head_bytes() > limit:
            self._refuse_head()
        if self.ended:
            return
        handler = self.listener.inline_handler
        if handler is not None and self._can_answer_inline():
            self.inline_request = handler.begin_request(self.url, self.headers, self.client)
            if self.inline_request is not None:
                self.body_parts = []
                return
        super().on_headers_complete()

    def _can_answer_inline(self) -> bool:
        """Whether it is a POST on a connection that stays open and has no unanswered request."""
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
        if self.inline_request is not None:
            if self.inline_request.problem is None:  # the body of a refused request is read and not kept
                self.body_parts.append(body)
        elif not self.ended:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self.began_at, self.received_bytes = 0.0, 0
        if self.ended:
            return
        if self.inline_request is not None:
            parts, request, self.inline_request = self.body_parts, self.inline_request, None
            self.queued_requests += 1
            self.listener.waiting += 1
            if not self.listener.queue:
                self.loop.call_soon(answer_queued_requests, self.listener)
            self.listener.queue.append((self, request, parts[0] if len(parts) == 1 else b"".join(parts)))
            return
        if not self.cycle.response_complete:
            self.pending_requests += 1
            self.listener.waiting += 1
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.pending_requests:
            self.pending_requests -= 1
            self.listener.waiting -= 1
        super().on_response_complete()

    # ---- inline requests ----------------------------------------------------------------------------------------

    def write_response(self, response: Response) -> None:
        if self.transport.is_closing():
            return
        body = response.body
        entity_headers = b"content-type: %b\r\ncontent-length: %d\r\n" % (response.content_type, len(body))
        parts = [STATUS_LINE[response.status], entity_headers]
        for name, value in response.headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n", body)
        self.transport.write(b"".join(parts))

    def finish_inline_request(self) -> None:
        """Uncount an answered inline request; the connection then waits for the next one or closes."""
        self.queued_requests -= 1
        self.listener.waiting -= 1
        self.server_state.total_requests += 1
        if self.closes_when_answered and not self.queued_requests:
            self.transport.close()
        elif not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.idle_since = self.loop.time()

    def shutdown(self) -> None:
        """Close the connection, after inline requests that have begun are answered."""
        if self.inline_request is not None or self.queued_requests:
            self.closes_when_answered = True
        else:
            super().shutdown()

    # ---- refusals ---------------------------------------------------------------------------------------------

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _check_size(self) -> None:
        limits = self.listener.limits
        if not self.headers_complete:
            self._refuse_head()
        elif self.received_bytes > limits.header_bytes + 2 * limits.body_bytes:
            self.ended = True  # it got status 413 and keeps sending
            self.transport.close()

    def _refuse_head(self) -> None:
        self._refuse(431, f"the request's head is larger than {self.listener.limits.header_bytes} bytes")

    def end_slow_request(self) -> None:
        """Answer 408 if no response has begun, and close the connection."""
        is_asgi = self.headers_complete and self.inline_request is None
        if is_asgi and self.cycle is not None and self.cycle.response_started:
            self.ended = True
            self.transport.abort()
        elif self.received_bytes == 0:
            self.transport.close()  # no request was sent
        else:
            self._refuse(
                408, f"the request was not complete after {self.listener.limits.request_seconds:g} s; send faster"
            )

    def _refuse(self, status: int, fault: str, headers: bytes = b"") -> None:
        self.ended = True
        self.listener.on_refusal(status)
        body = Problem(status, [fault]).response().body
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + headers + b"\r\n" + body)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        if not self.ended:
            self._refuse(400, "this is not an HTTP/1.1 request")

    def _unsupported_upgrade_warning(self) -> None:
        """Do not log it: upgrades are not supported, and callers could fill the log."""


def answer_queued_requests(listener: ListenerState) -> None:
    """Answer every inline request of this turn of the event loop, in the order of arrival."""
    queue, listener.queue = listener.queue, []
    for connection, request, body in queue:
        try:
            assert listener.inline_handler is not None
            connection.write_response(listener.inline_handler.finish_request(request, body))
        except Exception as error:  # logged without the values that a traceback could contain
            log.error("a request failed with %s", type(error).__name__)
            connection.write_response(Problem(500, [f"the gateway failed: {type(error).__name__}"]).response())
        finally:
            connection.finish_inline_request()


def end_slow_connections(listener: ListenerState, loop: Any, connections: set[Any]) -> None:
    """End connections that exceed a time limit; call itself again while there are connections."""
    now = loop.time()
    for connection in list(connections):
        keep_alive = connection.timeout_keep_alive
        if connection.began_at and now - connection.began_at > listener.limits.request_seconds:
            connection.end_slow_request()
        elif connection.blocked_since and now - connection.blocked_since > listener.limits.request_seconds:
            connection.transport.abort()
        elif connection.idle_since and not connection.began_at and now - connection.idle_since > keep_alive:
            connection.transport.close()
    listener.sweep_scheduled = bool(connections)
    if connections:
        loop.call_later(SLOW_CHECK_SECONDS, end_slow_connections, listener, loop, connections)
