"""`airworthy ledger` lists lines by filters, names every fault, and seals a broken stretch in a person's name."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.cli import ledger
from pipelines.errors import Refused
from pipelines.testing.ports import FakePorts, FixedClock, MemoryLedger

START = datetime(2013, 3, 1, 6, tzinfo=UTC)


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePorts:
    """Six lines of two models, one a day."""
    clock = FixedClock(START)
    made = FakePorts.make(tmp_path, ledger=MemoryLedger(clock))
    verdict = {"gate": "slice_gate", "outcome": "fail", "reasons": ["origin=JFK lost 0.02 > 0.01", "2 slices unknown"]}
    for kind, model, version, details, actor in [
        ("training", "late", "1", {"outcome": "pass", "rule": "reproducible_training"}, "airworthy"),
        ("gate", "late", "1", verdict, "airworthy"),
        ("approval", "late", "1", {"semantic_version": "1.0.0"}, "airworthy"),
        ("training", "early", "1", {"outcome": "pass"}, "airworthy"),
        ("approval_answer", "late", "2", {"role": "ml_lead", "choice": "approve", "person": "ada"}, "ada"),
        ("restore", "validated/flights.flights", None, {"from": 7, "to": 3}, "joe"),
    ]:
        made.ledger.append(kind, model, version, details, actor=actor)
        clock.advance(timedelta(days=1))
    return made


def call(ports: FakePorts, *arguments: str) -> int:
    root = argparse.ArgumentParser()
    ledger.add_parser(root.add_subparsers())
    options = root.parse_args(["ledger", *arguments])
    status: int = options.run(options, ports)
    return status


def numbers(ports: FakePorts, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[int]:
    """Numbers of the lines that are listed."""
    assert call(ports, *arguments, "--json") == 0
    return [json.loads(line)["number"] for line in capsys.readouterr().out.splitlines()]


# ---- list ----------------------------------------------------------------------------------------------------------


def test_every_line_says_in_one_sentence_what_it_says(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(ports) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1  2013-03-01 06:00:00  training         late 1  airworthy",
        "   reproducible_training PASS",
        "2  2013-03-02 06:00:00  gate             late 1  airworthy",
        "   slice_gate FAIL: origin=JFK lost 0.02 > 0.01; 2 slices unknown",
        "3  2013-03-03 06:00:00  approval         late 1  airworthy",
        "   semantic version 1.0.0",
        "4  2013-03-04 06:00:00  training         early 1  airworthy",
        "   PASS",
        "5  2013-03-05 06:00:00  approval_answer  late 2  ada",
        "   ada approved as ml_lead on 2013-03-05 06:00 UTC",
        "6  2013-03-06 06:00:00  restore          validated/flights.flights  joe",
        "   from 7; to 3",
        "6 of 6 lines; times are UTC",
    ]


def test_a_rollback_is_listed_for_the_version_that_was_taken_back_also_in_lines_of_old(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    ports.ledger.append("rollback", "late", "1", {"from": "2", "to": "1", "reason": "before 0.2.0"}, actor="a")
    ports.ledger.append("rollback", "late", "2", {"from": "2", "to": "1", "reason": "since"}, actor="a")
    assert numbers(ports, capsys, "--model", "late", "--version", "2") == [5, 7, 8]
    assert numbers(ports, capsys, "--model", "late", "--version", "1") == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["--model", "late"], [1, 2, 3, 5]),
        (["--model", "validated/flights.flights"], [6]),
        (["--version", "1"], [1, 2, 3, 4]),
        (["--model", "late", "--version", "2"], [5]),
        (["--kind", "gate"], [2]),
        (["--kind", "gate", "--kind", "restore"], [2, 6]),
        (["--actor", "ada"], [5]),
        (["--since", "2013-03-04"], [4, 5, 6]),
        (["--until", "2013-03-02"], [1, 2]),
        (["--since", "2013-03-02T06:00", "--until", "2013-03-03T06:00"], [2, 3]),
        (["--since", "2013-03-02T06:00:01"], [3, 4, 5, 6]),
        (["--until", "2013-03-02T01:00-05:00"], [1, 2]),
        (["--last", "2"], [5, 6]),
        (["--model", "late", "--last", "1"], [5]),
        (["--last", "1", "--all"], [1, 2, 3, 4, 5, 6]),
        (["--model", "flight_delay"], []),
    ],
)
def test_lines_are_listed_by_every_filter(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], arguments: list[str], listed: list[int]
) -> None:
    assert numbers(ports, capsys, *arguments) == listed


def test_lines_that_are_left_out_are_counted(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    call(ports, "--model", "late", "--last", "1")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "1 of 6 lines, 3 earlier ones are left out (--all); times are UTC"


def test_an_empty_ledger_lists_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(FakePorts.make(tmp_path)) == 0
    assert capsys.readouterr().out == "0 of 0 lines; times are UTC\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nosuch"], "there is no model nosuch; there are arrival_delay_minutes, buys_again, early"),
        (["--model", "late", "--version", "9"], "late has no version 9; there are 1, 2"),
        (["--version", "9"], "no model has a version 9; there are 1, 2"),
        (["--kind", "nosuch"], "the ledger has no kind nosuch; there are approval, approval_answer, gate"),
        (["--actor", "nosuch"], "the ledger has no actor nosuch; there are ada, airworthy, joe"),
    ],
)
def test_a_name_that_no_line_has_is_refused_with_those_that_there_are(
    ports: FakePorts, arguments: list[str], message: str
) -> None:
    with pytest.raises(Refused) as refusal:
        call(ports, *arguments)
    assert str(refusal.value).startswith(message)


def test_a_time_that_is_none_is_refused(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call(ports, "--since", "yesterday")
    assert "'yesterday' is neither a day" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("columns", [60, 80])
def test_no_row_is_wider_than_the_declared_width_when_the_output_is_piped(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    ports.ledger.append("gate", "late", "1", {"outcome": "fail", "reasons": ["word " * 60]}, actor="a")
    call(ports)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


# ---- check and repair ----------------------------------------------------------------------------------------------


def alter(ports: FakePorts, number: int) -> None:
    lines = ports.ledger.lines
    lines[number - 1] = lines[number - 1].model_copy(update={"actor": "eve"})


def test_a_whole_ledger_is_said_to_be_whole(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(ports, "check") == 0
    assert capsys.readouterr().out == "the ledger is whole\n"
    assert call(ports, "repair", "--because", "to be sure", "--by", "ada") == 0
    assert "nothing was sealed" in capsys.readouterr().out
    assert len(ports.ledger.lines) == 6


def test_a_check_names_every_fault_and_the_way_out(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    alter(ports, 2)
    del ports.ledger.lines[5]
    assert call(ports, "check") == 65
    printed = capsys.readouterr().out
    assert "FAIL  line 2 was altered" in printed
    assert "FAIL  line 6 is missing" in printed
    assert "airworthy ledger repair --because" in printed


def test_a_repair_seals_in_a_persons_name_and_lists_the_versions_that_lose_their_proof(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    alter(ports, 2)
    assert call(ports, "repair", "--because", "a disk failed", "--by", "ada") == 0
    printed = capsys.readouterr().out
    assert "line 7 seals line 2, so that nothing is proven by it any more" in printed
    assert "late 1" in printed
    assert "early 1" not in printed
    assert (ports.ledger.lines[-1].actor, ports.ledger.lines[-1].details["because"]) == ("ada", "a disk failed")
    assert call(ports, "check") == 0
    assert "nothing is proven by line 2, sealed by line 7 (ada: a disk failed)" in capsys.readouterr().out
    assert numbers(ports, capsys, "--kind", "ledger_repair") == [7]


def test_a_repair_without_a_person_is_refused_and_seals_nothing(ports: FakePorts) -> None:
    alter(ports, 2)
    for arguments, message in [
        (["--because", "a disk failed"], "name of a person"),
        (["--because", "a disk failed", "--by", "airworthy"], "name of a person"),
    ]:
        with pytest.raises(Refused, match=message):
            call(ports, "repair", *arguments)
    assert len(ports.ledger.lines) == 6


def test_the_actor_of_the_installation_may_be_the_person(tmp_path: Path, ports: FakePorts) -> None:
    alter(ports, 2)
    ports.settings = ports.settings.model_copy(update={"actor": "mary"})
    call(ports, "repair", "--because", "a disk failed")
    assert ports.ledger.lines[-1].actor == "mary"
