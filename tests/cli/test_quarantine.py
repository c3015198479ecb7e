"""`airworthy quarantine` shows each row that was kept out: its day, its key, the judged value and every reason."""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipelines.cli import quarantine
from pipelines.errors import Refused
from pipelines.spec.catalog import Catalog
from pipelines.testing.ports import FakePorts

FIRST, SECOND = date(2013, 1, 5), date(2013, 1, 6)
DELAY = "arr_delay lies outside of -120 to 1440 minutes"
DISTANCE = "distance lies outside of 50 to 6000 miles"


def rows(*bad: tuple[int, int, int, list[str] | None]) -> pl.DataFrame:
    """Flights of one day by number, arrival delay, distance and reasons."""
    return pl.DataFrame(
        {
            "time_hour": ["2013-01-05 10:00"] * len(bad),
            "carrier": ["UA"] * len(bad),
            "flight": [number for number, *_ in bad],
            "arr_delay": [delay for _, delay, *_ in bad],
            "distance": [distance for *_, distance, _ in bad],
            "reasons": pl.Series([reasons for *_, reasons in bad], dtype=pl.List(pl.String)),
        }
    )


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePorts:
    made = FakePorts.make(tmp_path)
    second = rows((4, 9, 900, ["a reason of a former suite"]), (5, 2000, 9000, [DELAY, DISTANCE]))
    made.store.replace_partition("quarantine/flights.flights", SECOND, second)
    made.store.replace_partition(
        "quarantine/flights.flights", FIRST, rows((1545, 1500, 1400, [DELAY]), (2, 9, 7, [DISTANCE]))
    )
    return made


def call(ports: FakePorts, *arguments: str) -> int:
    root = argparse.ArgumentParser()
    quarantine.add_parser(root.add_subparsers())
    options = root.parse_args(["quarantine", *arguments])
    status: int = options.run(options, ports)
    return status


def shown(ports: FakePorts, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[int]:
    """The flights that are shown."""
    call(ports, "flights", "flights", *arguments, "--json")
    return [int(json.loads(line)["key"]["flight"]) for line in capsys.readouterr().out.splitlines()]


def test_a_row_is_shown_with_day_key_value_and_every_reason(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(ports, "flights", "flights") == 0
    assert capsys.readouterr().out.splitlines() == [
        "2013-01-05  time_hour 2013-01-05 10:00, carrier UA, flight 1545",
        f"            arr_delay 1500: {DELAY}",
        "2013-01-05  time_hour 2013-01-05 10:00, carrier UA, flight 2",
        f"            distance 7: {DISTANCE}",
        "2013-01-06  time_hour 2013-01-05 10:00, carrier UA, flight 4",
        "            a reason of a former suite",
        "2013-01-06  time_hour 2013-01-05 10:00, carrier UA, flight 5",
        f"            arr_delay 2000, distance 9000: {DELAY}; {DISTANCE}",
        "4 of 4 quarantined rows of flights",
    ]


@pytest.mark.parametrize(
    ("arguments", "flights"),
    [
        (["--since", "2013-01-06"], [4, 5]),
        (["--until", "2013-01-05"], [1545, 2]),
        (["--since", "2013-01-05", "--until", "2013-01-05"], [1545, 2]),
        (["--since", "2013-02-01"], []),
        (["--reason", "DISTANCE lies"], [2, 5]),
        (["--last", "1"], [5]),
        (["--last", "1", "--all"], [1545, 2, 4, 5]),
    ],
)
def test_rows_are_shown_by_day_reason_and_number(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], arguments: list[str], flights: list[int]
) -> None:
    assert shown(ports, capsys, *arguments) == flights


def test_rows_that_are_left_out_are_counted(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    call(ports, "flights", "flights", "--last", "1")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "1 of 4 quarantined rows of flights; 3 earlier ones are left out (--all)"


def test_a_source_without_quarantined_rows_or_without_a_suite_shows_none(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in ("weather", "airports"):
        assert call(ports, "flights", source) == 0
        assert capsys.readouterr().out == f"0 of 0 quarantined rows of {source}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch", "flights"], "there is no dataset nosuch; there are flights, shop"),
        (["flights", "nosuch"], "flights has no source nosuch; there are flights, weather, planes, airports"),
    ],
)
def test_an_unknown_dataset_or_source_is_refused_with_those_that_there_are(
    ports: FakePorts, arguments: list[str], message: str
) -> None:
    with pytest.raises(Refused) as refusal:
        call(ports, *arguments)
    assert str(refusal.value) == message


def test_personal_data_are_shown_neither_in_the_key_nor_as_a_value(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    declared = ports.catalog.datasets["flights"]
    source = declared.sources["flights"]
    hidden = {name: source.columns[name].model_copy(update={"pii": True}) for name in ("flight", "arr_delay")}
    private = source.model_copy(update={"columns": source.columns | hidden})
    dataset = declared.model_copy(update={"sources": declared.sources | {"flights": private}})
    ports.catalog = Catalog(datasets={"flights": dataset})
    call(ports, "flights", "flights", "--until", "2013-01-05")
    printed = capsys.readouterr().out
    assert "1545" not in printed
    assert "1500" not in printed
    assert "flight (personal data)" in printed
    assert "distance 7" in printed


@pytest.mark.parametrize("columns", [50, 80])
def test_no_row_is_wider_than_the_declared_width(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    call(ports, "flights", "flights")
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns
