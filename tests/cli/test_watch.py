"""`airworthy watch --once` says what its look did, and by its exit code whether it succeeded."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.adapters.incidents.sql import SqlIncidents
from pipelines.cli import watch
from pipelines.cli.main import parser
from pipelines.errors import EXIT_UNAVAILABLE
from pipelines.testing.ports import FakePorts, MemoryLedger


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePorts:
    made = FakePorts.make(tmp_path, incidents=SqlIncidents(f"sqlite:///{tmp_path}/ledger.db"))
    made.ledger = MemoryLedger(made.clock)
    made.settings = made.settings.model_copy(update={"gateway": "http://127.0.0.1:9"})  # nobody listens there
    monkeypatch.setattr(watch, "open_ports", lambda settings, connections: made)
    return made


def test_one_look_says_what_it_read_and_sent_and_how_many_incidents_are_open(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    ports.ledger.append("gate", model="flight_delay", version="1", actor="test", details={})
    options = parser().parse_args(["watch", "--once"])
    assert options.run(options, ports) == 0
    assert capsys.readouterr().out == "looked: 1 new ledger line(s) read, 0 message(s) sent, 0 incident(s) open\n"


def test_a_look_that_failed_has_the_exit_code_of_what_did_not_answer(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    ports.ledger.down = True
    options = parser().parse_args(["watch", "--once"])
    assert options.run(options, ports) == EXIT_UNAVAILABLE
    assert capsys.readouterr().out == ""
