"""Nothing reaches a model before the caller is known, within its rate, and its request whole and small enough."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.serving.data_plane.authentication import (
    AuthenticatedClient,
    Authenticator,
    KeysMissing,
    NotAuthenticated,
)
from pipelines.serving.data_plane.inference import DataPlane, PendingRequest, inference_endpoint
from pipelines.serving.data_plane.pages import PAGES, Pages
from pipelines.serving.data_plane.rate_limit import TokenBuckets
from pipelines.serving.http.protocol import ConnectionLimits, ListenerState
from pipelines.serving.http.response import Header, Problem, Response
from pipelines.serving.http.server import Ask, Receive, Send, send_whole
from pipelines.serving.ipc.metrics import WorkerCounters
from pipelines.serving.settings import GatewayConfig

log = logging.getLogger("airworthy.gateway")

Scope = MutableMapping[str, Any]
OPEN = AuthenticatedClient("anonymous", frozenset({"predict"}))
OVERRIDE = b"x-model-version"
UNUSUAL = {OVERRIDE, b"x-rollout-probe", b"transfer-encoding"}
"""Headers of requests that are not plain."""
CHALLENGE = (b"www-authenticate", b'Bearer realm="airworthy"')


class PublicApplication:
    """The application of the public listener: the door, and behind it predictions and pages.

    ``folder`` is the gateway's state folder; rates and the bound on waiting requests are this worker's share. ``ask``
    puts a question to the supervisor.
    """

    def __init__(
        self,
        data_plane: DataPlane,
        ask: Ask,
        door: GatewayConfig,
        watch: ListenerState,
        folder: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._data_plane, self._watch, self._clock = data_plane, watch, clock
        self._max_bytes = watch.limits.body_bytes
        declared, share = door.authentication, 1 / door.workers
        self._anonymous = declared is None or declared.anonymous is not None
        self._access = (
            Authenticator(declared, folder, now=now) if declared and (declared.keys or declared.jwt) else None
        )
        self._open = set(PAGES.values()) if self._anonymous else {"health", *(declared.open_pages if declared else ())}
        self._failures = TokenBuckets(declared.failures_per_minute, declared.failures_per_minute) if declared else None
        self._rates = TokenBuckets(door.rate.per_minute * share, door.rate.burst * share) if door.rate else None
        self._waiting = max(1, math.ceil(door.limits.concurrency * share))
        self._pages = Pages(data_plane, ask, secured=not self._anonymous)
        watch.direct = self

    # ---- plain requests: no task, no messages ------------------------------------------------------------------

    def begin(self, url: bytes, headers: Sequence[Header], client: tuple[str, int] | None) -> PendingRequest | None:
        """The caller is known and within its rate, or is told so once its body has come; None: it is not plain."""
        if not url.endswith((b"/invocations", b"/infer")) or not self._data_plane.table.direct:
            return None
        fields = dict(headers)
        length = fields.get(b"content-length", b"")
        if not length.isdigit() or int(length) > self._max_bytes or not UNUSUAL.isdisjoint(fields):
            return None
        endpoint = None if b"%" in url or b"?" in url else inference_endpoint(url.decode("latin-1"))
        if endpoint is None:
            return None
        protocol, model = endpoint
        try:
            self._check_caller(fields, client[0] if client else "", is_page=False)
        except Problem as problem:
            return PendingRequest(protocol, model, fields, problem)
        return PendingRequest(protocol, model, fields)

    def finish(self, request: PendingRequest, body: bytes) -> Response:
        """The answer to a plain request whose body has come."""
        problem = request.problem
        if problem is None and self._watch.waiting > self._waiting:
            problem = _busy()
        return self._data_plane.infer_at_once(request, body) if problem is None else self._refused(problem)

    # ---- everything else: ASGI ---------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            response = await self._answer(scope, receive)
        except Problem as problem:
            response = self._refused(problem)
        except Exception as error:  # said without the values that a traceback or a message could hold
            log.error("a request failed with %s", type(error).__name__)
            response = self._refused(Problem(500, [f"the gateway failed: {type(error).__name__}"]))
        if response is not None:
            await send_whole(send, response)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """None if the caller went away."""
        path, method, headers = scope["path"], scope["method"], dict(scope["headers"])
        page = PAGES.get(path)
        if page is None or page not in self._open:
            self._check_caller(headers, scope["client"][0] if scope["client"] else "", is_page=page is not None)
        endpoint = inference_endpoint(path) if method == "POST" else None
        has_body = endpoint is not None or (method == "POST" and not path.startswith("/v2"))
        body = await self._body(scope, receive) if has_body else b""
        if body is None:
            return None
        if endpoint is None:
            return await self._pages.answer(method, path)
        return await self._data_plane.infer(PendingRequest(*endpoint, headers), body)

    def _refused(self, problem: Problem) -> Response:
        self._data_plane.counters.answered("", "", problem.status, 0, 0.0)
        return problem.response()

    # ---- who asks, and how often -------------------------------------------------------------------------------

    def _check_caller(self, headers: Mapping[bytes, bytes], address: str, *, is_page: bool) -> None:
        client = OPEN if self._access is None else self._identify(self._access, headers, address)
        if "predict" not in client.scopes and "admin" not in client.scopes:
            raise Problem(403, ["these credentials do not have the scope predict"])
        if OVERRIDE in headers and "admin" not in client.scopes:
            raise Problem(403, ["header x-model-version chooses a version and needs the scope admin"])
        if self._rates is not None and not is_page:
            wait = self._rates.take(address if client is OPEN else client.name, self._clock())
            if wait:
                raise Problem(429, ["too many requests; slow down"], _retry_after(wait))

    def _identify(self, access: Authenticator, headers: Mapping[bytes, bytes], address: str) -> AuthenticatedClient:
        known = access.by_key(headers)
        if known is not None:
            return known
        sent = b"x-api-key" in headers or b"authorization" in headers
        if not sent and self._anonymous:
            return OPEN
        now = self._clock()
        if self._failures is not None and not access.is_familiar(headers):
            wait = self._failures.empty(address, now)
            if wait:
                raise Problem(429, ["too many requests with wrong credentials; slow down"], _retry_after(wait))
        try:
            return access.of(headers)
        except KeysMissing:
            raise Problem(503, ["tokens cannot be checked yet; try again"], (b"retry-after", b"5")) from None
        except NotAuthenticated:
            if self._failures is not None:
                self._failures.take(address, now)
            fault = "credentials are missing or not valid; send x-api-key or authorization: Bearer"
            raise Problem(401, [fault], CHALLENGE) from None

    # ---- the whole body, if it is small enough -----------------------------------------------------------------

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """None if the caller went away."""
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._max_bytes:
                raise self._too_large()
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            parts, size = [body], len(body)
            while message.get("more_body") and size <= self._max_bytes:
                message = await receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
            body = b"".join(parts)
        if len(body) > self._max_bytes:
            raise self._too_large()
        if message["type"] == "http.disconnect":
            return None
        if self._watch.waiting > self._waiting:
            raise _busy()
        return body

    def _too_large(self) -> Problem:
        return Problem(413, [f"the body is larger than {self._max_bytes} bytes; send fewer rows"])


def _busy() -> Problem:
    return Problem(503, ["too many requests wait for an answer; try again"], (b"retry-after", b"1"))


def _retry_after(seconds: float) -> Header:
    return b"retry-after", str(max(1, math.ceil(seconds))).encode()


def listener_state(door: GatewayConfig, max_bytes: int, counters: WorkerCounters) -> ListenerState:
    """What one worker's connections have to keep to; what they refuse themselves is counted, too."""
    limits = door.limits
    connections = max(1, math.ceil(limits.connections / door.workers))
    share = ConnectionLimits(limits.header_bytes, max_bytes, limits.request_seconds, connections)
    return ListenerState(share, lambda status: counters.answered("", "", status, 0, 0.0))
