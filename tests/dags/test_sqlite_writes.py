"""Writing requests to an API server on SQLite never wait for a lock that one of them holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import sqlite_writes
from sqlite_writes import Message, OneWriteAtATime, Receive, Send


class Server:
    """An application whose requests end when the test says so."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.ended: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.may_end = asyncio.Event()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        name = scope["path"]
        self.running.append(name)
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies[name] = body
        await self.may_end.wait()
        self.running.remove(name)
        if name == "/fails":
            raise RuntimeError("the application failed")
        self.ended.append(name)


def incoming(*messages: Message) -> Receive:
    waiting = list(messages or [{"type": "http.request", "body": b"{}"}])

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return receive


async def no_response(_: Message) -> None:
    """The applications of these tests send nothing."""


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def in_a_server(test: Callable[[Server, OneWriteAtATime], Awaitable[None]]) -> None:
    async def run() -> None:
        server = Server()
        await test(server, OneWriteAtATime(server))

    asyncio.run(run())


def request(
    app: OneWriteAtATime, path: str, method: str = "POST", receive: Receive | None = None
) -> asyncio.Task[None]:
    scope = {"type": "http", "method": method, "path": path}
    return asyncio.create_task(app(scope, receive or incoming(), no_response))  # type: ignore[arg-type]


def test_writes_run_one_after_the_other_in_the_order_of_their_coming() -> None:
    async def test(server: Server, app: OneWriteAtATime) -> None:
        tasks = [request(app, f"/{number}", method) for number, method in enumerate(("POST", "PATCH", "DELETE", "PUT"))]
        await settle()
        assert server.running == ["/0"]
        server.may_end.set()
        await asyncio.gather(*tasks)
        assert server.ended == ["/0", "/1", "/2", "/3"]

    in_a_server(test)


def test_reads_wait_for_nobody() -> None:
    async def test(server: Server, app: OneWriteAtATime) -> None:
        tasks = [request(app, "/write"), request(app, "/read", "GET"), request(app, "/look", "HEAD")]
        await settle()
        assert set(server.running) == {"/write", "/read", "/look"}
        server.may_end.set()
        await asyncio.gather(*tasks)

    in_a_server(test)


def test_a_request_whose_body_is_still_coming_holds_nobody_up_and_arrives_whole() -> None:
    async def test(server: Server, app: OneWriteAtATime) -> None:
        server.may_end.set()
        rest = asyncio.Event()
        parts: list[Message] = [
            {"type": "http.request", "body": b"first ", "more_body": True},
            {"type": "http.request", "body": b"second", "more_body": False},
        ]

        async def slow() -> Message:
            if len(parts) == 1:
                await rest.wait()
            return parts.pop(0)

        upload = request(app, "/upload", receive=slow)
        await request(app, "/other")
        assert server.ended == ["/other"]
        rest.set()
        await upload
        assert server.bodies["/upload"] == b"first second"

    in_a_server(test)


def test_a_write_that_fails_lets_the_next_one_on() -> None:
    async def test(server: Server, app: OneWriteAtATime) -> None:
        server.may_end.set()
        with pytest.raises(RuntimeError, match="the application failed"):
            await request(app, "/fails")
        await request(app, "/next")
        assert server.ended == ["/next"]

    in_a_server(test)


@pytest.mark.parametrize(
    ("database", "middlewares"),
    [("sqlite:////var/airflow.db?timeout=60", 1), ("postgresql+psycopg2://airworthy@postgres/airflow", 0)],
)
def test_only_an_airflow_on_sqlite_writes_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, database: str, middlewares: int
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", database)
    assert len(sqlite_writes.root_middlewares()) == middlewares
