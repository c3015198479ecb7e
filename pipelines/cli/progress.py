"""Shows the progress of long work: a live line on a terminal, in a log at most a line every ten seconds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from rich.console import Console

from pipelines.errors import Unavailable

LOG_SECONDS = 10.0
LOG_WIDTH, TEXT_WIDTH = 140, 80
"""Of a log of no declared width: with tables, and with sentences alone."""
POLL_SECONDS = 1.0


def open_console(log_width: int = LOG_WIDTH) -> Console:
    """As wide as ``COLUMNS`` says or else the terminal is; a log of no declared width has room for its tables."""
    console = Console()
    has_width = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return console if has_width else Console(width=log_width)


class Progress:
    """Prints stages, notes and the progress of each wait."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()

    def begin_part(self, title: str) -> None:
        """Begin a new part of the work."""
        self.console.print(f"[bold]{self.clock()}  {title}[/bold]", highlight=False)

    def print_note(self, text: str) -> None:
        self.console.print(f"       {text}", highlight=False)

    def clock(self) -> str:
        """Time since the beginning, as mm:ss."""
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes:02d}:{seconds:02d}"

    def wait(self, poll: Callable[[], tuple[bool, str]], *, timeout: float, what: str) -> None:
        """Call ``poll`` until it returns true and a status line; what does not answer is asked again.

        ``Unavailable`` with the last status when that has not changed for ``timeout`` seconds: a slow machine takes
        its time, as long as it goes on.
        """
        seen, deadline = "", time.monotonic() + timeout
        last_line, last_time = "", float("-inf")
        with self.console.status(what) as status:
            while True:
                try:
                    done, line = poll()
                except Unavailable as error:
                    done, line = False, str(error)
                if line != seen:
                    seen, deadline = line, time.monotonic() + timeout
                status.update(f"{self.clock()}  {line}")
                due = done or time.monotonic() - last_time > LOG_SECONDS
                if not self.console.is_terminal and line != last_line and due:
                    self.console.print(f"  {self.clock()}  {line}", highlight=False)
                    last_line, last_time = line, time.monotonic()
                if done:
                    return
                if time.monotonic() > deadline:
                    raise Unavailable(f"{what} was not done, and nothing changed for {timeout:.0f} s; status: {line}")
                time.sleep(POLL_SECONDS)
