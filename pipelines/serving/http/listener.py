"""The limits of a listener, and what all of its connections in one process share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from pipelines.serving.http.addresses import TrustedProxies
from pipelines.serving.http.response import Header, Response
from pipelines.serving.http.shares import Holder, Shares


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

    def finish_inline_request(self) -> None:
        """Uncount an answered inline request; the connection then waits for the next one or closes."""
        ...


QueuedRequest = tuple[AnsweringConnection, Any, bytes, tuple[Holder, int]]
"""Connection, request, body, and the bytes that are held for it by an address."""


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
        """Requests that were received completely and are not answered yet."""
        self.sweep_scheduled = False
