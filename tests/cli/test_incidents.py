"""Incidents are listed with filters within 80 columns and as JSON, and taken in the name of a person."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from pipelines.adapters.incidents.sql import SqlIncidents
from pipelines.cli import incidents
from pipelines.errors import Refused
from pipelines.incidents.record import take
from pipelines.testing.ports import FakePorts
from tests.incidents.test_delivery import finding

LONG = "the mean of humid left its own past on two days in a row: 0.7 where the fifty-six days before had 62.4 and more"


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    made = FakePorts.make(tmp_path, incidents=SqlIncidents(f"sqlite:///{tmp_path}/ledger.db"))
    take(made, [finding(made, what=LONG), finding(made, "lead", "late", kind="approval_waiting", severity="info")])
    take(made, [finding(made, "auc", "late", kind="performance", severity="critical")])
    return made


def call(ports: FakePorts, *arguments: str) -> int:
    root = argparse.ArgumentParser()
    incidents.add_parser(root.add_subparsers())
    options = root.parse_args(["incidents", *arguments])
    status: int = options.run(options, ports)
    return status


def listed(ports: FakePorts, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[int]:
    assert call(ports, "--json", *arguments) == 0
    return [json.loads(line)["number"] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ([], [1, 2, 3]),
        (["--model", "late"], [2, 3]),
        (["--kind", "performance"], [3]),
        (["--severity", "warning"], [1, 3]),
        (["--number", "2"], [2]),
    ],
)
def test_a_filter_leaves_what_matches(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], arguments: list[str], numbers: list[int]
) -> None:
    assert listed(ports, capsys, *arguments) == numbers


def test_what_is_over_is_listed_on_request(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    take(ports, [finding(ports, firing=False)])
    assert listed(ports, capsys) == [2, 3]
    assert listed(ports, capsys, "--all") == [1, 2, 3]


def test_the_list_keeps_to_eighty_columns_and_says_how_many_messages_wait(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    call(ports)
    call(ports, "--number", "1")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "3 incident(s); times are UTC" in lines
    assert "3 message(s) wait for the channel log" in lines


def test_an_incident_is_taken_by_a_person_with_a_reason(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(ports, "ack", "1", "--why", "asking the weather service", "--by", "ada") == 0
    assert "taken by ada" in capsys.readouterr().out
    assert ports.incidents.read()[0].acknowledged_because == "asking the weather service"
    with pytest.raises(Refused, match="acknowledged already, by ada"):
        call(ports, "ack", "1", "--why", "mine, too", "--by", "bob")


def test_the_programs_own_name_takes_nothing(ports: FakePorts) -> None:
    with pytest.raises(Refused, match="an acknowledgement bears the name of a person"):
        call(ports, "ack", "1", "--why", "mine")


@pytest.mark.parametrize(
    "arguments", [["--model", "nosuch"], ["--number", "9"], ["ack", "9", "--why", "x", "--by", "ada"]]
)
def test_an_unknown_name_is_refused_with_those_that_there_are(ports: FakePorts, arguments: list[str]) -> None:
    with pytest.raises(Refused, match="there are"):
        call(ports, *arguments)
