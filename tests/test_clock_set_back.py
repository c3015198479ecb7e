"""A process whose clock is set back while it runs keeps the order of what it records, and its chain.

Parts that take their clock as an argument are tried without a process: guard (``test_guard_loop``), triggers
(``test_trigger``, ``test_partition_arrival``), tasks (``test_actions_by_hand``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from pipelines.adapters.ledger.sql import SqlLedger
from pipelines.settings import REPOSITORY
from tests.debian import debian_library

BACK = "-400d"
LINES = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from pipelines.adapters.incidents.sql import SqlIncidents
from pipelines.adapters.ledger.sql import SqlLedger
from pipelines.incidents.record import take
from pipelines.messages.incident import Finding
from pipelines.testing.ports import FakePorts

address, clock, back = sys.argv[1:]
ledger, ports = SqlLedger(address), FakePorts.make(Path(clock).parent, incidents=SqlIncidents(address))
ports.clock = lambda: datetime.now(UTC)

def step(number, firing):
    ledger.append("gate", "orders", "1", {"outcome": "pass", "number": number}, actor="a", key=f"k{number}")
    take(ports, [Finding(model="orders", kind="drift_fault", subject="price", firing=firing, at=ports.clock(),
                         severity="warning", what="price broke")])
    return ports.clock().isoformat(), [each.status for each in ports.incidents.read()]

steps = [step(0, True)]
Path(clock).write_text(back)
steps += [step(1, True), step(2, False), step(2, False)]
print(json.dumps(steps))
"""


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Path]:
    """What is written into this file sets the clock of the processes that are started with ``faked``."""
    file = tmp_path / "clock"
    file.write_text("+0")
    return file


def faked(clock: Path) -> dict[str, str]:
    """The environment of a process whose clock is set by the file; its monotonic clock goes on, as a kernel's does."""
    return {
        "LD_PRELOAD": debian_library("libfaketime.so.1", "libfaketime"),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def test_the_ledger_and_the_incidents_keep_their_order_and_their_chain(tmp_path: Path, clock: Path) -> None:
    address = f"sqlite:///{tmp_path}/ledger.db"
    command = [sys.executable, "-c", LINES, address, str(clock), BACK]
    environment = os.environ | faked(clock) | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (before, _), (after, _), *_ = steps = json.loads(done.stdout.splitlines()[-1])
    assert (datetime.fromisoformat(before) - datetime.fromisoformat(after)).days == 399
    assert [statuses for _, statuses in steps] == [["open"], ["open"], ["resolved"], ["resolved"]]
    ledger = SqlLedger(address)
    assert [line.details["number"] for line in ledger.entries("orders")] == [0, 1, 2]
    assert ledger.faults() == []
