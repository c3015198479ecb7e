"""One look: takes in the ledger's new lines and what was measured beside them, then sends what is due."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import datetime

from pipelines.incidents.delivery import deliver
from pipelines.incidents.record import pass_time, read_ledger, take
from pipelines.messages.incident import Finding
from pipelines.ports import Ports


def look(ports: Ports, *, observer: str, findings: Sequence[Finding] = (), airflow: str = "") -> dict[str, int]:
    """Take findings in and send messages; returns how many ``lines`` were read and ``messages`` were sent.

    ``observer`` is who looks (``airflow`` or ``watch``): each leaves the time of its look, which the other reads. Two
    may look at the same time.
    """
    lines = read_ledger(ports)
    take(ports, findings)
    pass_time(ports)
    ports.incidents.set_note(f"look/{observer}", ports.clock().isoformat())
    return {"lines": lines, "messages": deliver(ports, holder_name(), airflow=airflow)}


def last_look(ports: Ports, observer: str) -> datetime | None:
    """When this observer looked last; None: never."""
    note = ports.incidents.note(f"look/{observer}")
    return datetime.fromisoformat(note) if note else None


def holder_name() -> str:
    """This process among all that may send."""
    return f"{socket.gethostname()}/{os.getpid()}"
