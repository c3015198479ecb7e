"""`airworthy ask` asks the live version about rows, and says what the view says against them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.ask import read_rows, row_faults
from pipelines.cli.main import parser
from pipelines.errors import Refused
from pipelines.testing.ports import FakePorts
from tests.declared import shipped_view

GOOD = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "sched_hour_local": 5, "day_of_week": 2, "distance": 1400}


def ask(ports: FakePorts, *words: str) -> int:
    options = parser().parse_args(["ask", "flight_delay", *words])
    status: int = options.run(options, ports)
    return status


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    opened = FakePorts.make(tmp_path)
    opened.endpoint.release("flight_delay", "3", "bundle", "0" * 64, key="first")
    return opened


def written(folder: Path, content: Any) -> str:
    (folder / "rows.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return str(folder / "rows.json")


def test_the_answer_and_the_version_are_told_for_each_row(ports: FakePorts, tmp_path: Path, capsys: Any) -> None:
    assert ask(ports, written(tmp_path, [GOOD | {"id": "a|1"}, GOOD | {"id": "a|2"}])) == 0
    assert capsys.readouterr().out == "a|1: probability 0.5000 by version 3\na|2: probability 0.5000 by version 3\n"
    [(_, request)] = [call for call in ports.endpoint.calls if call[0] == "predict"]
    assert request["ids"] == ["a|1", "a|2"]
    assert dict(zip(request["columns"], request["rows"][0], strict=True))["distance"] == 1400


def test_faults_are_told_beside_the_answer(ports: FakePorts, tmp_path: Path, capsys: Any) -> None:
    assert ask(ports, "--json", written(tmp_path, GOOD | {"distance": -5, "colour": "red"})) == 65
    printed = json.loads(capsys.readouterr().out)
    assert printed["answers"] == [0.5]
    assert printed["faults"][0][1] == "distance -5 < 1"
    assert printed["faults"][0][0].startswith("'colour' is no feature of the model; it has carrier, ")


def test_with_check_nobody_is_asked(ports: FakePorts, tmp_path: Path, capsys: Any) -> None:
    assert ask(ports, "--check", written(tmp_path, GOOD)) == 0
    assert capsys.readouterr().out == "row 1: not asked\n"
    assert not [call for call in ports.endpoint.calls if call[0] == "predict"]


def test_rows_are_read_from_the_standard_input(ports: FakePorts, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(GOOD)))
    assert ask(ports, "-") == 0
    assert capsys.readouterr().out == "row 1: probability 0.5000 by version 3\n"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"carrier": None}, "carrier lacks its value, which the view does not allow"),
        ({"carrier": 5}, "carrier is 5, and the feature is a text"),
        ({"distance": "far"}, "distance is 'far', and the feature is a number"),
        ({"sched_hour_local": 24}, "sched_hour_local 24 > 23"),
    ],
)
def test_each_fault_says_the_feature_the_value_and_the_limit(changes: dict[str, Any], fault: str) -> None:
    assert row_faults(GOOD | changes, shipped_view().features) == [fault]


@pytest.mark.parametrize("text", ['{"a": 1}', '[{"a": 1}]', '{"a": 1}\n'])
def test_an_object_a_list_and_lines_are_rows(text: str) -> None:
    assert read_rows(text) == [{"a": 1}]


@pytest.mark.parametrize(
    ("text", "reason"), [("", "no objects"), ("[]", "no objects"), ("[1]", "no objects"), ("a", "no JSON")]
)
def test_anything_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        read_rows(text)
