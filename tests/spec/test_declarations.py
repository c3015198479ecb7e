"""A declaration with faults is refused with all of them; what is named nowhere else is found out."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.errors import Refused
from pipelines.spec.catalog import Catalog, model_faults, read_declaration, target_faults, view_faults
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import RESERVED_COLUMNS, FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.spec.plain_yaml import load
from tests.steps.flights_by_hand import DATASET, INCLUDE, VIEW, model

VIEW_FIELDS: dict[str, Any] = load((INCLUDE / "features" / "flight_delay.yaml").read_text())
MODEL_FIELDS: dict[str, Any] = load((INCLUDE / "models" / "flight_delay.yaml").read_text())
DATASET_FIELDS: dict[str, Any] = DATASET.model_dump(mode="json", by_alias=True)


FILE = "{source}/{partition}/flights.csv"


def written(folder: Path, fields: dict[str, Any], name: str = "flight_delay.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    return path


def view_with(**features: dict[str, Any]) -> dict[str, Any]:
    fields = copy.deepcopy(VIEW_FIELDS)
    for name, feature in features.items():
        fields["features"][name] = copy.deepcopy(VIEW_FIELDS["features"]["carrier"]) | feature
    return fields


def refusal(path: Path, kind: type[FeatureView] | type[ModelSpec] | type[DatasetSpec]) -> str:
    with pytest.raises(Refused) as caught:
        read_declaration(path, kind)
    return str(caught.value)


@pytest.mark.parametrize("name", ["feat1", "x", "f_12", "feature", "temp", "tmp2", "value"])
def test_a_feature_name_that_says_nothing_is_refused(tmp_path: Path, name: str) -> None:
    fields = view_with() | {"features": {name: VIEW_FIELDS["features"]["carrier"]}}
    assert f"{name!r} is too vague" in refusal(written(tmp_path, fields), FeatureView)


@pytest.mark.parametrize("name", ["Carrier", "carrier-code", "_carrier", "carrier__code"])
def test_a_feature_name_that_is_not_lower_snake_case_is_refused(tmp_path: Path, name: str) -> None:
    assert "not lower_snake_case" in refusal(written(tmp_path, view_with(**{name: {}})), FeatureView)


@pytest.mark.parametrize(
    ("name", "said"),
    [("carrier_delay_mean", "must end with its window"), ("carrier_delay_mean_3h", "window of 24 hours")],
)
def test_a_window_is_named_at_the_end_and_truly(tmp_path: Path, name: str, said: str) -> None:
    feature = VIEW_FIELDS["features"]["carrier_departure_delay_mean_24h"]
    assert said in refusal(written(tmp_path, view_with(**{name: feature})), FeatureView)


@pytest.mark.parametrize(
    "transformation",
    [
        {"type": "column", "column": "dep_delay"},
        {"type": "column", "column": "arr_time"},
        {"type": "lookup", "source": "planes", "on": ["air_time"], "column": "seats"},
        {"type": "latest_observation", "source": "weather", "by": ["arr_delay"], "time_column": "time_hour"}
        | {"column": "temp", "max_age_hours": 6},
    ],
)
def test_a_feature_of_the_future_is_refused(tmp_path: Path, transformation: dict[str, Any]) -> None:
    fields = view_with(delay_so_far={"transformation": transformation})
    assert "an outcome, which is unknown at prediction time" in refusal(written(tmp_path, fields), FeatureView)


def test_a_window_over_what_is_known_only_at_arrival_is_refused(tmp_path: Path) -> None:
    window = {"type": "window_mean", "by": ["carrier"], "column": "arr_delay", "window_hours": 24}
    fields = view_with(carrier_arrival_delay_mean_24h={"transformation": window, "type": "numeric"})
    assert "reads 'arr_delay', an outcome" in refusal(written(tmp_path, fields), FeatureView)


@pytest.mark.parametrize("name", RESERVED_COLUMNS)
def test_a_label_may_not_bear_the_name_of_another_column(tmp_path: Path, name: str) -> None:
    fields = view_with()
    assert "has a reserved name" in refusal(
        written(tmp_path, fields | {"label": fields["label"] | {"name": name}}), FeatureView
    )


@pytest.mark.parametrize("name", [*RESERVED_COLUMNS, "late"])
def test_a_feature_may_not_bear_the_name_of_another_column(tmp_path: Path, name: str) -> None:
    assert "reserved names" in refusal(written(tmp_path, view_with(**{name: {}})), FeatureView)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"constraints": {"minimum": 1}}, "minimum limit numeric features, not categories"),
        ({"type": "numeric", "constraints": {"minimum": 2, "maximum": 1}}, "minimum 2 is above maximum 1"),
        ({"type": "numeric", "constraints": {"maximum": float("nan")}}, "maximum must be finite numbers"),
    ],
)
def test_a_constraint_that_no_value_can_satisfy_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in refusal(written(tmp_path, view_with(airline_code=change)), FeatureView)


@pytest.mark.parametrize(
    ("key", "name", "change"),
    [
        (["time_hour", "prediction_time"], "airline_code", {}),
        (["time_hour", "day"], "airline_code", {}),
        (["time_hour", "late"], "airline_code", {}),
        (["time_hour", "target"], "airline_code", {}),
        (["time_hour", "label_time"], "airline_code", {}),
        (
            ["time_hour", "flight"],
            "flight",
            {"type": "numeric", "transformation": {"type": "column", "column": "flight"}},
        ),
        (["time_hour", "flight"], "flight", {"transformation": {"type": "column", "column": "dest"}}),
    ],
)
def test_a_key_is_never_replaced_by_another_column_of_its_name(
    tmp_path: Path, key: list[str], name: str, change: dict[str, Any]
) -> None:
    fields = view_with(**{name: change}) | {"key": key}
    assert "share their name with another column of the feature table" in refusal(
        written(tmp_path, fields), FeatureView
    )


def test_all_faults_of_a_file_are_listed_at_once_each_with_its_place(tmp_path: Path) -> None:
    fields = copy.deepcopy(MODEL_FIELDS)
    fields["ownr"] = fields.pop("owner")
    fields["training"]["seed"] = "many"
    fields["training"]["split"] = {"train": 0.9}
    fields["evaluation"]["comparison"]["confidence"] = 3
    text = refusal(written(tmp_path, fields), ModelSpec)
    assert "flight_delay.yaml has 5 fault(s)" in text
    for part in ("owner: is required; add it", "ownr: unknown field", "training.seed:", "split shares sum to 1.2000"):
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
    text = refusal(tmp_path / "flight_delay.yaml", ModelSpec)
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
        ({"problem": "regression"}, "target.at_least is needed for a classification"),
        ({"target": {"column": "arr_delay"}}, "target.at_least is needed for a classification"),
        ({"evaluation": MODEL_FIELDS["evaluation"] | {"minimum_metrics": {"mae": {"max": 3}}}}, "'mae'"),
        ({"evaluation": MODEL_FIELDS["evaluation"] | {"minimum_metrics": {"roc_auc": {}}}}, "declare min, max or both"),
        ({"training": {"estimator": {"kind": "sklearn"}}}, "class_path is needed"),
        ({"training": {"estimator": {"kind": "sklearn", "class_path": "os.system"}}}, "must lie in sklearn"),
        ({"training": {"search": {"trials": 2, "space": {"eta": {"low": 1}}}}}, "either low and high, or choices"),
        ({"runner": {"score": "process"}}, "runner.score"),
        ({"schema": 2}, "schema"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    assert said in refusal(written(tmp_path, MODEL_FIELDS | change), ModelSpec)


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
    assert said in refusal(path, FeatureView)


def test_a_missing_file_is_refused_by_its_path(tmp_path: Path) -> None:
    assert f"{tmp_path / 'gone.yaml'} does not exist" in refusal(tmp_path / "gone.yaml", ModelSpec)


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


def changed_view(**fields: Any) -> FeatureView:
    return FeatureView.model_validate(VIEW_FIELDS | fields)


def feature(**how: Any) -> dict[str, Any]:
    return {"features": {"some_feature": VIEW_FIELDS["features"]["carrier"] | how}}


LOOKUP = {"type": "lookup", "source": "planes", "on": ["tailnum"], "column": "seats"}


@pytest.mark.parametrize(
    ("view", "faults"),
    [
        (VIEW, 2),
        (changed_view(outcome_columns=[]), 0),
        (changed_view(entity_source="trains"), 1),
        (changed_view(outcome_columns=[], key=["time_hour", "train", "track"]), 2),
        (changed_view(outcome_columns=[], **feature(source_columns=["carrier", "flights.nothing"])), 2),
        (changed_view(outcome_columns=[], **feature(transformation=LOOKUP | {"source": "trains"})), 1),
        (changed_view(outcome_columns=[], **feature(transformation=LOOKUP | {"column": "wheels"})), 1),
        (changed_view(outcome_columns=[], **feature(transformation=LOOKUP | {"on": ["dest"]})), 2),
    ],
)
def test_names_of_a_view_that_its_dataset_does_not_have_are_all_found(view: FeatureView, faults: int) -> None:
    assert len(view_faults(view, DATASET)) == faults


def test_personal_data_never_become_a_feature() -> None:
    fields = copy.deepcopy(DATASET_FIELDS)
    fields["sources"]["flights"]["columns"]["tailnum"]["pii"] = True
    view = changed_view(outcome_columns=[], **feature(transformation={"type": "column", "column": "tailnum"}))
    assert view_faults(view, DatasetSpec.model_validate(fields)) == [
        "features.some_feature: 'tailnum' of flights is personal data; no feature may use it"
    ]


def test_a_view_of_an_undeclared_dataset_and_a_model_of_an_undeclared_view_are_found() -> None:
    assert view_faults(VIEW, None) == ["dataset: 'flights' is not declared, or was refused"]
    assert model_faults(model(), None) == ["view: 'flight_delay' is not declared, or was refused"]


def test_unknown_features_of_a_model_are_all_named_with_their_place() -> None:
    fields = copy.deepcopy(MODEL_FIELDS)
    fields["training"]["features"] = ["distance", "colour"]
    fields["evaluation"]["slices"]["columns"] = ["carier"]
    fields["monitoring"]["drift"]["exclude"] = ["temprature"]
    found = model_faults(ModelSpec.model_validate(fields), VIEW)
    assert [fault.partition(";")[0] for fault in found] == [
        "training.features: unknown feature 'colour'",
        "evaluation.slices.columns: unknown feature 'carier'",
        "monitoring.drift.exclude: unknown feature 'temprature'",
    ]


@pytest.mark.parametrize(
    ("column", "said"), [("arr_dlay", "not a column of flights"), ("dest", "a target must be a number")]
)
def test_a_target_that_the_entities_do_not_have_as_a_number_is_found(column: str, said: str) -> None:
    spec = ModelSpec.model_validate(MODEL_FIELDS | {"target": {"column": column, "at_least": 15}})
    assert said in target_faults(spec, VIEW, DATASET)[0]


def include_of(tmp_path: Path) -> Path:
    written(tmp_path / "datasets", DATASET_FIELDS, "flights.yaml")
    written(tmp_path / "features", VIEW_FIELDS | {"outcome_columns": []})
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
    assert set(found.models) == {"flight_delay", "arrival_delay_minutes"}
