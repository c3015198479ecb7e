"""Questions and answers between supervisor and children over a socket pair; a closed end raises at the other one."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

LENGTH_PREFIX = struct.Struct("<I")

Message = dict[str, Any]
Handler = Callable[[Message], Awaitable[Message]]


class ChannelClosed(ConnectionError):
    """The other end closed the channel before it answered."""


class Channel:
    """Questions and answers in both directions over one stream socket.

    ``handle`` answers the other end's questions; a question sent by ``ask`` is answered by the other end's ``handle``.
    Questions are handled one by one in the order sent; one with ``"aside": True`` is handled concurrently, for answers
    that take long. An exception in ``handle`` is sent back as ``{"error": text}``.
    """

    def __init__(self, endpoint: socket.socket, handle: Handler) -> None:
        self._socket = endpoint
        self._handle = handle
        self._pending: dict[int, asyncio.Future[Message]] = {}
        self._questions: asyncio.Queue[Message] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._background: set[asyncio.Task[None]] = set()
        self._connected = asyncio.Event()
        self.closed = asyncio.Event()

    async def run(self) -> None:
        """Serve the channel until the other end closes it."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket)
        self._connected.set()
        answer_task = asyncio.create_task(self._answer_questions())
        try:
            await self._read()
        finally:
            for task in (answer_task, *self._background):
                task.cancel()
            self.closed.set()
            self._writer.close()
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(ChannelClosed("the process at the other end has ended"))
            self._pending.clear()

    async def _read(self) -> None:
        while True:
            try:
                (size,) = LENGTH_PREFIX.unpack(await self._reader.readexactly(LENGTH_PREFIX.size))
                message = msgspec.msgpack.decode(await self._reader.readexactly(size))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            if "answers" in message:
                future = self._pending.pop(message["answers"], None)
                if future is not None and not future.done():
                    future.set_result(message["body"])
            else:
                self._questions.put_nowait(message)

    async def _answer_questions(self) -> None:
        while True:
            message = await self._questions.get()
            if message["body"].get("aside"):
                task = asyncio.create_task(self._handle_question(message))
                self._background.add(task)
                task.add_done_callback(self._background.discard)
            else:
                await self._handle_question(message)

    async def _handle_question(self, message: Message) -> None:
        try:
            body = await self._handle(message["body"])
        except Exception as error:  # the other end must get every error
            body = {"error": f"{type(error).__name__}: {error}"}
        self._send({"answers": message["number"], "body": body})

    def _send(self, message: Message) -> None:
        content = msgspec.msgpack.encode(message)
        self._writer.write(LENGTH_PREFIX.pack(len(content)) + content)

    async def ask(self, body: Message, *, timeout: float) -> Message:  # noqa: ASYNC109 - a deadline for one answer
        """Answer of the other end. Raises ``ChannelClosed`` if it has ended, ``TimeoutError`` if it is late."""
        if self.closed.is_set():
            raise ChannelClosed("the process at the other end has ended")
        await self._connected.wait()
        number = next(self._numbers)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            self._send({"number": number, "body": body})
            return await asyncio.wait_for(future, timeout)
        finally:
            self._pending.pop(number, None)
