"""The ledger's lines are read once, whoever reads them, also in one file with the incidents."""

from __future__ import annotations

from pathlib import Path

from pipelines.adapters.incidents.sql import SqlIncidents
from pipelines.adapters.ledger.sql import SqlLedger
from pipelines.incidents.record import read_ledger
from pipelines.testing.ports import FakePorts


def test_an_installation_without_a_ledger_yet_is_looked_at_and_its_first_line_counts_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger/ledger.db"
    ports = FakePorts.make(tmp_path, incidents=SqlIncidents(url))
    ports.ledger = SqlLedger(url, clock=ports.clock)
    assert read_ledger(ports) == 0
    ports.ledger.append("rollback_drill", "churn", "1", {"outcome": "fail", "reasons": ["slow"]}, actor="a")
    other = FakePorts.make(tmp_path, incidents=SqlIncidents(url))
    other.ledger = SqlLedger(url, clock=ports.clock)
    assert [read_ledger(ports), read_ledger(other)] == [1, 0]
    assert [incident.count for incident in ports.incidents.read()] == [1]
