"""`airworthy restore` brings an earlier content back, says day by day what changed, and leaves a line in the ledger."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipelines.cli import restore
from pipelines.errors import Refused, Unavailable
from pipelines.testing.ports import FakePorts
from tests.steps.built_features import build_view
from tests.steps.flights_by_hand import catalog, limited, random_days

TABLE = "validated/flights.flights"
FIRST, SECOND, THIRD, FOURTH = (date(2013, 1, day) for day in (1, 2, 3, 4))


def frame(*values: int) -> pl.DataFrame:
    return pl.DataFrame({"flight": list(values)})


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    """Version 3 was good; then one day was cut, one was changed, one was added and one was only written again."""
    made = FakePorts.make(tmp_path)
    for day, values in [(FIRST, (1, 2, 3)), (SECOND, (4, 5)), (THIRD, (6, 7))]:
        made.store.replace_partition(TABLE, day, frame(*values))
    for day, values in [(FIRST, (1,)), (SECOND, (4, 99)), (FOURTH, (8,)), (THIRD, (7, 6))]:
        made.store.replace_partition(TABLE, day, frame(*values))
    return made


def call(ports: FakePorts, *arguments: str) -> int:
    root = argparse.ArgumentParser()
    restore.add_parser(root.add_subparsers())
    options = root.parse_args(["restore", *arguments])
    status: int = options.run(options, ports)
    return status


CHANGES = ["2013-01-01: 1 rows become 3", "2013-01-02: 2 rows, other values", "2013-01-04: 1 rows go"]


def test_an_earlier_content_is_back_and_each_changed_day_is_told(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ports.store.read(TABLE, version=3)
    assert call(ports, TABLE, "3") == 0
    assert ports.store.read(TABLE).equals(before)
    printed = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert printed[:-1] == CHANGES
    assert printed[-1] == f"{TABLE}: version 3 is the newest content again, as version 8 (was 7)"


def test_a_restore_is_in_the_ledger(ports: FakePorts) -> None:
    call(ports, TABLE, "3")
    (line,) = ports.ledger.entries(kind="restore")
    assert line.details == {"table": TABLE, "from": 7, "to": 3, "changes": CHANGES}


def test_a_dry_run_tells_and_changes_nothing(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(ports, TABLE, "3", "--dry-run") == 0
    assert ports.store.version(TABLE) == 7
    assert ports.ledger.entries() == []
    assert "2013-01-01: 1 rows become 3" in capsys.readouterr().out


def test_days_that_were_lost_come_back(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    call(ports, TABLE, "2")
    capsys.readouterr()
    call(ports, TABLE, "7")
    assert "2013-01-03: 2 rows come back" in capsys.readouterr().out


def test_without_a_version_the_newest_one_is_told(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(ports, TABLE) == 0
    assert capsys.readouterr().out == f"{TABLE} is at version 7, with 4 partitions\n"


def test_the_newest_version_needs_no_restore(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(ports, TABLE, "7") == 0
    assert "nothing changed" in capsys.readouterr().out
    assert ports.store.version(TABLE) == 7


@pytest.mark.parametrize("arguments", [("validated/unknown", "1"), (TABLE, "99")])
def test_an_unknown_table_or_version_is_refused(ports: FakePorts, arguments: tuple[str, str]) -> None:
    with pytest.raises(Refused):
        call(ports, *arguments)
    assert ports.ledger.entries() == []


def test_nothing_is_restored_that_cannot_be_recorded(ports: FakePorts) -> None:
    ports.ledger.down = True
    with pytest.raises(Unavailable):
        call(ports, TABLE, "3")
    assert ports.store.version(TABLE) == 7


def test_the_days_of_features_that_were_built_from_other_rows_are_told_with_what_builds_them_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, rows = (
        FakePorts.make(tmp_path, catalog=catalog(view=limited())),
        random_days(4, FIRST, days=2, per_day=5)["flights"],
    )
    for day in (FIRST, SECOND):
        made.store.replace_partition(TABLE, day, rows.filter(day=day).drop("day"))
        build_view(made, "flight_delay", day)
    good = made.store.version(TABLE)
    made.store.replace_partition(TABLE, FIRST, rows.filter(day=FIRST).drop("day").with_columns(distance=pl.lit(7)))
    build_view(made, "flight_delay", FIRST)
    assert call(made, TABLE, f"{good}") == 0
    days = "2 partitions, 2013-01-01 to 2013-01-02"
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"features/flight_delay: {days} built from other rows; no training starts on them",
        "the next build_features_flight_delay builds them again; clear the newest one for it to be now",
    ]
