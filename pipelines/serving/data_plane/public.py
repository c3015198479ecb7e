"""Nothing reaches a model before the caller is known, within its rate, and its request whole and small enough."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from pipelines.serving.data_plane.authentication import Access, Client, KeysMissing, Unknown
from pipelines.serving.data_plane.inference import JSON, PREFIX, SUFFIX, Application, Live
from pipelines.serving.data_plane.rate_limit import Buckets
from pipelines.serving.http.protocol import Limits, Reply, Watch
from pipelines.serving.http.server import Receive, Send
from pipelines.serving.ipc.metrics import Counters
from pipelines.serving.models import open_inference_protocol
from pipelines.serving.models.mlflow_protocol import BadRequest
from pipelines.serving.models.openapi import document
from pipelines.serving.models.response_cache import HIT
from pipelines.serving.settings import Door

log = logging.getLogger("airworthy.gateway")

Scope = MutableMapping[str, Any]
Header = tuple[bytes, bytes]
OPEN = Client("anonymous", frozenset({"predict"}))
PAGES = {
    "/health": "health",
    "/v2/health/live": "health",
    "/ready": "ready",
    "/ping": "ready",
    "/v2/health/ready": "ready",
    "/metrics": "metrics",
    "/openapi.json": "openapi",
}
OVERRIDE = b"x-model-version"
UNUSUAL = {OVERRIDE, b"x-rollout-probe", b"transfer-encoding"}
"""Headers of requests that are not plain."""
V2, INFER = "/v2/models/", "/infer"
CHALLENGE = (b"www-authenticate", b'Bearer realm="airworthy"')
HIT_HEADER = (b"x-cache", b"hit")


class Stopped(Exception):
    """The request goes no further: answer ``status`` with ``fault``."""

    def __init__(self, status: int, fault: str, *headers: Header) -> None:
        self.status, self.fault, self.headers = status, fault, headers
        super().__init__(fault)


class Asked:
    """A plain request of which the head has come; ``stop`` is what it will be told, if it may not pass."""

    __slots__ = ("headers", "path", "stop")

    def __init__(self, path: str, headers: Mapping[bytes, bytes], stop: Stopped | None = None) -> None:
        self.path, self.headers, self.stop = path, headers, stop


class Front:
    """The ASGI application of the public listener: the door, and behind it ``app``.

    ``folder`` is the gateway's state folder; rates and the bound on waiting requests are this worker's share.
    """

    def __init__(
        self,
        app: Application,
        door: Door,
        watch: Watch,
        folder: Path,
        max_rows: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._app, self._watch, self._clock, self._max_rows = app, watch, clock, max_rows
        self._max_bytes = watch.limits.body_bytes
        declared, share = door.authentication, 1 / door.workers
        self._anonymous = declared is None or declared.anonymous is not None
        self._access = Access(declared, folder, now=now) if declared and (declared.keys or declared.jwt) else None
        self._open = set(PAGES.values()) if self._anonymous else {"health", *(declared.open_pages if declared else ())}
        self._failures = Buckets(declared.failures_per_minute, declared.failures_per_minute) if declared else None
        self._rates = Buckets(door.rate.per_minute * share, door.rate.burst * share) if door.rate else None
        self._waiting = max(1, math.ceil(door.limits.concurrency * share))
        self._marks_hits = door.cache is not None
        self._secured = not self._anonymous
        watch.direct = self

    # ---- plain requests: no task, no messages ------------------------------------------------------------------

    def begin(self, url: bytes, headers: Sequence[Header], client: tuple[str, int] | None) -> Asked | None:
        """The caller is known and within its rate, or is told so once its body has come; None: it is not plain."""
        if not url.endswith(b"/invocations") or not self._app.table.direct or b"%" in url or b"?" in url:
            return None
        found = dict(headers)
        length = found.get(b"content-length", b"")
        if not length.isdigit() or int(length) > self._max_bytes or found.keys() & UNUSUAL:
            return None
        path = url.decode("latin-1")
        if path != SUFFIX and not path.startswith(PREFIX):
            return None
        try:
            self._check_caller(found, client[0] if client else "", is_page=False)
        except Stopped as stop:
            return Asked(path, found, stop)
        return Asked(path, found)

    def finish(self, asked: Asked, body: bytes, reply: Reply) -> None:
        """Answer a plain request whose body has come."""
        stop = asked.stop
        if stop is None and self._watch.waiting > self._waiting:
            stop = _busy()
        if stop is not None:
            self._app.counters.answered("", "", stop.status, 0, 0.0)
            reply(stop.status, stop.headers, orjson.dumps({"error": stop.fault, "faults": [stop.fault]}))
            return
        if self._marks_hits:

            def marked(status: int, headers: Sequence[Header], content: bytes) -> None:
                reply(status, [*headers, HIT_HEADER] if HIT.get() else headers, content)

            HIT.set(False)
            self._app.answer(asked.path, asked.headers, body, marked)
        else:
            self._app.answer(asked.path, asked.headers, body, reply)

    # ---- everything else: ASGI ---------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = _Started(send, self._marks_hits)
        try:
            await self._admit(scope, receive, started)
        except Stopped as stop:
            await self._problem(send, stop.status, [stop.fault], *stop.headers)
        except BadRequest as error:
            await self._problem(send, error.status, error.faults)
        except Exception as error:  # said without the values that a traceback or a message could hold
            log.error("a request failed with %s", type(error).__name__)
            if not started.begun:
                await self._problem(send, 500, [f"the gateway failed: {type(error).__name__}"])

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        page = PAGES.get(path)
        if page is None or page not in self._open:
            self._check_caller(
                dict(scope["headers"]), scope["client"][0] if scope["client"] else "", is_page=page is not None
            )
        if path == "/openapi.json" and scope["method"] in ("GET", "HEAD"):
            await answer(send, 200, orjson.dumps(self._document()))
        elif path.startswith("/v2"):
            await self._v2(path, scope, receive, send)
        elif scope["method"] == "POST":
            body = await self._body(scope, receive)
            if body is not None:
                await self._app(scope, _replayed(body), send)
        else:
            await self._app(scope, receive, send)

    # ---- who asks, and how often -------------------------------------------------------------------------------

    def _check_caller(self, headers: Mapping[bytes, bytes], address: str, *, is_page: bool) -> None:
        client = OPEN if self._access is None else self._identify(self._access, headers, address)
        if "predict" not in client.scopes and "admin" not in client.scopes:
            raise Stopped(403, "these credentials do not have the scope predict")
        if OVERRIDE in headers and "admin" not in client.scopes:
            raise Stopped(403, "header x-model-version chooses a version and needs the scope admin")
        if self._rates is not None and not is_page:
            wait = self._rates.take(address if client is OPEN else client.name, self._clock())
            if wait:
                raise Stopped(429, "too many requests; slow down", _retry_after(wait))

    def _identify(self, access: Access, headers: Mapping[bytes, bytes], address: str) -> Client:
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
                raise Stopped(429, "too many requests with wrong credentials; slow down", _retry_after(wait))
        try:
            return access.of(headers)
        except KeysMissing:
            raise Stopped(503, "tokens cannot be checked yet; try again", (b"retry-after", b"5")) from None
        except Unknown:
            if self._failures is not None:
                self._failures.take(address, now)
            fault = "credentials are missing or not valid; send x-api-key or authorization: Bearer"
            raise Stopped(401, fault, CHALLENGE) from None

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

    def _too_large(self) -> Stopped:
        return Stopped(413, f"the body is larger than {self._max_bytes} bytes; send fewer rows")

    # ---- pages of the door itself ------------------------------------------------------------------------------

    def _document(self) -> dict[str, Any]:
        served = {name: (live.version, live.predictor.manifest.features) for name, live in self._app.table.live.items()}
        return document(served, secured=self._secured)

    async def _v2(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        name, _, verb = path.removeprefix(V2).partition("/") if path.startswith(V2) else ("", "", "")
        infers = path.startswith(V2) and path.endswith(INFER)
        if scope["method"] != ("POST" if infers else "GET"):
            raise Stopped(
                405, "ask for predictions by POST, for pages by GET", (b"allow", b"POST" if infers else b"GET")
            )
        if path == "/v2/health/live":
            await answer(send, 200, b'{"live":true}')
        elif path == "/v2/health/ready":
            status, _, _ = await self._inner(scope, "/ready", "GET", b"")
            await answer(send, 200 if status == 200 else 503, orjson.dumps({"ready": status == 200}))
        elif path in ("/v2", "/v2/"):
            await answer(send, 200, b'{"name":"airworthy","version":"1","extensions":[]}')
        elif name and verb == "infer":
            await self._infer(name, scope, receive, send)
        elif name and verb in ("", "ready"):
            live = self._live(name)
            found = {"name": name, "ready": True}
            if not verb:
                found = open_inference_protocol.metadata(name, live.version, live.predictor.manifest.features)
            await answer(send, 200, orjson.dumps(found))
        else:
            raise Stopped(404, "there is no such page; there are /v2, /v2/health/ready and /v2/models/<model>/infer")

    async def _infer(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        live = self._live(name)
        body = await self._body(scope, receive)
        if body is None:
            return
        translated, number = open_inference_protocol.request(body, live.predictor.manifest.features, self._max_rows)
        status, headers, content = await self._inner(scope, f"{PREFIX}{name}{SUFFIX}", "POST", translated)
        if status == 200:
            version = dict(headers).get(b"x-model-version", b"").decode("latin-1")
            content = open_inference_protocol.response(name, version, number, content)
        kept = [one for one in headers if one[0] not in (b"content-length", b"content-type")]
        await answer(send, status, content, *kept)

    def _live(self, name: str) -> Live:
        table = self._app.table
        if name in table.live:
            return table.live[name]
        if name in table.broken or not table.live:
            raise Stopped(503, f"model {name[:80]!r} cannot be served now")
        raise Stopped(404, f"no model {name[:80]!r} is live; there are {', '.join(table.live)}")

    async def _inner(self, scope: Scope, path: str, method: str, body: bytes) -> tuple[int, list[Header], bytes]:
        """Ask the application behind the door; status, headers and body of its answer."""
        messages: list[MutableMapping[str, Any]] = []

        async def keep(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        await self._app({**scope, "path": path, "method": method}, _replayed(body), keep)
        content = b"".join(message.get("body", b"") for message in messages[1:])
        return messages[0]["status"], list(messages[0]["headers"]), content

    async def _problem(self, send: Send, status: int, faults: list[str], *headers: Header) -> None:
        self._app.counters.answered("", "", status, 0, 0.0)
        error = faults[0] if len(faults) == 1 else f"{len(faults)} faults"
        await answer(send, status, orjson.dumps({"error": error, "faults": faults}), *headers)


def _busy() -> Stopped:
    return Stopped(503, "too many requests wait for an answer; try again", (b"retry-after", b"1"))


class _Started:
    """Passes messages on, remembers whether an answer has begun, and marks one that came from the cache."""

    def __init__(self, send: Send, marks_hits: bool) -> None:
        self._send, self._marks_hits, self.begun = send, marks_hits, False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if not self.begun:
            self.begun = True
            if self._marks_hits and HIT.get():
                message["headers"] = [*message["headers"], HIT_HEADER]
        await self._send(message)


def _replayed(body: bytes) -> Receive:
    """A body that has been received, as ASGI hands it over."""
    messages: list[MutableMapping[str, Any]] = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": body, "more_body": False},
    ]

    async def receive() -> MutableMapping[str, Any]:
        return messages.pop() if len(messages) > 1 else messages[0]

    return receive


def _retry_after(seconds: float) -> Header:
    return b"retry-after", str(max(1, math.ceil(seconds))).encode()


async def answer(send: Send, status: int, body: bytes, *headers: Header) -> None:
    """One whole JSON answer."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [JSON, length, *headers]})
    await send({"type": "http.response.body", "body": body})


def watch_of(door: Door, max_bytes: int, counters: Counters) -> Watch:
    """What one worker's connections have to keep to; what they refuse themselves is counted, too."""
    limits = door.limits
    connections = max(1, math.ceil(limits.connections / door.workers))
    kept = Limits(limits.header_bytes, max_bytes, limits.request_seconds, connections)
    return Watch(kept, lambda status: counters.answered("", "", status, 0, 0.0))
