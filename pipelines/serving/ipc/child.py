"""Starts child processes of the gateway, each with a channel to its parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Sequence

from pipelines.serving.ipc.channel import Channel, Handler
from pipelines.serving.ipc.metrics import Snapshot


class Child:
    """A child process and the channel to it."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, channel: Channel, running: asyncio.Task[None]):
        self.name, self.process, self.channel, self._channel_task = name, process, channel, running
        self.counters: Snapshot = {}
        """Its last reported counters."""
        self.generation = -1
        """Generation of the routing table that it last acknowledged."""
        self.candidates_generation = -1
        """Generation of the routing table whose candidates it has loaded or refused."""

    @property
    def alive(self) -> bool:
        return self.process.returncode is None and not self.channel.closed.is_set()

    async def end(self, seconds: float) -> None:
        """Wait this long for the process to end, then kill it."""
        try:
            await asyncio.wait_for(self.process.wait(), seconds)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        self._channel_task.cancel()


async def start_child(
    module: str, name: str, arguments: Sequence[str], handle: Handler, *, share: Sequence[int] = (), niceness: int = 0
) -> Child:
    """Start ``python -m <module> [shared descriptors] <control descriptor> <arguments>`` at this niceness."""
    ours, theirs = socket.socketpair()
    try:
        descriptors = [*share, theirs.fileno()]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *map(str, descriptors),
            *arguments,
            pass_fds=descriptors,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
    finally:
        theirs.close()
    if niceness:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
    ours.setblocking(False)
    channel = Channel(ours, handle)
    return Child(name, process, channel, asyncio.create_task(channel.run()))
