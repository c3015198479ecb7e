"""`airworthy check` names every fault of the declarations at once, with file and line, in plain words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.main import parser
from pipelines.spec.catalog import Catalog
from pipelines.testing.ports import FakePorts
from tests.steps.flights_by_hand import INCLUDE


def check(home: Path, include: Path, *arguments: str) -> int:
    ports = FakePorts.make(home, catalog=Catalog.read(include))
    ports.settings = ports.settings.model_copy(update={"include": include})
    options = parser().parse_args(["check", *arguments])
    status: int = options.run(options, ports)
    return status


@pytest.fixture
def include(tmp_path: Path) -> Path:
    folder = tmp_path / "include"
    shutil.copytree(INCLUDE, folder)
    return folder


def replace(path: Path, old: str, new: str) -> int:
    """Replace a text that is there once; returns its line."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


def test_declarations_without_a_fault_are_counted(tmp_path: Path, include: Path, capsys: Any) -> None:
    assert check(tmp_path, include) == 0
    assert capsys.readouterr().out == "no fault in 2 dataset(s), 3 suite(s), 2 view(s), 3 model(s)\n"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("alerts.yaml", "kind: file", "kind: fil"),
        ("alerts.yaml", "default_channels: [log]", "default_channels: [chats]"),
        ("gateway.yaml", "schema: 1", "schema: 1\nlimitz: {rows: 5}"),
    ],
)
def test_the_files_of_the_installation_are_checked_too(
    tmp_path: Path, include: Path, capsys: Any, file: str, old: str, new: str
) -> None:
    """A channel that is misspelt would leave people untold, and a gateway would not start."""
    line = replace(include / file, old, new) + new.count("\n")
    assert check(tmp_path, include) == 65
    fault, counted = capsys.readouterr().out.splitlines()
    assert fault.startswith(f"{include / file}:{line}: ")
    assert counted.startswith("1 fault(s) in ")


def test_owners_and_columns_that_may_be_personal_are_asked_about_and_are_no_faults(
    tmp_path: Path, include: Path, capsys: Any
) -> None:
    path = include / "datasets" / "flights.yaml"
    replace(path, "owner: data-platform\n", "")
    more = "      pilotEmail: string\n      crew_phone: {type: string, pii: false}\n"
    line = replace(path, "      air_time: integer or null\n", f"      air_time: integer or null\n{more}")
    assert check(tmp_path, include, "flights") == 0
    owner, personal, counted, _ = capsys.readouterr().out.splitlines()
    assert owner == f"{path}: owner: is not declared; name who answers for the data"
    assert personal == (
        f"{path}:{line + 1}: sources.flights.columns.pilotEmail.pii: is not declared; "
        "write `pii: true` if it tells of a person, else `pii: false`"
    )
    assert counted.startswith("no fault in ")


def test_every_fault_of_every_file_is_printed_with_its_line(tmp_path: Path, include: Path, capsys: Any) -> None:
    suite, view = include / "expectations" / "planes.yaml", include / "features" / "flight_delay.yaml"
    unknown = replace(suite, "expect_column_values_to_match_regex", "expect_column_values_to_be_lucky")
    argument = replace(suite, "column: seats, min_value", "colum: seats, min_value")
    owner = replace(view, "lead: 2h", "lead: soon")
    (include / "models" / "odd.yaml").write_text("schema: [1\n")
    assert check(tmp_path, include) == 65
    lines = capsys.readouterr().out.splitlines()
    expected = [
        f"{suite}:{unknown}: expectations.0: (expect_column_values_to_be_lucky): Great Expectations has none",
        f"{suite}:{argument - 1}: expectations.2: (expect_column_values_to_be_between): kwargs.colum: unknown argument",
        f"{view}:{owner}: rows.lead: is no duration; write",
        f"{include}/models/odd.yaml:2: ",
    ]
    for start in expected:
        assert any(line.startswith(start) for line in lines), (start, lines)
    assert "models/flight_delay.yaml:" in "".join(lines)  # it rests on the view
    assert lines[-1].endswith(" in 2 dataset(s), 3 suite(s), 2 view(s), 4 model(s)")


def test_a_name_is_checked_with_all_that_it_rests_on_and_nothing_else(
    tmp_path: Path, include: Path, capsys: Any
) -> None:
    (include / "models" / "odd.yaml").write_text("schema: [1\n")
    assert check(tmp_path, include, "arrival_delay_minutes") == 0
    assert capsys.readouterr().out == "no fault in 1 dataset(s), 3 suite(s), 1 view(s), 1 model(s)\n"
    (include / "expectations" / "weather.yaml").unlink()
    assert check(tmp_path, include, "arrival_delay_minutes") == 65
    out = capsys.readouterr().out
    assert "sources.weather.suite: 'weather' is not declared, or was refused" in out
    assert check(tmp_path, include, "planes") == 0


def test_a_dataset_without_a_fault_is_told_with_the_dags_that_airflow_pauses(
    tmp_path: Path, include: Path, capsys: Any
) -> None:
    assert check(tmp_path, include, "flights") == 0
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line == "Airflow pauses new DAGs; unpause flights__ingest, flights__arrive, flights__validate"


def test_the_faults_are_objects_for_a_program(tmp_path: Path, include: Path, capsys: Any) -> None:
    path = include / "datasets" / "flights.yaml"
    line = replace(path, "due: 6h", "due: 22:30")
    assert check(tmp_path, include, "flights", "--json") == 65
    [found] = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (found["file"], found["line"]) == (str(path), line)
    assert found["fault"] == ("partition.due: a duration is not written as a time of day; write 22h30m (got '22:30')")
