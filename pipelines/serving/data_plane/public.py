"""The public listener: checks credentials, rates and sizes before a request reaches a model."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.loopback import names_this_machine
from pipelines.serving.data_plane.authentication import (
    AuthenticatedClient,
    Authenticator,
    KeySetMissing,
    NotAuthenticated,
)
from pipelines.serving.data_plane.inference import (
    PREDICTION_TIME,
    DataPlane,
    InferenceProtocol,
    PendingRequest,
    match_inference_path,
)
from pipelines.serving.data_plane.pages import PAGES, Pages
from pipelines.serving.data_plane.rate_limit import TokenBuckets
from pipelines.serving.http.addresses import TrustedProxies, share_of
from pipelines.serving.http.content import (
    CODED_HEADERS,
    PLAIN_CONTENT_TYPES,
    check_content,
    is_plain_json,
    read_content,
    too_large_problem,
)
from pipelines.serving.http.listener import ConnectionLimits, ListenerState
from pipelines.serving.http.response import Header, Problem, Response
from pipelines.serving.http.server import AskSupervisor, Receive, Send, send_response
from pipelines.serving.ipc.metrics import WorkerCounters
from pipelines.serving.settings import GatewayConfig

log = logging.getLogger("airworthy.gateway")

Scope = MutableMapping[str, Any]
ANONYMOUS_CLIENT = AuthenticatedClient("anonymous", frozenset({"predict"}))
INFERENCE_SCOPES = frozenset({"predict", "replay", "admin"})
REPLAY_SCOPES = frozenset({"replay", "admin"})
VERSION_HEADER = b"x-model-version"
NOT_INLINE_HEADERS = {VERSION_HEADER, b"x-rollout-probe", b"transfer-encoding", *CODED_HEADERS}
"""A request with one of these headers is answered by ASGI."""
MAX_KNOWN_URLS = 256
"""Per worker; callers choose the names in them."""
PROBED_PAGES = ("health", "ready")
"""Pages that say nothing of a model, and that are asked for by any name."""
AUTHENTICATE_HEADER = (b"www-authenticate", b'Bearer realm="airworthy"')


class PublicApplication:
    """ASGI application of the public listener: checks the caller, then answers predictions and pages.

    ``folder`` is the gateway's state folder. Rates and the limit of waiting requests are this worker's share.
    ``ask_supervisor`` sends a question to the supervisor.
    """

    def __init__(
        self,
        data_plane: DataPlane,
        ask_supervisor: AskSupervisor,
        config: GatewayConfig,
        listener: ListenerState,
        folder: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._data_plane, self._listener, self._clock = data_plane, listener, clock
        self._max_bytes = listener.limits.body_bytes
        self._max_days = None if config.authentication is None else config.limits.prediction_time_days
        auth, rate, share = config.authentication, config.rate, 1 / config.workers
        self._is_undeclared = auth is None
        """Then it listens on loopback alone, and whoever runs a program on this machine may ask."""
        self._anonymous = auth is None or auth.anonymous is not None
        has_checks = auth is not None and bool(auth.keys or auth.jwt)
        self._authenticator = Authenticator(auth, folder, now=now) if auth and has_checks else None
        self._open_pages = set(PAGES.values()) if self._anonymous else {"health", *(auth.open_pages if auth else ())}
        self._failure_buckets = TokenBuckets(auth.failures_per_minute, auth.failures_per_minute) if auth else None
        self._rate_buckets = TokenBuckets(rate.per_minute * share, rate.burst * share) if rate else None
        self._max_waiting = max(1, math.ceil(config.limits.concurrency * share))
        self._known_urls: dict[bytes, tuple[InferenceProtocol, str | None]] = {}
        """Protocol and model of URLs whose requests may be answered inline."""
        self._pages = Pages(data_plane, ask_supervisor, secured=not self._anonymous)
        listener.inline_handler = self

    # ---- inline requests: no task, no messages ------------------------------------------------------------------

    def begin_request(
        self, url: bytes, headers: Sequence[Header], client: tuple[str, int] | None
    ) -> PendingRequest | None:
        """Check the caller of an inline request; a problem is sent after the body. None: not inline."""
        endpoint = self._known_urls.get(url) or self._inline_endpoint(url)
        if endpoint is None or not self._data_plane.table.is_champion_only:
            return None
        fields = dict(headers)
        length = fields.get(b"content-length", b"")
        if not length.isdigit() or int(length) > self._max_bytes or not NOT_INLINE_HEADERS.isdisjoint(fields):
            return None
        if fields.get(b"content-type") not in PLAIN_CONTENT_TYPES:
            return None
        protocol, model = endpoint
        try:
            self._check_origin(fields)
            caller = self._check_caller(fields, client[0] if client else "", is_page=False)
        except Problem as problem:
            return PendingRequest(protocol, model, fields, problem)
        name = None if caller is ANONYMOUS_CLIENT else caller.name
        days = self._prediction_time_days(caller) if PREDICTION_TIME in fields else None
        return PendingRequest(protocol, model, fields, None, None, False, name, days)

    def _inline_endpoint(self, url: bytes) -> tuple[InferenceProtocol, str | None] | None:
        """Protocol and model of a URL for predictions; None for every other one, and for one that names a version."""
        if not url.endswith((b"/invocations", b"/infer")) or b"%" in url or b"?" in url:
            return None
        endpoint = match_inference_path(url.decode("latin-1"))
        if endpoint is None or endpoint[2] is not None:
            return None
        if len(self._known_urls) >= MAX_KNOWN_URLS:
            self._known_urls.clear()
        self._known_urls[url] = known = endpoint[:2]
        return known

    def finish_request(self, request: PendingRequest, body: bytes) -> Response:
        """The response to an inline request whose body has come."""
        problem = request.problem
        if problem is None and self._listener.waiting > self._max_waiting:
            problem = _too_busy()
        return self._data_plane.infer_inline(request, body) if problem is None else self._refuse(problem)

    # ---- everything else: ASGI ---------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            response = await self._answer(scope, receive)
        except Problem as problem:
            response = self._refuse(problem)
        except Exception as error:  # logged without the values that a traceback could contain
            log.error("a request failed with %s", type(error).__name__)
            response = self._refuse(Problem(500, [f"the gateway failed: {type(error).__name__}"]))
        if response is not None:
            await send_response(send, response)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """None if the caller disconnected."""
        path, method, headers = scope["path"], scope["method"], dict(scope["headers"])
        page = PAGES.get(path)
        self._check_origin(headers)
        if self._is_undeclared and method != "POST" and page not in PROBED_PAGES:
            self._check_host(headers)
        client = ANONYMOUS_CLIENT
        if page is None or page not in self._open_pages:
            client = self._check_caller(
                headers, scope["client"][0] if scope["client"] else "", is_page=page is not None
            )
        endpoint = match_inference_path(path) if method == "POST" else None
        if endpoint is None:
            return await self._pages.answer(method, path)
        is_plain = is_plain_json(headers)
        if not is_plain:
            check_content(headers)
        body = await self._read_body(scope, receive)
        if body is None:
            return None
        protocol, model, version = endpoint
        content = body if is_plain else read_content(headers, body, self._max_bytes)
        request = PendingRequest(
            protocol,
            model,
            headers,
            version=version,
            chooses_version="admin" in client.scopes,
            caller=None if client is ANONYMOUS_CLIENT else client.name,
            prediction_time_days=self._prediction_time_days(client),
        )
        growth = len(content) - len(body)
        if growth <= 0:
            return await self._data_plane.infer(request, content)
        with self._listener.shares.holding(growth):
            return await self._data_plane.infer(request, content)

    def _prediction_time_days(self, client: AuthenticatedClient) -> float | None:
        """How far from now the prediction times of this caller may lie; None: any."""
        return self._max_days if REPLAY_SCOPES.isdisjoint(client.scopes) else None

    def _refuse(self, problem: Problem) -> Response:
        self._data_plane.counters.count_request("", "", problem.status, 0, 0.0)
        return problem.response()

    # ---- browsers ---------------------------------------------------------------------------------------------------

    def _check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises ``Problem`` 403 for a page of another site, which a browser lets send forms to this machine."""
        if self._is_undeclared and b"origin" in headers:
            origin = headers[b"origin"].decode("latin-1")
            if not names_this_machine(origin.partition("://")[2]):
                raise _not_for_pages(f"Origin {origin[:80]!r}")

    def _check_host(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises ``Problem`` 403 for another name than this machine's; a browser always sends one."""
        host = headers.get(b"host")
        if host is not None and not names_this_machine(host.decode("latin-1")):
            raise _not_for_pages(f"Host {host.decode('latin-1')[:80]!r}")

    # ---- credentials and rates -----------------------------------------------------------------------------------

    def _check_caller(self, headers: Mapping[bytes, bytes], address: str, *, is_page: bool) -> AuthenticatedClient:
        client = (
            ANONYMOUS_CLIENT if self._authenticator is None else self._identify(self._authenticator, headers, address)
        )
        if "predict" not in client.scopes and INFERENCE_SCOPES.isdisjoint(client.scopes):
            raise Problem(403, ["these credentials do not have the scope predict"])
        if VERSION_HEADER in headers and "admin" not in client.scopes:
            raise Problem(403, ["header x-model-version chooses a version and needs the scope admin"])
        if self._rate_buckets is not None and not is_page:
            name = share_of(address) if client is ANONYMOUS_CLIENT else client.name
            seconds = self._rate_buckets.take(name, self._clock())
            if seconds:
                raise Problem(429, ["too many requests; slow down"], _retry_after(seconds))
        return client

    def _identify(self, access: Authenticator, headers: Mapping[bytes, bytes], address: str) -> AuthenticatedClient:
        client = access.authenticate_by_key(headers)
        if client is not None:
            return client
        has_credentials = b"x-api-key" in headers or b"authorization" in headers
        if not has_credentials and self._anonymous:
            return ANONYMOUS_CLIENT
        now, address = self._clock(), share_of(address)
        if self._failure_buckets is not None and not access.is_verified_token(headers):
            seconds = self._failure_buckets.seconds_until_token(address, now)
            if seconds:
                raise Problem(429, ["too many requests with wrong credentials; slow down"], _retry_after(seconds))
        try:
            return access.authenticate(headers)
        except KeySetMissing:
            raise Problem(503, ["tokens cannot be checked yet; try again"], (b"retry-after", b"5")) from None
        except NotAuthenticated:
            if self._failure_buckets is not None:
                self._failure_buckets.take(address, now)
            fault = "credentials are missing or not valid; send x-api-key or authorization: Bearer"
            raise Problem(401, [fault], AUTHENTICATE_HEADER) from None

    # ---- the body ---------------------------------------------------------------------------------------------

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes | None:
        """None if the caller disconnected."""
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self._max_bytes:
                raise too_large_problem(self._max_bytes)
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
            raise too_large_problem(self._max_bytes)
        if message["type"] == "http.disconnect":
            return None
        if self._listener.waiting > self._max_waiting:
            raise _too_busy()
        return body


def _not_for_pages(named: str) -> Problem:
    remedy = "declare authentication in the file that --config names, which says who may ask"
    return Problem(403, [f"{named} is not this machine, and this gateway asks for no credentials; {remedy}"])


def _too_busy() -> Problem:
    return Problem(503, ["too many requests wait for an answer; try again"], (b"retry-after", b"1"))


def _retry_after(seconds: float) -> Header:
    return b"retry-after", str(max(1, math.ceil(seconds))).encode()


def make_listener_state(config: GatewayConfig, max_bytes: int, counters: WorkerCounters) -> ListenerState:
    """State and limits of one worker's connections; requests that they refuse are counted, too."""
    limits, workers = config.limits, config.workers
    one_request = max_bytes + limits.header_bytes
    most_bytes = max(one_request, limits.bytes_in_flight // workers)
    bytes_per_address = limits.bytes_in_flight_per_address or limits.bytes_in_flight // 4
    per_address = limits.connections_per_address
    share = ConnectionLimits(
        limits.header_bytes,
        max_bytes,
        limits.request_seconds,
        math.ceil(limits.connections / workers),
        most_bytes,
        min(most_bytes, max(one_request, bytes_per_address // workers)),
        None if per_address is None else math.ceil(per_address / workers),
    )
    return ListenerState(
        share,
        lambda status: counters.count_request("", "", status, 0, 0.0),
        counters.count_shed,
        TrustedProxies(config.trusted_proxies),
    )
