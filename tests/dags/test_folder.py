from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from airflow.utils.file import might_contain_dag_via_default_heuristic

from pipelines.settings import REPOSITORY
from pipelines.spec.catalog import Catalog
from practices._operators.airflow_dag import numbered_stage

Parse = Callable[..., dict[str, Any]]
CATALOG = Catalog.read(REPOSITORY / "include")
OF_A_DATASET = ("ingest", "arrive", "validate", "catch_up")
OF_A_MODEL = ("train", "evaluate", "deploy", "rollback", "monitor")
HEAVY = {
    *("polars", "pandas", "numpy", "pyarrow", "deltalake", "scipy", "sklearn", "matplotlib"),
    *("mlflow", "xgboost", "great_expectations", "evidently", "optuna", "onnxruntime", "kubernetes", "boto3"),
}


def test_every_declaration_has_the_dag_of_each_of_its_stages(folder: dict[str, Any]) -> None:
    datasets = {f"{name}__{stage}" for name in CATALOG.datasets for stage in OF_A_DATASET}
    models = {f"{name}__{stage}" for name in CATALOG.models for stage in OF_A_MODEL}
    models |= {f"{name}__drill" for name, spec in CATALOG.models.items() if spec.deployment.rollback.drill}
    assert folder["errors"] == {}
    assert set(folder["dags"]) == datasets | models | {"airworthy__incidents", "airworthy__reap_rollouts"}
    assert {"flights", "flight_delay", "arrival_delay_minutes"} <= {dag.split("__")[0] for dag in folder["dags"]}


@pytest.mark.parametrize("path", sorted((REPOSITORY / "dags").glob("*.py")), ids=lambda path: path.name)
def test_airflow_opens_every_file_of_the_folder(path: Path) -> None:
    """By default it passes over files that do not seem to hold a DAG, and says nothing."""
    assert might_contain_dag_via_default_heuristic(str(path))


def test_parsing_the_folder_imports_no_data_or_learning_library(folder: dict[str, Any]) -> None:
    assert HEAVY.isdisjoint(folder["loaded"])


def test_every_dag_says_what_it_is_for_whose_it_is_and_what_it_is_about(folder: dict[str, Any]) -> None:
    for name, dag in folder["dags"].items():
        subject, _, stage = name.partition("__")
        if subject == "airworthy":  # it is about all models
            assert {subject, stage.replace("_", " ")} <= set(dag["tags"])
            continue
        spec = CATALOG.datasets.get(subject) or CATALOG.models[subject]
        assert {subject, numbered_stage(stage), spec.owner} == set(dag["tags"]), name
        assert dag["owner"] == spec.owner, name
        assert spec.description in dag["doc"], name
        assert dag["description"], name
        for task in dag["tasks"]:
            kind = re.sub(r"_[0-9].*", "_…", task)
            assert f"**{kind}" in dag["doc"] or task.startswith("build_features_"), f"{name} does not explain {task}"


def test_every_field_of_a_form_has_a_title_a_description_and_a_type(folder: dict[str, Any]) -> None:
    fields = {(name, field): form for name, dag in folder["dags"].items() for field, form in dag["params"].items()}
    assert len(fields) >= 8
    for where, form in fields.items():
        assert form["schema"].get("title"), where
        assert form["schema"].get("type"), where
        assert form["description"], where


def test_every_field_of_a_form_is_bounded_so_that_nothing_is_refused_only_after_hours_of_training(
    folder: dict[str, Any],
) -> None:
    for name, dag in folder["dags"].items():
        for field, form in dag["params"].items():
            schema, types = form["schema"], form["schema"]["type"]
            if "string" in types:
                assert {"maxLength", "format", "enum"} & set(schema) or "{" in schema["pattern"], (name, field)
            if "integer" in types:
                assert {"minimum", "maximum"} <= set(schema), (name, field)


def test_a_field_may_be_left_empty_unless_its_own_default_is_refused(folder: dict[str, Any]) -> None:
    """Airflow's form sends an empty field as null, and marks one whose type has no null as obligatory."""
    obligatory = set()
    for name, dag in folder["dags"].items():
        for field, form in dag["params"].items():
            if not jsonschema.Draft7Validator(form["schema"]).is_valid(form["value"]):
                obligatory.add((name.rpartition("__")[2], field))
            elif form["schema"]["type"] != "boolean":
                assert "null" in form["schema"]["type"], f"{field} of {name} has to be filled in"
    assert obligatory == {("rollback", "reason")}


def test_a_text_is_written_freely_and_not_chosen_from_examples(folder: dict[str, Any]) -> None:
    """Airflow's form makes a list to choose from of a field with examples."""
    texts = {
        (name.rpartition("__")[2], field): form
        for name, dag in folder["dags"].items()
        for field, form in dag["params"].items()
        if form["schema"].get("maxLength", 0) > 1000
    }
    assert set(texts) == {("rollback", "reason"), ("train", "hypothesis"), ("incidents", "why")}
    assert [where for where, form in texts.items() if "examples" in form["schema"]] == []
    assert all("For example:" in form["description"] for form in texts.values())


@pytest.mark.parametrize(
    ("stage", "given", "holds"),
    [
        ("rollback", {"reason": "late flights look punctual"}, True),
        ("rollback", {"reason": "          "}, False),
        ("rollback", {"reason": "x" * 2001}, False),
        ("rollback", {"reason": "too short"}, False),
        ("rollback", {"reason": "late flights look punctual", "version": "three"}, False),
        ("rollback", {"reason": "late flights look punctual", "version": "9" * 10}, False),
        ("train", {"seed": 2**31 - 1}, True),
        ("train", {"seed": 2**31}, False),
        ("train", {"seed": -1}, False),
        ("train", {"seed": 1.5}, False),
        ("train", {"hypothesis": "x" * 2001}, False),
        ("train", {"recent_days": 40}, True),
        ("train", {"recent_days": 39}, False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_form_takes_what_the_task_can_use_and_nothing_else(
    folder: dict[str, Any], stage: str, given: dict[str, Any], holds: bool
) -> None:
    form = folder["dags"][f"flight_delay__{stage}"]["params"]
    schema = {"type": "object", "properties": {name: field["schema"] for name, field in form.items()}}
    assert jsonschema.Draft7Validator(schema).is_valid(given) is holds


def test_every_task_is_tried_again_only_when_that_can_help(folder: dict[str, Any]) -> None:
    tasks = {(name, task): facts for name, dag in folder["dags"].items() for task, facts in dag["tasks"].items()}
    assert all(facts["policy"] for facts in tasks.values())
    assert all(facts["retries"] >= 1 for facts in tasks.values())


@pytest.mark.parametrize(
    ("dag", "task", "asset"),
    [
        ("flights__ingest", "ingest_partition", "flights:ingested"),
        ("flights__arrive", "ingest_late_day", "flights:ingested"),
        ("flights__validate", "publish_partition", "flights:validated"),
        ("flights__validate", "build_features_flight_delay", "flight_delay:features"),
        ("flight_delay__train", "train_model", "flight_delay:candidate"),
        ("flight_delay__evaluate", "approve_candidate", "flight_delay:approved"),
    ],
)
def test_a_stage_hands_over_by_the_asset_that_the_next_one_waits_for(
    folder: dict[str, Any], dag: str, task: str, asset: str
) -> None:
    assert asset in folder["dags"][dag]["tasks"][task]["outlets"]


def test_nothing_floods_a_small_machine(folder: dict[str, Any]) -> None:
    assert {name: dag["max_active_runs"] for name, dag in folder["dags"].items() if dag["max_active_runs"] > 16} == {}
    assert folder["dags"]["flights__arrive"]["max_active_runs"] == 1
    assert folder["dags"]["flights__ingest"]["max_active_runs"] <= 8


@pytest.mark.parametrize("dag_id", ["flights__validate", "flight_delay__monitor", "arrival_delay_minutes__train"])
def test_a_running_task_builds_only_its_own_dag(parse: Parse, tmp_path: Path, dag_id: str) -> None:
    assert set(parse(tmp_path, dag_id=dag_id)["dags"]) == {dag_id}


@pytest.fixture
def include(tmp_path: Path) -> Path:
    """A copy of the declarations, to be spoilt."""
    return Path(shutil.copytree(REPOSITORY / "include", tmp_path / "include"))


def test_a_faulty_declaration_is_told_fault_by_fault_and_hides_no_good_one(
    parse: Parse, tmp_path: Path, include: Path
) -> None:
    path = include / "models" / "flight_delay.yaml"
    path.write_text(path.read_text().replace("\nview:", "\nveiw:").replace("threshold: 0.35", "threshold: 35"))
    found = parse(tmp_path, include=include)
    assert list(found["errors"]) == ["declarations.py"]
    told = found["errors"]["declarations.py"]
    assert all(word in told for word in ("include/models/flight_delay.yaml", "veiw", "view: is required", "threshold"))
    assert "arrival_delay_minutes__train" in found["dags"]
    assert "flights__ingest" in found["dags"]
    assert not [name for name in found["dags"] if name.startswith("flight_delay__")]


def test_a_faulty_declaration_does_not_disturb_a_task_of_another_model(
    parse: Parse, tmp_path: Path, include: Path
) -> None:
    (include / "models" / "flight_delay.yaml").write_text("model: [")
    found = parse(tmp_path, include=include, dag_id="arrival_delay_minutes__train")
    assert (set(found["dags"]), found["errors"]) == ({"arrival_delay_minutes__train"}, {})


def test_an_empty_installation_parses_to_nothing(parse: Parse, tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    found = parse(tmp_path, include=tmp_path / "include")
    assert (found["dags"], found["errors"]) == ({}, {})


def test_a_dataset_of_each_kind_of_partition_has_its_dags_which_name_it(parse: Parse, tmp_path: Path) -> None:
    fields = {"hour": "hour", "week": "week", "month": "month", "once": "partition"}
    folder = tmp_path / "include" / "datasets"
    folder.mkdir(parents=True)
    for every in fields:
        partition = {"every": every} | ({} if every == "once" else {"start": "2024-01-01", "timezone": "Africa/Cairo"})
        source = {
            "files": "{source}/{partition}/a.csv",
            "key": ["id"],
            "event_time": "none",
            "columns": {"id": "integer"},
        }
        declared = {"schema": 2, "dataset": f"by_{every}", "description": "Readings", "owner": "metering"}
        declared |= {"partition": partition, "sources": {"readings": source}}
        (folder / f"by_{every}.yaml").write_text(yaml.safe_dump(declared))
    parsed = parse(tmp_path, include=tmp_path / "include")
    assert parsed["errors"] == {}
    for every, field in fields.items():
        for stage in OF_A_DATASET:
            dag = parsed["dags"][f"by_{every}__{stage}"]
            assert f"{field}s" in dag["description"] or f"each {field}" in dag["description"]
            assert list(dag["params"]) == ([field] if stage in ("ingest", "validate") else [])


def test_the_model_of_a_table_is_monitored_each_day_by_what_callers_send(parse: Parse, tmp_path: Path) -> None:
    source = {
        "files": "{source}/{partition}/loans.csv",
        "key": "row",
        "columns": {"amount": "number", "bad": "boolean"},
    }
    declared = {
        "datasets/bank": {"schema": 2, "dataset": "bank", "partition": {"every": "once"}, "sources": {"loans": source}},
        "features/loan": {
            "schema": 2,
            "view": "loan",
            "rows": {"table": "loans"},
            "label": {"is_bad": "bad"},
            "features": {"*": "own"},
        },
        "models/risk": {"schema": 2, "model": "risk", "view": "loan", "target": "is_bad"},
    }
    for name, fields in declared.items():
        file = tmp_path / "include" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(fields))
    found = parse(tmp_path / "home", include=tmp_path / "include")
    assert found["errors"] == {}
    assert set(found["dags"]["risk__monitor"]["tasks"]) == {"check_live_inputs", "request_retraining", "all_is_well"}
    assert set(found["dags"]["bank__validate"]["tasks"]) == {"publish_partition", "build_features_loan"}
