"""Runs the shadow worker while a model is mirrored; if it dies, only mirrored requests are lost."""

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
from pipelines.serving.prediction_log.writer import complete_segments

log = logging.getLogger("airworthy.gateway")

APPLY_SECONDS = 30.0
NICENESS = 19
"""The lowest priority: it gets the CPU time that the data workers leave."""


class ShadowSupervisor:
    """Starts and ends the shadow worker and sends it routing tables. ``handle`` answers its questions."""

    def __init__(
        self,
        folder: Path,
        mirror_socket: socket.socket,
        releases: Releases,
        handle: Callable[[Message, list[Child]], Awaitable[Message]],
    ) -> None:
        self._folder, self._mirror_socket, self._releases, self._handle = folder, mirror_socket, releases, handle
        self._child: Child | None = None
        self._table_changed = asyncio.Event()
        self._stopping = False

    def live_children(self) -> list[Child]:
        return [self._child] if self._child is not None and self._child.alive else []

    def on_new_table(self) -> None:
        """Announce a new routing table; the process is killed at once if no route has a mirror."""
        self._table_changed.set()
        if not self._is_needed() and self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.process.kill()

    def _is_needed(self) -> bool:
        return not self._stopping and any(route.mirror for route in self._releases.table.routes.values())

    async def run(self) -> None:
        """Keep the process running while it is needed, until ``stop``."""
        while not self._stopping:
            if not self._is_needed():
                self._table_changed.clear()
                await self._table_changed.wait()
                continue
            await self._run_process()
            if self._is_needed():
                log.warning("the shadow worker ended; starting another")
                await asyncio.sleep(0.5)

    async def _run_process(self) -> None:
        """Run one process from its start to its end."""
        name = f"shadow-{time.time_ns() // 1000}"
        child_slot: list[Child] = []
        child = await start_child(
            "pipelines.serving.traffic.shadow_process",
            name,
            [name, str(self._folder)],
            lambda message: self._handle(message, child_slot),
            share=[self._mirror_socket.fileno()],
            niceness=NICENESS,
        )
        child_slot.append(child)
        self._child = child
        sending = asyncio.create_task(self._send_tables(child))
        try:
            await child.process.wait()
        finally:
            sending.cancel()
            self._child = None
            complete_segments(self._folder / "wal", name)

    async def _send_tables(self, child: Child) -> None:
        """Send it every new table; a process that does not accept one is killed and replaced."""
        while True:
            self._table_changed.clear()
            table = self._releases.table
            try:
                answer = await child.channel.ask(
                    {"ask": "apply", "table": msgspec.to_builtins(table)}, timeout=APPLY_SECONDS
                )
            except (ConnectionError, TimeoutError):
                with contextlib.suppress(ProcessLookupError):
                    child.process.kill()
                return
            for model, reason in answer.get("refused", {}).items():
                log.error("the shadow worker cannot load the candidate of %s: %s", model, reason)
            child.generation = answer.get("generation", -1)
            await self._table_changed.wait()

    async def stop(self) -> None:
        """Complete its log and end the process."""
        self._stopping = True
        self._table_changed.set()
        child = self._child
        if child is not None:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await child.channel.ask({"ask": "rotate"}, timeout=5)
            await child.end(0)
