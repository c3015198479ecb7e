"""An open-loop load generator: requests are sent when they are due, whether or not earlier ones were answered.

Latency counts from the moment at which a request was due. So a server that stalls is charged for every delayed request,
which a client that waits for answers would not have sent (coordinated omission).
"""

from __future__ import annotations

import asyncio
import gc
import math
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter  # an event loop's own clock may be too coarse
from typing import cast
from urllib.parse import urlsplit

import httptools

FIRST_BUCKET_MS, BUCKET_GROWTH = 0.01, 1.02
"""Buckets of a histogram grow by 2 %, so that a percentile read from it is at most 2 % too high."""
TIMEOUT_CHECK_SECONDS = 0.05
PREOPENED_CONNECTIONS = 16
"""Connections opened before the start: a server distributes connections, not requests, among its workers."""


@dataclass(frozen=True)
class RequestSchedule:
    """``rps`` requests per second for ``seconds``, growing linearly from 0 during the first ``ramp_up`` of them."""

    rps: float
    seconds: float
    ramp_up: float = 0.0

    @property
    def ramp_requests(self) -> float:
        """Requests of the ramp."""
        return self.rps * self.ramp_up / 2

    @property
    def total(self) -> int:
        return math.floor(self.ramp_requests + self.rps * (self.seconds - self.ramp_up))

    def due(self, number: int) -> float:
        """Seconds from the start at which the request is due; the first has number 0."""
        if number < self.ramp_requests:
            return math.sqrt(2 * number * self.ramp_up / self.rps)
        return self.ramp_up + (number - self.ramp_requests) / self.rps


@dataclass
class Histogram:
    """Latencies in milliseconds; ``unanswered`` counts failed requests, slower than every bucket."""

    counts: dict[int, int] = field(default_factory=dict)
    unanswered: int = 0

    def add(self, latency_ms: float) -> None:
        if math.isinf(latency_ms):
            self.unanswered += 1
            return
        bucket = max(0, math.ceil(math.log(max(latency_ms, FIRST_BUCKET_MS) / FIRST_BUCKET_MS, BUCKET_GROWTH)))
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    @property
    def total(self) -> int:
        return sum(self.counts.values()) + self.unanswered

    def percentile(self, share: float) -> float:
        """Upper edge of its bucket; infinite if that request was not answered, NaN without requests."""
        rank, requests_below = max(1, math.ceil(share * self.total)), 0
        if not self.total:
            return math.nan
        for bucket in sorted(self.counts):
            requests_below += self.counts[bucket]
            if requests_below >= rank:
                return bucket_edge_ms(bucket)
        return math.inf


def bucket_edge_ms(bucket: int) -> float:
    return FIRST_BUCKET_MS * BUCKET_GROWTH**bucket


@dataclass
class SecondCounts:
    """Counts of the requests that were due in one second."""

    sent: int = 0
    answered: int = 0
    errors: int = 0
    worst_ms: float = 0.0


@dataclass
class RequestOutcome:
    """Figures of one test. ``slow`` counts, per limit in milliseconds, plateau requests that were slower or failed."""

    limits: Sequence[float]
    plateau: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    slow: dict[float, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    plateau_errors: int = 0
    sent: int = 0
    answered: int = 0
    wrong_version_answers: int = 0
    unsent: int = 0
    """Requests that were due but not sent before the hard stop."""
    seconds: dict[int, SecondCounts] = field(default_factory=dict)
    elapsed_seconds: float = 0.0
    last_sent: float = 0.0
    stopped: bool = False

    def record(self, due: float, latency_ms: float, error: str, on_plateau: bool) -> None:
        second = self.seconds.setdefault(int(due), SecondCounts())
        second.sent += 1
        if error:
            self.errors[error] = self.errors.get(error, 0) + 1
            second.errors += 1
        else:
            self.answered += 1
            second.answered += 1
            second.worst_ms = max(second.worst_ms, latency_ms)
        if not on_plateau:
            return
        counted = math.inf if error else latency_ms
        self.plateau.add(counted)
        self.plateau_errors += bool(error)
        for limit in self.limits:
            self.slow[limit] = self.slow.get(limit, 0) + (counted > limit)


@dataclass(frozen=True)
class RequestTarget:
    """URL and bodies; ``find_fault`` takes status, headers and body of an answer and returns its fault, or ''."""

    url: str
    bodies: Sequence[bytes]
    find_fault: Callable[[int, dict[bytes, bytes], bytes], str]
    headers: dict[str, str] = field(default_factory=dict)

    def requests(self) -> list[bytes]:
        """Whole HTTP/1.1 requests, one per body."""
        parts = urlsplit(self.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"POST {path} HTTP/1.1", f"host: {parts.netloc}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        head = "\r\n".join(lines)
        return [f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode("latin-1") + body for body in self.bodies]


class Connection(asyncio.Protocol):
    """A kept connection with one request at a time; ``on_end`` is called at the end of each."""

    def __init__(self, on_end: Callable[[Connection, int, dict[bytes, bytes], bytes, str], None]) -> None:
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self.busy = False
        self.due = self.began = 0.0
        self.on_plateau = False
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: bytes, due: float, began: float, on_plateau: bool) -> None:
        self.busy, self.due, self.began, self.on_plateau = True, due, began, on_plateau
        self._headers, self._body, self._parser = {}, bytearray(), httptools.HttpResponseParser(self)
        if self._transport is None:
            self._finish(0, "connection")
        else:
            self._transport.write(request)

    def abort(self, error: str) -> None:
        """Abort the request and the connection."""
        self._finish(0, error)
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # ---- what asyncio calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort("answer")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's form
        self._transport = None
        self._finish(0, "connection")

    # ---- what the parser calls --------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return
        if not self._parser.should_keep_alive() and self._transport is not None:
            self._transport.close()
        self._finish(status, "")

    def _finish(self, status: int, error: str) -> None:
        if self.busy:
            self.busy = False
            self._on_end(self, status, self._headers, bytes(self._body), error)


class OpenLoop:
    """One test. ``stop`` is called about once a second and may end it early; ``max_open``: most requests in flight."""

    def __init__(
        self,
        target: RequestTarget,
        schedule: RequestSchedule,
        limits: Sequence[float],
        *,
        timeout: float,
        max_open: int,
        stop: Callable[[RequestOutcome], bool],
    ) -> None:
        self._target, self._schedule, self._timeout, self._max_open = target, schedule, timeout, max_open
        self._requests, self._should_stop = target.requests(), stop
        self._secure = ssl.create_default_context() if target.url.startswith("https:") else None
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._start = 0.0
        self._in_flight, self._all_sent, self._done = 0, False, asyncio.Event()
        self.outcome = RequestOutcome(limits)

    async def run(self) -> RequestOutcome:
        """Send everything that is due, then wait for the requests in flight, at most twice ``timeout`` seconds."""
        loop = asyncio.get_running_loop()
        sweeper = asyncio.create_task(self._abort_overdue())
        await asyncio.gather(
            *(self._preopen(loop) for _ in range(min(PREOPENED_CONNECTIONS, self._max_open, self._schedule.total)))
        )
        gc.collect()
        gc.disable()
        self._start = perf_counter()
        try:
            await self._send(loop)
            self._all_sent = True
            self._check_done()
            async with asyncio.timeout(2 * self._timeout):
                await self._done.wait()
        except TimeoutError:
            pass  # requests still in flight are aborted below, and counted
        finally:
            gc.enable()
            sweeper.cancel()
            for task in list(self._opening):
                task.cancel()
            for connection in list(self._open):
                connection.abort("timeout")
            await asyncio.sleep(0.01)  # the loop closes what was aborted only when it runs on
            self.outcome.elapsed_seconds = perf_counter() - self._start
        return self.outcome

    async def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        schedule, total, number, stop_checked = self._schedule, self._schedule.total, 0, 0.0
        while number < total:
            due = schedule.due(number)
            now = perf_counter() - self._start
            if now < due:
                await asyncio.sleep(due - now)
                continue
            if now > schedule.seconds + self._timeout:
                self.outcome.unsent = total - number
                return
            if due >= schedule.ramp_up:
                self.outcome.lag.add((now - due) * 1000)
            self.outcome.sent += 1
            self.outcome.last_sent = now
            self._dispatch(loop, self._requests[number % len(self._requests)], due)
            number += 1
            if now - stop_checked >= 1:
                stop_checked = now
                if self._should_stop(self.outcome):
                    self.outcome.stopped = True
                    return
            if number % 64 == 0:
                await asyncio.sleep(0)  # read answers also while the client catches up

    def _dispatch(self, loop: asyncio.AbstractEventLoop, request: bytes, due: float) -> None:
        on_plateau = due >= self._schedule.ramp_up
        self._in_flight += 1
        while self._idle:
            connection = self._idle.popleft()
            if connection.is_open:
                connection.send(request, due, perf_counter() - self._start, on_plateau)
                return
        if len(self._open) + len(self._opening) >= self._max_open:
            self._record(due, math.inf, "overflow", on_plateau)
            return
        task = loop.create_task(self._send_on_new_connection(loop, request, due, on_plateau))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _preopen(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            connection = await self._open_connection(loop)
        except (OSError, TimeoutError):
            return  # the first requests fail in the same way and are counted
        self._open.add(connection)
        self._idle.append(connection)

    async def _open_connection(self, loop: asyncio.AbstractEventLoop) -> Connection:
        parts = urlsplit(self._target.url)
        port = parts.port or (443 if self._secure else 80)
        async with asyncio.timeout(self._timeout):
            _, connection = await loop.create_connection(
                lambda: Connection(self._record_response), parts.hostname or "", port, ssl=self._secure
            )
        return connection

    async def _send_on_new_connection(
        self, loop: asyncio.AbstractEventLoop, request: bytes, due: float, on_plateau: bool
    ) -> None:
        try:
            connection = await self._open_connection(loop)
        except (OSError, TimeoutError):
            self._record(due, math.inf, "connection", on_plateau)
            return
        except asyncio.CancelledError:
            self._record(due, math.inf, "timeout", on_plateau)
            raise
        self._open.add(connection)
        connection.send(request, due, perf_counter() - self._start, on_plateau)

    def _record_response(
        self, connection: Connection, status: int, headers: dict[bytes, bytes], body: bytes, error: str
    ) -> None:
        latency = (perf_counter() - self._start - connection.due) * 1000
        fault = error or self._target.find_fault(status, headers, body)
        if fault == "wrong_version":
            self.outcome.wrong_version_answers += 1
            fault = ""
        self._record(connection.due, latency, fault, connection.on_plateau)
        if not error and connection.is_open:
            self._idle.append(connection)
        else:
            self._open.discard(connection)

    def _record(self, due: float, latency_ms: float, error: str, on_plateau: bool) -> None:
        self.outcome.record(due, latency_ms, error, on_plateau)
        self._in_flight -= 1
        self._check_done()

    def _check_done(self) -> None:
        if self._all_sent and not self._in_flight:
            self._done.set()

    async def _abort_overdue(self) -> None:
        """Abort requests past their timeout; drop connections that the server closed."""
        while True:
            await asyncio.sleep(TIMEOUT_CHECK_SECONDS)
            now = perf_counter() - self._start
            for connection in list(self._open):
                if connection.busy and now - connection.began > self._timeout:
                    connection.abort("timeout")
                elif not connection.busy and not connection.is_open:
                    self._open.discard(connection)
