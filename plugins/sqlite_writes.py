"""On SQLite the API server handles one writing request at a time, so that it does not wait for a lock of its own.

Airflow's audit log is written on the event loop. A request whose transaction is open holds SQLite's only write lock,
and needs the event loop in order to commit: a second request whose audit line waits for that lock stops the loop, and
both stand still until SQLite gives up (HTTP 500), however long its timeout is. Other databases lock only rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class OneWriteAtATime:
    """ASGI middleware: requests of a writing method run one after the other, each once its body has come."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._lock = asyncio.Lock()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READING_METHODS:
            await self._app(scope, receive, send)
            return
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())

        async def receive_again() -> Message:
            return messages.pop(0) if messages else await receive()

        async with self._lock:
            await self._app(scope, receive_again, send)


def root_middlewares() -> list[dict[str, Any]]:
    """The middleware where Airflow's database is SQLite, else nothing."""
    from airflow.sdk.configuration import conf

    on_sqlite = conf.get("database", "sql_alchemy_conn", fallback="").startswith("sqlite")
    return [{"name": "one write at a time", "middleware": OneWriteAtATime}] if on_sqlite else []


class SqliteWrites(AirflowPlugin):
    """Registers the middleware."""

    name = "sqlite_writes"
    fastapi_root_middlewares = root_middlewares()
