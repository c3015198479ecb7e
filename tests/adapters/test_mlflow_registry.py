"""The real registry and the fake keep one contract; an outage is told from an unknown version."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.adapters.mlflow_registry import MlflowRegistry
from pipelines.errors import AirworthyError, Refused, Unavailable
from pipelines.mlflow_client import grouped_metric, open_client, plain_metric, translate_mlflow_errors
from pipelines.ports import Registry
from pipelines.settings import REPOSITORY
from pipelines.testing.ports import FakePorts, MemoryRegistry
from pipelines.testing.rollout_target import FakeTarget
from pipelines.versions.reading import read_standing
from pipelines.versions.records import put_right, update_aliases, update_status
from pipelines.versions.standing import differences
from tests.mlflow_database import copy_empty_mlflow

Add = Callable[[str, dict[str, str]], str]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("mlflow") / "empty.db"
    copy_empty_mlflow(database)
    return database


@pytest.fixture(params=["memory", "mlflow"])
def filled(request: pytest.FixtureRequest, tmp_path: Path, empty: Path) -> tuple[Registry, Add]:
    """A registry, and how a training adds a version to it."""
    if request.param == "memory":
        fake = MemoryRegistry()
        return fake, lambda model, tags: fake.register(model, tags=tags, metrics={"validation_roc_auc": 0.7}).version
    shutil.copy(empty, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = open_client(uri)

    def add(model: str, tags: dict[str, str]) -> str:
        if not client.search_registered_models(f"name='{model}'"):
            client.create_registered_model(model)
            client.create_experiment(model, artifact_location=(tmp_path / "artifacts").as_uri())
        run = client.create_run(client.get_experiment_by_name(model).experiment_id)
        client.log_metric(run.info.run_id, "validation_roc_auc", 0.7)
        source = f"{run.info.artifact_uri}/model"
        return str(client.create_model_version(model, source, run.info.run_id, tags=tags).version)

    return MlflowRegistry(uri), add


def test_a_version_is_known_with_its_tags_metrics_and_semantic_version(filled: tuple[Registry, Add]) -> None:
    registry, add = filled
    version = add("flight_delay", {"airworthy.semantic_version": "1.0.0", "airworthy.model_digest": "abc"})
    info = registry.get("flight_delay", version)
    assert (info.model, info.version, info.semantic, info.aliases) == ("flight_delay", "1", "1.0.0", ())
    assert info.tags["airworthy.model_digest"] == "abc"
    assert info.metrics == {"validation_roc_auc": 0.7}
    assert info.run_id
    assert info.source


def test_the_digests_of_a_training_are_on_its_run_and_a_version_from_before_0_2_0_has_them_itself(
    tmp_path: Path, empty: Path
) -> None:
    shutil.copy(empty, tmp_path / "mlflow.db")
    client = open_client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.create_experiment("m", artifact_location=(tmp_path / "artifacts").as_uri())
    client.create_registered_model("m")
    on_run = {"airworthy.model_digest": "abc", "airworthy.status": "a run has none", "mlflow.user": "ann"}
    for run_tags, version_tags, metric in (
        ({}, {"airworthy.model_digest": "abc", "airworthy.status": "approved"}, "test_roc_auc"),
        (on_run, {"airworthy.status": "approved"}, "test/roc_auc"),
    ):
        run = client.create_run(experiment, tags=run_tags)
        client.log_metric(run.info.run_id, metric, 0.7)
        client.create_model_version("m", f"{run.info.artifact_uri}/model", run.info.run_id, tags=version_tags)
    client.delete_run(run.info.run_id)
    registry = MlflowRegistry(str(client.tracking_uri))
    for infos in (registry.versions("m"), [registry.get("m", "2"), registry.get("m", "1")]):
        for info in infos:
            assert info.tags == {"airworthy.model_digest": "abc", "airworthy.status": "approved"}
            assert info.metrics == {"test_roc_auc": 0.7}


@pytest.mark.parametrize(
    ("plain", "grouped"),
    [
        ("test_roc_auc", "test/roc_auc"),
        ("champion_test_roc_auc", "champion_test/roc_auc"),
        ("validation_log_loss", "validation/log_loss"),
        ("train_roc_auc", "train/roc_auc"),
        ("cv_roc_auc_mean", "cv/roc_auc_mean"),
        ("rounds", "training/rounds"),
        ("learning_rate", "training/learning_rate"),
    ],
)
def test_metrics_are_grouped_in_mlflow_and_known_by_their_plain_names(plain: str, grouped: str) -> None:
    assert (grouped_metric(plain), plain_metric(grouped), plain_metric(plain)) == (grouped, plain, plain)


@pytest.mark.parametrize("name", ["data/rows", "system/cpu_percent", "cv_fold/roc_auc", "other"])
def test_a_metric_that_is_in_a_group_or_in_none_keeps_its_name(name: str) -> None:
    assert grouped_metric(name) == plain_metric(name) == name


def test_what_a_person_deletes_in_mlflow_is_named_and_what_is_served_is_put_right(tmp_path: Path, empty: Path) -> None:
    shutil.copy(empty, tmp_path / "mlflow.db")
    client = open_client(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.create_registered_model("m")
    ports = FakePorts.make(tmp_path, registry=MlflowRegistry(str(client.tracking_uri)))
    target = ports.targets["m"] = FakeTarget("1")
    for version in ("1", "2", "3"):
        client.create_model_version("m", "s")
        if version != "1":
            target.release("m", version, "b", version, key=version)
        state = target.state("m")
        update_status(ports, ports.ledger.append("release", "m", version, {"previous": state.previous}, actor="a"))
        update_aliases(ports, state)
    assert differences(read_standing(ports, "m")) == []
    client.delete_registered_model_alias("m", "champion")
    client.delete_model_version("m", "2")
    found = {each.what: (each.recorded, each.right) for each in differences(read_standing(ports, "m"))}
    assert found["alias champion"] == (None, "3")
    assert set(found) == {"alias champion", "version 2 in the registry"}
    put_right(ports, read_standing(ports, "m"), by="ann")
    assert [each.what for each in differences(read_standing(ports, "m"))] == ["version 2 in the registry"]
    assert {info.version: info.aliases for info in ports.registry.versions("m")} == {"1": (), "3": ("champion",)}
    client.delete_model_version("m", "3")
    texts = read_standing(ports, "m").disagreements
    assert any(
        text.startswith("version 3 in the registry is missing, but the target serves version 3") for text in texts
    )


def test_versions_come_newest_first(filled: tuple[Registry, Add]) -> None:
    registry, add = filled
    for _ in range(11):
        add("flight_delay", {})
    assert [info.version for info in registry.versions("flight_delay")] == [str(n) for n in range(11, 0, -1)]


def test_an_unknown_model_has_no_versions_and_no_alias(filled: tuple[Registry, Add]) -> None:
    registry, _ = filled
    assert registry.versions("nobody") == []
    assert registry.by_alias("nobody", "champion") is None
    registry.move_alias("nobody", "champion", None)


@pytest.mark.parametrize("version", ["7", "one"])
def test_an_unknown_version_is_refused_everywhere(filled: tuple[Registry, Add], version: str) -> None:
    registry, add = filled
    add("flight_delay", {})
    for call in (
        lambda: registry.get("flight_delay", version),
        lambda: registry.set_tags("flight_delay", version, {"a": "b"}),
        lambda: registry.move_alias("flight_delay", "champion", version),
    ):
        with pytest.raises(Refused):
            call()


def test_tags_are_added_and_replaced(filled: tuple[Registry, Add]) -> None:
    registry, add = filled
    version = add("flight_delay", {"airworthy.status": "candidate", "kept": "yes"})
    registry.set_tags("flight_delay", version, {"airworthy.status": "approved", "new": "1"})
    tags = registry.get("flight_delay", version).tags
    assert tags == {"airworthy.status": "approved", "kept": "yes", "new": "1"}


def test_an_alias_points_at_one_version_moves_and_goes(filled: tuple[Registry, Add]) -> None:
    registry, add = filled
    first, second = add("flight_delay", {}), add("flight_delay", {})
    registry.move_alias("flight_delay", "champion", first)
    registry.move_alias("flight_delay", "previous", first)
    assert registry.get("flight_delay", first).aliases == ("champion", "previous")
    registry.move_alias("flight_delay", "champion", second)
    found = registry.by_alias("flight_delay", "champion")
    assert found is not None
    assert (found.version, found.aliases) == (second, ("champion",))
    assert [info.aliases for info in registry.versions("flight_delay")] == [("champion",), ("previous",)]
    registry.move_alias("flight_delay", "champion", None)
    registry.move_alias("flight_delay", "champion", None)
    assert registry.by_alias("flight_delay", "champion") is None


@pytest.mark.parametrize(
    "call",
    [
        lambda registry: registry.get("flight_delay", "1"),
        lambda registry: registry.versions("flight_delay"),
        lambda registry: registry.by_alias("flight_delay", "champion"),
        lambda registry: registry.set_tags("flight_delay", "1", {"a": "b"}),
        lambda registry: registry.move_alias("flight_delay", "champion", "1"),
    ],
)
@pytest.mark.parametrize("make", [lambda: MlflowRegistry("http://127.0.0.1:9"), MemoryRegistry])
def test_a_registry_that_does_not_answer_is_unavailable(call: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = make()
    registry.down = True
    with pytest.raises(Unavailable):
        call(registry)


def test_an_outage_is_told_within_a_minute() -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        MlflowRegistry("http://127.0.0.1:9").versions("flight_delay")
    assert time.monotonic() - started < 60, "MLflow itself goes on asking for minutes"


def test_a_password_in_the_address_is_not_repeated() -> None:
    with pytest.raises(Unavailable) as error, translate_mlflow_errors("postgresql://ann:secret@db/mlflow"):
        raise ConnectionError("gone")
    assert "secret" not in str(error.value)
    assert "db/mlflow" in str(error.value)


def test_a_password_that_mlflow_itself_repeats_is_not_repeated() -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, PERMISSION_DENIED

    address = "https://ann:se/cr:et@registry/api/2.0/mlflow/runs/get"
    for code in (INTERNAL_ERROR, PERMISSION_DENIED):
        with pytest.raises(AirworthyError) as error, translate_mlflow_errors("https://ann:se/cr:et@registry"):
            raise MlflowException(f"API request to {address} failed with exception timed out", code)
        assert "cr:et" not in str(error.value)
        assert "https://***@registry/api" in str(error.value)


def test_a_fault_of_our_own_is_not_dressed_up_as_an_outage() -> None:
    with pytest.raises(KeyError), translate_mlflow_errors("http://127.0.0.1:9"):
        raise KeyError("a bug")


def test_the_adapter_costs_no_import_of_mlflow_before_its_first_call() -> None:
    program = (
        "import sys; from pipelines.adapters.mlflow_registry import MlflowRegistry; "
        "MlflowRegistry('http://x'); sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False).returncode == 0
