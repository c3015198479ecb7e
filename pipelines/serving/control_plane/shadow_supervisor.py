"""Runs a shadow worker while some model is mirrored; its death costs mirrored requests and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from pipelines.serving.control_plane.releases import Releases
from pipelines.serving.ipc.channel import Message
from pipelines.serving.ipc.child import Child, start_child
from pipelines.serving.prediction_log.writer import adopt

log = logging.getLogger("airworthy.gateway")

APPLY_SECONDS = 30.0
NICE = 19
"""The least there is: it runs in what callers leave, and is not starved of everything."""


class ShadowSupervisor:
    """Starts, feeds with tables, and ends the shadow worker. ``handle`` answers its questions."""

    def __init__(
        self,
        folder: Path,
        feed: socket.socket,
        releases: Releases,
        handle: Callable[[Message, list[Child]], Awaitable[Message]],
    ) -> None:
        self._folder, self._feed, self._releases, self._handle = folder, feed, releases, handle
        self._child: Child | None = None
        self._news = asyncio.Event()
        self._stopping = False

    def alive(self) -> list[Child]:
        return [self._child] if self._child is not None and self._child.alive else []

    def changed(self) -> None:
        """There is a new table. Without a mirror in it the process ends at once."""
        self._news.set()
        if not self._is_mirrored() and self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.process.kill()

    def _is_mirrored(self) -> bool:
        return not self._stopping and any(route.mirror for route in self._releases.table.routes.values())

    async def keep(self) -> None:
        """Run for ever."""
        while not self._stopping:
            if not self._is_mirrored():
                self._news.clear()
                await self._news.wait()
                continue
            await self._live()
            if self._is_mirrored():
                log.warning("the shadow worker ended; starting another")
                await asyncio.sleep(0.5)

    async def _live(self) -> None:
        """One process from its start to its end."""
        name = f"shadow-{time.time_ns() // 1000}"
        holder: list[Child] = []
        child = await start_child(
            "pipelines.serving.traffic.shadow_process",
            name,
            [name, str(self._folder)],
            lambda message: self._handle(message, holder),
            share=[self._feed.fileno()],
            niceness=NICE,
        )
        holder.append(child)
        self._child = child
        telling = asyncio.create_task(self._tell(child))
        try:
            await child.process.wait()
        finally:
            telling.cancel()
            self._child = None
            adopt(self._folder / "wal", name)

    async def _tell(self, child: Child) -> None:
        """Give it every new table; one that does not take it is replaced."""
        while True:
            self._news.clear()
            table = self._releases.table
            try:
                answer = await child.channel.ask(
                    {"ask": "apply", "table": msgspec.to_builtins(table)}, timeout=APPLY_SECONDS
                )
            except (ConnectionError, TimeoutError):
                with contextlib.suppress(ProcessLookupError):
                    child.process.kill()
                return
            for model, why in answer.get("refused", {}).items():
                log.error("the shadow worker cannot load the candidate of %s: %s", model, why)
            child.generation = answer.get("generation", -1)
            await self._news.wait()

    async def stop(self) -> None:
        """Complete its log and end it."""
        self._stopping = True
        self._news.set()
        child = self._child
        if child is not None:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await child.channel.ask({"ask": "rotate"}, timeout=5)
            await child.end(0)
