"""The uvicorn server of both listeners; it imports no model library, so that the supervisor starts fast."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

import msgspec
import uvicorn

from pipelines.serving.http.protocol import ListenerState, limited_protocol
from pipelines.serving.http.response import Response

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Ask = Callable[[str], Awaitable[Mapping[str, Any]]]


class RequestLimits(msgspec.Struct, frozen=True):
    """Of one request, at most."""

    max_bytes: int = 8 * 1024 * 1024
    max_rows: int = 10_000


class SignalFreeServer(uvicorn.Server):
    """Uvicorn without signal handlers of its own: whoever runs it decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(application: Any, watch: ListenerState) -> SignalFreeServer:
    """Uvicorn at its leanest around an ASGI application, whose connections keep the limits of ``watch``."""
    config = uvicorn.Config(
        application,
        http=limited_protocol(watch),
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
    return SignalFreeServer(config)


async def send_whole(send: Send, response: Response) -> None:
    """The answer as ASGI takes it."""
    size = str(len(response.body)).encode()
    headers = [(b"content-type", response.content_type), (b"content-length", size), *response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
