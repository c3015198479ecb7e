"""Connections to a listener in this process, without sockets: what is sent and answered is bytes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from uvicorn.server import ServerState

from pipelines.serving.http.listener import ListenerState
from pipelines.serving.http.protocol import LimitedHttpProtocol
from pipelines.serving.http.response import Header, Problem, Response
from pipelines.serving.http.server import create_server, send_response


class Asked(msgspec.Struct):
    problem: Problem | None = None


class Handler:
    """Answers ``/inline`` at once, ``/refused`` with 401, and everything else in a task, ``/slow`` when it may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.callers: list[str] = []

    def begin_request(self, url: bytes, _headers: Sequence[Header], client: tuple[str, int] | None) -> Asked | None:
        self.callers.append(client[0] if client else "")
        if url == b"/inline":
            return Asked()
        return Asked(Problem(401, ["refused"])) if url == b"/refused" else None

    def finish_request(self, request: Asked, body: bytes) -> Response:
        return request.problem.response() if request.problem else Response(200, b"inline %d" % len(body))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path, size = scope["path"], 0
        if path != "/early":
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                size += len(message["body"])
                more = message.get("more_body", False)
        if path == "/slow":
            await self.may_answer.wait()
        await send_response(send, Response(413 if path == "/early" else 200, f"{path[1:]} {size}".encode()))


class Connection(asyncio.Transport):
    """A caller's end of a connection."""

    def __init__(self, listener: Listener, address: str) -> None:
        super().__init__()
        self.received, self.closed = b"", False
        self._peer = (address, 1)
        self._listener = listener
        self.protocol: LimitedHttpProtocol = listener.make_protocol()
        self.protocol.connection_made(self)

    def send(self, content: bytes) -> None:
        if not self.closed:
            self.protocol.data_received(content)

    def leave(self) -> None:
        """Close it from the caller's end."""
        self._lose()

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.received)]

    def write(self, data: Any) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")  # as uvloop does
        self.received += bytes(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self._peer, "sockname": ("127.0.0.1", 80)}.get(name, default)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def _lose(self) -> None:
        if not self.closed:
            self.closed = True
            self.protocol.connection_lost(None)

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Listener:
    """One listener with its limits."""

    def __init__(self, state: ListenerState) -> None:
        self.state, self.handler = state, Handler()
        self.state.inline_handler = self.handler
        self._config = create_server(self.handler, state).config
        self._config.load()
        self._server_state = ServerState()

    def make_protocol(self) -> LimitedHttpProtocol:
        protocol: Any = self._config.http_protocol_class
        made: LimitedHttpProtocol = protocol(self._config, self._server_state, {}, asyncio.get_running_loop())
        return made

    def connect(self, address: str = "192.0.2.1") -> Connection:
        return Connection(self, address)


async def turns(count: int = 20) -> None:
    """Let everything happen that is due now."""
    for _ in range(count):
        await asyncio.sleep(0)


def post(path: str, body: bytes = b"", *fields: str) -> bytes:
    head = "".join(f"{field}\r\n" for field in ("host: a", *fields, f"content-length: {len(body)}"))
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body
