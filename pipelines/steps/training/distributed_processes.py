"""Starts the ranks of a distributed training on this machine, reads their events, and ends them all together."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

RANK_MODULE = "pipelines.pod.training_rank"
EXIT_WAIT_SECONDS = 20.0
"""How long a rank whose work is done may take to exit."""
RankEvent = tuple[str, dict[str, Any]]
"""A task's name and one event of it; the last is ``{"ended": exit status}``."""


class Ranks:
    """Ranks on this machine, as a context: at its end all of them are killed."""

    def __init__(self) -> None:
        self._events: queue.Queue[RankEvent] = queue.Queue()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, task: str, folder: Path, host: str, port: int, wait_seconds: float, environment: Mapping[str, str]
    ) -> None:
        """Start one rank; ``environment`` is added to this process's."""
        reading, writing = os.pipe()
        command = [sys.executable, "-m", RANK_MODULE, *map(str, (folder, host, port, task, writing, int(wait_seconds)))]
        inherited = {name: value for name, value in os.environ.items() if name != "AIRWORTHY_RUN"}
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, pass_fds=(writing,), env={**inherited, **environment}
            )
        finally:
            os.close(writing)
        self._running[task] = process
        threading.Thread(target=self._read_events, args=(task, process, reading), daemon=True).start()

    def next_event(self, seconds: float | None = None) -> RankEvent | None:
        """The next event of any rank; None if there was none for ``seconds``."""
        try:
            return self._events.get(timeout=seconds)
        except queue.Empty:
            return None

    def wait_to_end(self) -> None:
        """Wait for the ranks that are done to exit, up to ``EXIT_WAIT_SECONDS`` each."""
        for process in self._running.values():
            try:
                process.wait(EXIT_WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                return

    def _read_events(self, task: str, process: subprocess.Popen[bytes], reading: int) -> None:
        with os.fdopen(reading, "rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # a rank killed while it wrote leaves half a line
                    self._events.put((task, json.loads(line)))
        self._events.put((task, {"ended": process.wait()}))

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
            if process.stdin:
                process.stdin.close()


def describe_exit(status: int) -> str:
    """``exit status 1``, or ``signal SIGKILL`` for a negative status."""
    if status >= 0:
        return f"exit status {status}"
    return f"signal {signal.Signals(-status).name}"
