"""A rollback by hand moves traffic first and is not held up by a ledger or a registry that is down."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pipelines.cli.rollback import run
from pipelines.errors import Refused, Unavailable
from pipelines.testing import FakePorts

MODEL = "flight_delay"


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    made = FakePorts.make(tmp_path)
    for version in ("1", "2"):
        made.registry.register(MODEL)
        made.endpoint.release(MODEL, version, f"bundles/{version}", "0" * 64, key=version)
    made.registry.move_alias(MODEL, "champion", "2")
    made.registry.move_alias(MODEL, "previous", "1")
    return made


def rollback(ports: FakePorts) -> int:
    return run(argparse.Namespace(model=MODEL, reason="late flights look punctual"), ports)


def test_the_previous_version_is_live_and_on_record(ports: FakePorts) -> None:
    assert rollback(ports) == 0
    assert ports.endpoint.state(MODEL).version == "1"
    champion = ports.registry.by_alias(MODEL, "champion")
    assert champion is not None
    assert champion.version == "1"
    line = ports.ledger.entries(model=MODEL, kind="rollback")[-1]
    assert (line.details["from"], line.details["to"]) == ("2", "1")
    assert line.details["reason"] == "late flights look punctual"


def test_traffic_goes_back_with_ledger_and_registry_down(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    ports.ledger.down = ports.registry.down = True
    assert rollback(ports) == 0
    assert ports.endpoint.state(MODEL).version == "1"
    said = capsys.readouterr().out
    assert "the ledger does not know yet" in said
    assert "the registry does not know yet" in said


def test_without_a_previous_version_it_is_refused(ports: FakePorts) -> None:
    rollback(ports)
    with pytest.raises(Refused):
        rollback(ports)


def test_a_gateway_that_does_not_answer_is_no_silent_success(ports: FakePorts) -> None:
    ports.endpoint.down = True
    with pytest.raises(Unavailable):
        rollback(ports)
