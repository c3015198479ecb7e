"""Uvicorn's HTTP protocol with limits on size, time and connections; a request beyond one is refused and cut off."""

from __future__ import annotations

from collections import deque
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pipelines.serving.http.addresses import share_of
from pipelines.serving.http.listener import (
    SLOW_CHECK_SECONDS,
    ListenerState,
    answer_queued_requests,
    end_slow_connections,
)
from pipelines.serving.http.open_transport import OpenTransport
from pipelines.serving.http.response import Problem, Response
from pipelines.serving.http.shares import Holder

MAX_HEADERS = 200
SMALL_BYTES = 16 * 1024
"""A body up to this size that comes at once is not counted: it is answered in the same turn of the event loop."""
MAX_UNANSWERED = 100
"""Requests that one connection may send before the first of them is answered."""
RETRY_AFTER = b"retry-after: 1\r\n"


class LimitedHttpProtocol(HttpToolsProtocol):
    """Uvicorn's protocol with limits, those of a subclass's ``listener``; one timer per listener, none per request."""

    listener: ListenerState
    began_at = 0.0
    """Loop time at which the current request began to arrive; 0 between requests."""
    received_bytes = 0
    """Bytes received since the last complete request, without what came together with its end."""
    piece_bytes = 0
    headers_complete = False
    ended = False
    pending_requests = 0
    blocked_since = 0.0
    idle_since = 0.0
    """Loop time of the last inline response; 0 once more data came."""
    inline_request: Any = None  # whose body is arriving
    arriving_cycle: Any = None  # uvicorn's, of any other request
    body_parts: list[bytes]
    queued_requests = 0
    waiting_inline = 0
    is_waiting = False
    closes_when_answered = False
    deferred_refusal = b""
    """The refusal that is sent once all requests before it are answered."""
    is_silent = True
    host = ""
    peer: Holder
    """Of the address that is connected."""
    holder: Holder
    """Of the address that asks: the peer's, or the one that a trusted proxy names."""
    arriving_bytes = 0
    """Bytes of the request that is arriving which are kept, and counted."""
    uncounted_bytes = 0
    unanswered_bytes: deque[tuple[Holder, int]]
    """Of each ASGI request that came completely and is not answered."""

    # ---- from the transport ------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        listener = self.listener
        self.began_at = self.loop.time()
        self.headers, self.unanswered_bytes = [], deque()
        self.host = host = self.client[0] if self.client else ""
        self.peer = self.holder = listener.shares.holder(share_of(host), is_proxy=listener.proxies.include(host))
        self.peer.users += 1
        listener.shares.enter(self, self.peer)
        if not listener.sweep_scheduled:
            listener.sweep_scheduled = True
            self.loop.call_later(SLOW_CHECK_SECONDS, end_slow_connections, listener, self.loop, self.connections)
        self._find_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.pending_requests = 0
        self.count_waiting()
        while self.unanswered_bytes:
            self.listener.shares.release(*self.unanswered_bytes.popleft())
        self._end()
        self._change_holder(self.peer)
        self.peer.users -= 1
        self.listener.shares.drop_if_empty(self.peer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.ended:
            return
        self.idle_since = 0.0
        self.is_silent = False
        self.piece_bytes = len(data)
        self.received_bytes += self.piece_bytes
        super().data_received(data)
        if self.began_at:  # the request is not complete
            if self.received_bytes > self.listener.limits.header_bytes:
                self._check_size()
            if not self.ended:
                self._hold_incomplete()

    def pause_writing(self) -> None:
        self.blocked_since = self.loop.time()
        self.count_waiting()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.blocked_since = 0.0
        self.count_waiting()
        super().resume_writing()

    # ---- from the parser ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self.headers_complete, self.arriving_cycle = False, None
        if not self.ended:
            self.began_at = self.began_at or self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headers_complete:  # a trailer comes after the check of the headers, and is none of them
            name = name.lower()
            self.headers.append((name, value))
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        self.headers_complete = True
        if self.ended:
            return
        limit = self.listener.limits.header_bytes
        if len(self.headers) > MAX_HEADERS:
            self._refuse_head()
            return
        if self.received_bytes > limit or self.piece_bytes > limit:
            head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head_bytes > limit:
                self._refuse_head()
                return
        if self.pending_requests + self.queued_requests >= MAX_UNANSWERED:
            self.listener.on_shed("unanswered")
            self._refuse(429, f"{MAX_UNANSWERED} requests wait on this connection; read their answers", RETRY_AFTER)
            return
        if self.peer.is_proxy:
            self._find_caller()
            if self.ended:
                return
        handler = self.listener.inline_handler
        if handler is not None and self._can_answer_inline():
            self.inline_request = handler.begin_request(self.url, self.headers, self.client)
            if self.inline_request is not None:
                self.body_parts = []
                return
        self._begin_asgi_request()
        self.arriving_cycle = self.cycle

    def _begin_asgi_request(self) -> None:
        """Give the head to uvicorn, whose scope an inline request does not need."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        cycle: Any = self.cycle
        cycle.transport = OpenTransport(self.transport)  # a task learns of a lost connection a turn later

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
                self.uncounted_bytes += len(body)
                if self.uncounted_bytes > SMALL_BYTES:
                    self._hold(0)
        elif not self.ended and not self.cycle.response_complete:
            self._hold(len(body))
            if not self.ended:
                super().on_body(body)

    def on_message_complete(self) -> None:
        self.began_at, self.received_bytes = 0.0, 0
        if self.ended:
            return
        self.uncounted_bytes = 0
        arriving, self.arriving_bytes = self.arriving_bytes, 0
        if self.inline_request is not None:
            parts, request, self.inline_request = self.body_parts, self.inline_request, None
            self.queued_requests += 1
            if request.problem is None:  # a refused request waits for nothing and keeps nobody else waiting
                self.waiting_inline += 1
                if not self.is_waiting:
                    self.count_waiting()
            listener = self.listener
            if not listener.queue:
                self.loop.call_soon(answer_queued_requests, listener)
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            listener.queue.append((self, request, body, (self.holder, arriving) if arriving else None))
            return
        self.arriving_cycle = None
        if not self.cycle.response_complete:
            self.pending_requests += 1
            self.count_waiting()
            self.unanswered_bytes.append((self.holder, arriving))
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.pending_requests:
            self.pending_requests -= 1
            self.count_waiting()
            self.listener.shares.release(*self.unanswered_bytes.popleft())
        else:  # answered before its body came: what follows of it is not kept
            self._release_arriving()
        super().on_response_complete()
        self._send_deferred_refusal()

    # ---- inline requests ----------------------------------------------------------------------------------------

    def write_response(self, response: Response) -> None:
        if not self.transport.is_closing():
            self.transport.write(response.as_http())

    def finish_inline_request(self, *, is_refused: bool) -> None:
        """Uncount an answered inline request; the connection then waits for the next one or closes."""
        self.queued_requests -= 1
        if not is_refused:
            self.waiting_inline -= 1
            if not self.waiting_inline:
                self.count_waiting()
        self.server_state.total_requests += 1
        if self.deferred_refusal:
            self._send_deferred_refusal()
        elif self.closes_when_answered and not self.queued_requests:
            self.transport.close()
        elif not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.idle_since = self.loop.time()

    def shutdown(self) -> None:
        """Close the connection, after inline requests that have begun are answered."""
        if self.inline_request is not None or self.queued_requests:
            self.closes_when_answered = True
        else:
            super().shutdown()

    # ---- shares of connections and bytes -----------------------------------------------------------------------

    def _find_caller(self) -> None:
        """Count this request for the address that the trusted proxy names."""
        host = self.listener.proxies.caller(self.host, self.headers)
        self.client = host, 0
        arriving = self.arriving_bytes
        self._release_arriving()
        self._change_holder(self.listener.shares.holder(share_of(host)))
        self._hold(arriving)

    def _change_holder(self, holder: Holder) -> None:
        former, self.holder = self.holder, holder
        holder.users += 1
        former.users -= 1
        self.listener.shares.drop_if_empty(former)

    def count_waiting(self) -> None:
        """Count this connection once while it waits for an answer, and not while its caller reads none."""
        is_waiting = bool(self.waiting_inline or self.pending_requests) and not self.blocked_since
        if is_waiting is not self.is_waiting:
            self.is_waiting = is_waiting
            self.listener.waiting += 1 if is_waiting else -1

    @property
    def is_idle(self) -> bool:
        return not self.began_at and not self.is_unanswered

    @property
    def is_unanswered(self) -> bool:
        return bool(self.queued_requests or self.pending_requests)

    def _find_room(self) -> None:
        """Keep the limits of connections: give up another one, or refuse this one."""
        listener, limits = self.listener, self.listener.limits
        most = None if self.peer.is_proxy else limits.connections_per_address
        if most is not None and len(self.peer.connections) > most:
            self.shed("connections_per_address", f"more than {most} connections of your address are open")
        elif listener.shares.connections > limits.connections:
            given_up = listener.shares.displaceable(self, self.peer) or self
            given_up.shed("connections", "too many connections are open")

    def _hold_incomplete(self) -> None:
        """Count what is kept of a request that is still arriving; one that came at once is too short-lived."""
        if self.headers_complete:
            self._hold(0)
        elif len(self.headers) > MAX_HEADERS:
            self._refuse_head()
        else:
            self._hold(max(0, self.received_bytes - self.arriving_bytes))

    def _hold(self, size: int) -> None:
        """Count bytes that are kept. Beyond a limit the address that holds the most gives up a request."""
        holder, shares, limits = self.holder, self.listener.shares, self.listener.limits
        size, self.uncounted_bytes = size + self.uncounted_bytes, 0
        self.arriving_bytes += size
        holder.bytes += size
        shares.bytes += size
        if holder.bytes > limits.bytes_in_flight_per_address:
            most = limits.bytes_in_flight_per_address
            fault = f"requests of your address with more than {most} bytes wait for an answer"
            self.shed("bytes_in_flight_per_address", fault, 429)
        elif shares.bytes > limits.bytes_in_flight:
            given_up = shares.largest_arriving(self)
            given_up.shed("bytes_in_flight", "too many bytes of requests wait for an answer")

    def _release_arriving(self) -> None:
        self.listener.shares.release(self.holder, self.arriving_bytes)
        self.arriving_bytes = 0

    def shed(self, limit: str, fault: str, status: int = 503) -> None:
        """Give up what arrives for the sake of ``limit``, an idle connection without a word."""
        self.listener.on_shed(limit)
        if self.is_idle:
            self._end()
            self.transport.close()
        else:
            self._refuse(status, f"{fault}; try again", RETRY_AFTER)

    def _end(self) -> None:
        """Take nothing more from this connection, and leave its share to others."""
        self.ended, self.began_at, self.uncounted_bytes = True, 0.0, 0
        self._release_arriving()
        self.inline_request, self.body_parts = None, []
        self.listener.shares.leave(self, self.peer)

    # ---- refusals ---------------------------------------------------------------------------------------------

    def _check_size(self) -> None:
        limits = self.listener.limits
        if not self.headers_complete:
            self._refuse_head()
        elif self.received_bytes > limits.header_bytes + 2 * limits.body_bytes:
            self._end()  # it got status 413 and keeps sending
            self.transport.close()

    def _refuse_head(self) -> None:
        limits = f"{self.listener.limits.header_bytes} bytes or {MAX_HEADERS} headers"
        self._refuse(431, f"the request's head is larger than {limits}")

    def end_slow_request(self) -> None:
        """Answer 408 if no response has begun, and close the connection."""
        if self.arriving_cycle is not None and self.arriving_cycle.response_started:
            self._end()
            self.transport.abort()
        elif self.is_silent:
            self._end()
            self.transport.close()
        else:
            seconds = f"{self.listener.limits.request_seconds:g} s"
            self._refuse(408, f"the request was not complete after {seconds}; send faster")

    def _refuse(self, status: int, fault: str, headers: bytes = b"") -> None:
        """Refuse what arrives and close the connection, after the requests before it are answered."""
        arriving = self.arriving_cycle
        is_answered = arriving is not None and arriving.response_complete
        if arriving is not None and self.pipeline and self.pipeline[0][0] is arriving:
            self.pipeline.popleft()  # the refused request is not to be answered in its turn
        self._end()
        self.listener.on_refusal(status)
        body = Problem(status, [fault]).response().body
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n" % len(body)
        if is_answered:
            self.transport.close()
        else:
            self.deferred_refusal = STATUS_LINE[status] + head + headers + b"\r\n" + body
            self._send_deferred_refusal()

    def _send_deferred_refusal(self) -> None:
        if self.deferred_refusal and not self.is_unanswered:
            if not self.transport.is_closing():
                self.transport.write(self.deferred_refusal)
                self.transport.close()
            self.deferred_refusal = b""

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        if not self.ended:
            self._refuse(400, "this is not an HTTP/1.1 request")

    def _unsupported_upgrade_warning(self) -> None:
        """Do not log it: upgrades are not supported, and callers could fill the log."""
