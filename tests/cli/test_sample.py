"""`airworthy check --sample` tells what a file is by its contract, with every fault, and no personal value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.main import parser
from pipelines.errors import Refused
from pipelines.spec.catalog import Catalog
from pipelines.spec.dataset import DatasetSpec
from pipelines.steps.ingestion.written_delivery import write_delivery
from pipelines.testing.ports import FakePorts, MemoryStore

COLUMNS = {
    "at": "timestamp",
    "trip": "integer",
    "code": "string",
    "size": "string",
    "driver": {"type": "string", "pii": True},
    "day": "string or null",
}
SPEC = DatasetSpec.model_validate(
    {
        "schema": 2,
        "dataset": "city",
        "partition": {"every": "day", "start": "2024-01-01", "timezone": "Europe/Berlin"},
        "sources": {
            "trips": {"files": "{source}/{partition}/trips*.csv", "key": ["trip"], "columns": COLUMNS},
            "stops": {"files": "{source}/{partition}/*.txt", "key": "row", "columns": {"name": "string"}},
            "lines": {"files": "{source}/{partition}/*.txt", "key": "row", "columns": {"name": "string"}},
        },
    }
)
HEADER = "at,trip,code,size,driver,day\n"
GOOD = HEADER + "2024-01-30T22:59:59Z,1,007,5,Ann,Fri\n2024-01-30T23:00:00Z,2,012,6,Ben,\n"


def check(tmp_path: Path, *words: str, store: Any = None) -> int:
    catalog = Catalog(datasets={"city": SPEC}, views={}, models={}, refused={})
    ports = FakePorts.make(tmp_path, catalog=catalog, store=store or MemoryStore())
    options = parser().parse_args(["check", "city", *words])
    status: int = options.run(options, ports)
    return status


def test_a_good_file_is_described_with_its_days_and_first_values(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "trips-1.csv").write_text(GOOD)
    assert check(tmp_path, "--sample", str(tmp_path / "trips-1.csv")) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == (
        "trips-1.csv: 2 row(s) of trips, by at of 2 day(s): 2024-01-30 (1), 2024-01-31 (1); "
        "`airworthy deliver --split` spreads them"
    )
    assert "  code        string     007  012" in out
    assert "  source_day  string     Fri  null" in out
    assert "Ann" not in out
    assert out.splitlines()[-1] == "question: column 'size' is declared as string and all its values are integers"


def test_a_column_whose_values_look_personal_is_asked_about_and_not_shown(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a.txt").write_text("name\nann@example.org\nben@example.org\n")
    assert check(tmp_path, "--sample", str(tmp_path / "a.txt"), "--source", "stops") == 0
    out = capsys.readouterr().out
    assert "question: column 'name' looks like e-mail addresses; write `pii: true`" in out
    assert "ann@" not in out


def test_every_fault_of_a_file_is_told_at_once_with_its_line(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "trips.csv").write_text(GOOD + "2023-12-30T10:00:00Z,2,1,x,Cem,\n2024-01-30 10:00,many,1,x,,\n")
    assert check(tmp_path, "--json", "--sample", str(tmp_path / "trips.csv")) == 65
    faults = [json.loads(line)["fault"] for line in capsys.readouterr().out.splitlines()]
    for part in (
        "'at': 1 of 4 values not of type timestamp",
        "'trip': 1 of 4 values not of type integer, for example 'many' (line 5)",
        "'driver': 1 of 4 values null",
        "key (trip): 2 rows share",
        "1 rows lie outside of 2024-01-01 to now",
    ):
        assert any(part in fault for fault in faults), (part, faults)


def test_a_file_that_is_no_table_and_one_of_an_unknown_source_are_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "trips.csv").write_bytes(GOOD.encode("utf-16"))
    assert check(tmp_path, "--sample", str(tmp_path / "trips.csv")) == 65
    assert "fault: the file is UTF-16" in capsys.readouterr().out
    (tmp_path / "a.txt").write_text("name\nx\n")
    with pytest.raises(Refused, match=r"may be of any of trips, stops, lines; say which with --source"):
        check(tmp_path, "--sample", str(tmp_path / "a.txt"))
    assert check(tmp_path, "--sample", str(tmp_path / "a.txt"), "--source", "stops") == 0
    with pytest.raises(Refused, match="city has no source stps"):
        check(tmp_path, "--sample", str(tmp_path / "a.txt"), "--source", "stps")


def test_the_newest_delivery_is_the_sample_where_no_file_is_named(tmp_path: Path, capsys: Any) -> None:
    store = MemoryStore()
    with pytest.raises(Refused, match="nothing of city has landed"):
        check(tmp_path, "--sample", store=store)
    for key, trip in (("2024-01-02", "1"), ("2024-01-03", "many")):
        content = f"{HEADER}{key}T10:00:00Z,{trip},a,b,c,d\n".encode()
        write_delivery(SPEC, "trips", key, {"trips.csv": (content, 1)}, store)
    assert check(tmp_path, "--sample", store=store) == 65
    assert "'trip': 1 of 1 values not of type integer" in capsys.readouterr().out
