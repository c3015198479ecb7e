"""`airworthy ask` asks the live version about rows, and says what the view says against them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.cli.ask import read_rows, row_faults
from pipelines.cli.main import parser
from pipelines.errors import Refused
from pipelines.spec.features import Constraints
from pipelines.steps.models.registered_model import read_model_folder
from pipelines.testing.ports import FakePorts
from tests.declared import shipped_view
from tests.steps.registered_models import digests, register

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
    features = shipped_view().features
    assert row_faults(GOOD | changes, [*features], features, {"origin": ["EWR", "JFK", "LGA"]}) == [fault]


def test_a_number_beside_those_that_are_allowed_is_a_fault() -> None:
    feature = shipped_view().features["day_of_week"]
    allowed = feature.model_copy(update={"constraints": Constraints(allowed=[1, 5])})
    assert row_faults({"day": 5}, ["day"], {"day": allowed}, {}) == []
    assert row_faults({"day": 2}, ["day"], {"day": allowed}, {}) == ["day 2 is not allowed; it is one of 1, 5"]


def test_a_text_that_the_contract_of_its_column_does_not_list_is_a_fault(
    ports: FakePorts, tmp_path: Path, capsys: Any
) -> None:
    assert ask(ports, "--check", written(tmp_path, GOOD | {"origin": "BOS"})) == 65
    assert "origin 'BOS' is not allowed; it is one of EWR, JFK, LGA" in " ".join(capsys.readouterr().out.split())


def test_the_faults_are_told_beside_the_reason_for_which_the_gateway_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no version of flight_delay is live") as error:
        ask(FakePorts.make(tmp_path), written(tmp_path, GOOD | {"distance": "far"}))
    assert "row 1: distance is 'far', and the feature is a number" in error.value.reasons


@pytest.fixture
def registered(tmp_path: Path) -> FakePorts:
    """Version 1 lives, and version 2 is registered and was trained."""
    opened = FakePorts.make(tmp_path)
    for number in ("1", "2"):
        register(opened, tmp_path / f"model-{number}")
        trained = digests(opened, "flight_delay", number).model_dump(mode="json")
        opened.ledger.append("training", "flight_delay", number, trained, actor="test")
    opened.endpoint.release("flight_delay", "1", "bundle", "0" * 64, key="first")
    return opened


TEXTS = {"carrier": pl.String, "origin": pl.String}
ROW = {"carrier": "UA", "origin": "EWR", "distance": 1400.0, "hour": 18.0}


def test_a_candidate_answers_as_its_model_does_and_the_gateway_is_not_asked(
    registered: FakePorts, tmp_path: Path, capsys: Any
) -> None:
    rows = [ROW, ROW | {"distance": 90.0, "carrier": "ZZ", "hour": None}]
    assert ask(registered, "--version", "2", "--json", written(tmp_path, rows)) == 0
    printed = json.loads(capsys.readouterr().out)
    model = read_model_folder(tmp_path / "model-2")
    assert printed["version"] == "2"
    assert (
        printed["answers"] == model.predict(pl.DataFrame(rows, schema=dict.fromkeys(ROW, pl.Float64) | TEXTS)).tolist()
    )
    assert not [call for call in registered.endpoint.calls if call[0] == "predict"]


@pytest.mark.parametrize(
    ("version", "row", "reason"),
    [("9", ROW, "flight_delay has no version 9"), ("2", ROW | {"distance": "far"}, "row 1: distance is 'far'")],
)
def test_a_version_that_there_is_not_and_a_row_that_it_cannot_read_are_refused(
    registered: FakePorts, tmp_path: Path, version: str, row: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Refused) as error:
        ask(registered, "--version", version, written(tmp_path, row))
    assert reason in str(error.value)


def test_a_version_whose_files_were_altered_does_not_answer(registered: FakePorts, tmp_path: Path) -> None:
    with (tmp_path / "model-2" / "model.ubj").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Refused, match="was altered since it was trained"):
        ask(registered, "--version", "2", written(tmp_path, ROW))


@pytest.mark.parametrize("text", ['{"a": 1}', '[{"a": 1}]', '{"a": 1}\n'])
def test_an_object_a_list_and_lines_are_rows(text: str) -> None:
    assert read_rows(text) == [{"a": 1}]


@pytest.mark.parametrize(
    ("text", "reason"), [("", "no objects"), ("[]", "no objects"), ("[1]", "no objects"), ("a", "no JSON")]
)
def test_anything_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        read_rows(text)
