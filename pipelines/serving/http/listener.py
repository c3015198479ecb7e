"""The limits of a listener, and what all of its connections in one process share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from pipelines.serving.http.addresses import TrustedProxies
from pipelines.serving.http.response import Header, Problem, Response
from pipelines.serving.http.shares import Holder, Shares

log = logging.getLogger("airworthy.gateway")

SLOW_CHECK_SECONDS = 0.5


class ConnectionLimits(msgspec.Struct, frozen=True):
    """Limits per worker: bytes of a request's head and body, seconds from its first byte to its last, connections.

    ``bytes_in_flight``: of the bodies of all requests that came and are not answered; ``_per_address``: of those of one
    address. ``connections_per_address``: None if an address may have all that nobody else needs.
    """

    header_bytes: int = 64 * 1024
    body_bytes: int = 8 * 1024 * 1024
    request_seconds: float = 30.0
    connections: int = 2000
    bytes_in_flight: int = 128 * 1024 * 1024
    bytes_in_flight_per_address: int = 32 * 1024 * 1024
    connections_per_address: int | None = None


class InlineRequestHandler(Protocol):
    """Answers inline requests: POSTs that are answered in the event loop without an asyncio task of their own."""

    def begin_request(self, url: bytes, headers: Sequence[Header], client: tuple[str, int] | None) -> Any:
        """The request to pass to ``finish_request`` once its body has come; None: it cannot be answered inline."""
        ...

    def finish_request(self, request: Any, body: bytes) -> Response:
        """The response to a request whose body has come."""
        ...


class AnsweringConnection(Protocol):
    """A connection as the answers to its inline requests need it."""

    def write_response(self, response: Response) -> None: ...

    def finish_inline_request(self, *, is_refused: bool) -> None:
        """Uncount an answered inline request; the connection then waits for the next one or closes."""
        ...


QueuedRequest = tuple[AnsweringConnection, Any, bytes, tuple[Holder, int] | None]
"""Connection, request, body, and the bytes that are counted for it, by whom they are held."""


class ListenerState:
    """State that all connections of one listener in one process share; ``inline_handler`` answers inline requests."""

    def __init__(
        self,
        limits: ConnectionLimits,
        on_refusal: Callable[[int], None] = lambda _: None,
        on_shed: Callable[[str], None] = lambda _: None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self.limits = limits
        self.proxies = proxies or TrustedProxies()
        self.shares = Shares(limits.bytes_in_flight)
        self.inline_handler: InlineRequestHandler | None = None
        self.queue: list[QueuedRequest] = []
        """Plain requests that were received in this turn of the event loop, to be answered in the same turn."""
        self.on_refusal = on_refusal
        """Called with the status of each request that the connection itself refuses."""
        self.on_shed = on_shed
        """Called with the limit for whose sake a connection or a request is given up."""
        self.waiting = 0
        """Connections with a request that was received completely and waits for the worker to answer it."""
        self.sweep_scheduled = False


def answer_queued_requests(listener: ListenerState) -> None:
    """Answer every inline request of this turn of the event loop, in the order of arrival."""
    queue, listener.queue = listener.queue, []
    for connection, request, body, held in queue:
        try:
            assert listener.inline_handler is not None
            connection.write_response(listener.inline_handler.finish_request(request, body))
        except Exception as error:  # logged without the values that a traceback could contain
            log.error("a request failed with %s", type(error).__name__)
            connection.write_response(Problem(500, [f"the gateway failed: {type(error).__name__}"]).response())
        finally:
            if held is not None:
                listener.shares.release(*held)
            connection.finish_inline_request(is_refused=request.problem is not None)


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
