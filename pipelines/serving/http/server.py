"""The uvicorn server of both listeners; imports no model library, so that the supervisor starts fast."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

import msgspec
import uvicorn

from pipelines.serving.http.listener import ListenerState
from pipelines.serving.http.protocol import LimitedHttpProtocol
from pipelines.serving.http.response import Response

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AskSupervisor = Callable[[str], Awaitable[Mapping[str, Any]]]


class RequestLimits(msgspec.Struct, frozen=True):
    """Limits of one request for predictions."""

    max_bytes: int = 8 * 1024 * 1024
    max_rows: int = 10_000


class SignalFreeServer(uvicorn.Server):
    """Uvicorn without its own signal handlers; the caller stops it by ``should_exit``."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def create_server(application: Any, listener: ListenerState, tls: ssl.SSLContext | None = None) -> SignalFreeServer:
    """A uvicorn server with few features for an ASGI application; connections keep the limits of ``listener``."""
    config = uvicorn.Config(
        application,
        http=type("LimitedHttpProtocol", (LimitedHttpProtocol,), {"listener": listener}),
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    if tls is not None:
        config.load()
        config.ssl = tls
    return SignalFreeServer(config)


async def send_response(send: Send, response: Response) -> None:
    """Send the response as ASGI messages."""
    size = str(len(response.body)).encode()
    headers = [(b"content-type", response.content_type), (b"content-length", size), *response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
