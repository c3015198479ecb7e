"""A declaration with faults is refused with all of them; what is named nowhere else is found out."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from pipelines.errors import Refused
from pipelines.spec.catalog import Catalog, model_faults, read_declaration
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.model_declaration import ModelDeclaration
from pipelines.spec.plain_yaml import load
from pipelines.spec.view import ViewDeclaration
from tests.steps.flights_by_hand import DATASET, INCLUDE, VIEW

VIEW_FIELDS: dict[str, Any] = load((INCLUDE / "features" / "flight_delay.yaml").read_text())
MODEL_FIELDS: dict[str, Any] = load((INCLUDE / "models" / "flight_delay.yaml").read_text())
DATASET_FIELDS: dict[str, Any] = DATASET.model_dump(mode="json", by_alias=True)


FILE = "{source}/{partition}/flights.csv"


def written(folder: Path, fields: dict[str, Any], name: str = "flight_delay.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    return path


def refusal(path: Path, kind: type[BaseModel]) -> str:
    with pytest.raises(Refused) as caught:
        read_declaration(path, kind)
    return str(caught.value)


def test_all_faults_of_a_file_are_listed_at_once_each_with_its_place(tmp_path: Path) -> None:
    fields = copy.deepcopy(MODEL_FIELDS)
    fields["ownr"] = fields.pop("owner")
    del fields["view"]
    fields["training"]["seed"] = "many"
    fields["training"]["split"] = {"train": 0.9}
    fields["evaluation"]["comparison"]["confidence"] = 3
    text = refusal(written(tmp_path, fields), ModelDeclaration)
    assert "flight_delay.yaml has 5 fault(s)" in text
    for part in ("view: is required; add it", "ownr: unknown field", "training.seed:", "split shares sum to 1.2000"):
        assert part in text
    assert "evaluation.comparison.confidence:" in text


def test_a_fault_names_the_line_of_its_field_or_of_the_block_that_lacks_it(tmp_path: Path) -> None:
    lines = (INCLUDE / "models" / "flight_delay.yaml").read_text().splitlines()
    lines = lines[: next(number for number, line in enumerate(lines) if line.startswith("deployment:"))]
    first = len(lines) + 1
    deployment = [
        "deployment:",
        "  target:",
        "    kind: kserve",
        "    storage_prefix: s3://models",
        "  analysis:",
        "    metrics:",
        "      - {name: late, event: slow}",
        "  load_test: {target_rps: 50}",
    ]
    (tmp_path / "flight_delay.yaml").write_text("\n".join(lines + deployment))
    text = refusal(tmp_path / "flight_delay.yaml", ModelDeclaration)
    for fault, line in (
        ("deployment.target.kserve.storage_prefix: unknown field", first + 3),
        ("over_ms is needed for event: slow", first + 6),
        ("deployment.load_test.assertions: is required; add it", first + 7),
    ):
        (reason,) = [reason for reason in text.splitlines() if fault in reason]
        assert reason.endswith(f"(line {line})")


def test_a_fault_that_needs_the_whole_declaration_names_its_line_too(tmp_path: Path) -> None:
    shutil.copytree(INCLUDE, tmp_path / "include")
    file = tmp_path / "include" / "models" / "flight_delay.yaml"
    fields = load(file.read_text())
    fields["deployment"] = {"cache": {"enabled": False, "ttl": 60}, "analysis": {"minimum_units": 50}}
    text = yaml.safe_dump(fields, sort_keys=False)
    file.write_text(text)
    refused = Catalog.read(tmp_path / "include").refused["models/flight_delay.yaml"]
    for field in ("ttl: 60", "minimum_units: 50"):
        (reason,) = [reason for reason in refused.reasons if field.partition(":")[0] in reason]
        assert reason.endswith(f"(line {1 + text.splitlines().index(f'    {field}')})")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"evaluation": MODEL_FIELDS["evaluation"] | {"minimum_metrics": {"roc_auc": {}}}}, "declare min, max or both"),
        ({"training": {"estimator": {"kind": "sklearn"}}}, "class_path is needed"),
        ({"training": {"estimator": {"kind": "sklearn", "class_path": "os.system"}}}, "must lie in sklearn"),
        ({"training": {"search": {"trials": 2, "space": {"eta": {"low": 1}}}}}, "either low and high, or choices"),
        ({"runner": {"score": "process"}}, "runner.score"),
        ({"schema": 3}, "schema"),
        ({"target": "arr_delay >="}, "target: it ends where a value must follow"),
        ({"target": {"column": "arr_delay"}}, "target: must be a text"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in refusal(written(tmp_path, MODEL_FIELDS | change), ModelDeclaration)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_quarantined_share": 5}, "max_quarantined_share"),
        ({"sources": {}}, "sources"),
        ({"sources": {"flights": {"files": FILE, "key": ["id"], "columns": {"a": "integer"}}}}, "['id']"),
        ({"sources": {"flights": {"files": FILE, "key": ["a"], "columns": {"a": "string or null"}}}}, "must not be"),
    ],
)
def test_a_dataset_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in refusal(written(tmp_path, DATASET_FIELDS | change), DatasetSpec)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"schema: [1", "not valid YAML"),
        (b"schema: 1\nschema: 1\n", "'schema' is given twice"),
        (b"view: \xff\xfe", "not valid YAML"),
        (b"- schema\n", "contains list, not fields"),
        (b"", "contains NoneType, not fields"),
    ],
)
def test_what_is_no_yaml_file_of_fields_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "flight_delay.yaml"
    path.write_bytes(content)
    assert said in refusal(path, ViewDeclaration)


def test_a_missing_file_is_refused_by_its_path(tmp_path: Path) -> None:
    assert f"{tmp_path / 'gone.yaml'} does not exist" in refusal(tmp_path / "gone.yaml", ModelDeclaration)


def test_yaml_words_stay_words_and_merged_fields_may_be_overridden() -> None:
    text = "on: [NO, yes]\nreally: true\none: &one {a: 1, b: 2}\ntwo: {<<: *one, b: 3}\n"
    assert load(text) == {"on": ["NO", "yes"], "really": True, "one": {"a": 1, "b": 2}, "two": {"a": 1, "b": 3}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:30", "22:30"),
        ("1:30:00", "1:30:00"),
        ("007", "007"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("1e-3", 0.001),
        ("-1.5", -1.5),
        ("12", 12),
        ("0x1f", 31),
        (".inf", float("inf")),
        ("1.2.3", "1.2.3"),
    ],
)
def test_a_number_is_what_a_person_reads_as_one(text: str, value: str | float) -> None:
    assert load(f"field: {text}") == {"field": value}


def test_unknown_features_of_a_model_are_all_named_with_their_place() -> None:
    fields = copy.deepcopy(MODEL_FIELDS)
    fields["training"]["features"] = ["distance", "colour"]
    fields["evaluation"]["slices"]["columns"] = ["carier"]
    fields["monitoring"]["drift"]["exclude"] = ["temprature"]
    found = model_faults(ModelDeclaration.model_validate(fields), VIEW)
    assert [fault.partition(";")[0] for fault in found] == [
        "training.features: unknown feature 'colour'",
        "evaluation.slices.columns: unknown feature 'carier'",
        "monitoring.drift.exclude: unknown feature 'temprature'",
    ]


def include_of(tmp_path: Path) -> Path:
    written(tmp_path / "datasets", DATASET_FIELDS, "flights.yaml")
    written(tmp_path / "features", VIEW_FIELDS)
    written(tmp_path / "models", MODEL_FIELDS)
    return tmp_path


def test_one_bad_file_never_hides_the_good_ones(tmp_path: Path) -> None:
    include = include_of(tmp_path)
    written(include / "models", MODEL_FIELDS | {"modle": 1}, "typo.yaml")
    written(include / "models", MODEL_FIELDS, "other_name.yaml")
    found = Catalog.read(include)
    assert list(found.models) == ["flight_delay"]
    assert set(found.refused) == {"models/typo.yaml", "models/other_name.yaml"}
    with pytest.raises(Refused, match="unknown field"):
        found.model("typo")
    assert "give file and model one name" in str(found.refused["models/other_name.yaml"])


def test_what_rests_on_a_bad_file_is_refused_with_it_and_says_so(tmp_path: Path) -> None:
    include = include_of(tmp_path)
    (include / "datasets" / "flights.yaml").write_text("dataset: flights\n")
    found = Catalog.read(include)
    assert (found.datasets, found.views, found.models) == ({}, {}, {})
    assert set(found.refused) == {"datasets/flights.yaml", "features/flight_delay.yaml", "models/flight_delay.yaml"}


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    found = Catalog.read(include_of(tmp_path))
    with pytest.raises(Refused, match="there is no model flight_dely; there is flight_delay"):
        found.model("flight_dely")
    assert found.dataset_of("flight_delay").dataset == "flights"
    assert [view.view for view in found.views_of("flights")] == ["flight_delay"]


def test_an_empty_folder_declares_nothing(tmp_path: Path) -> None:
    assert Catalog.read(tmp_path) == Catalog()


def test_the_declarations_of_this_repository_have_no_fault() -> None:
    found = Catalog.read(INCLUDE)
    assert found.refused == {}
    assert set(found.datasets) == {"flights", "shop"}
    assert set(found.models) == {"flight_delay", "arrival_delay_minutes", "buys_again"}
