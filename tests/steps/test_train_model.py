"""A request becomes one registered candidate with everything that made it; retried, killed or refused, never two."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.messages.training import ModelDigests, ReproduceRequest, TrainResult
from pipelines.mlflow_client import open_client
from pipelines.rules.reproducible_training import judge_reproduction, judge_training
from pipelines.settings import REPOSITORY
from pipelines.steps import reproduce_model, train_model
from pipelines.steps.drift.compare import compare
from pipelines.steps.models.registered_model import load_model
from pipelines.steps.training import plots, run_record
from pipelines.steps.training.checkpoints import INDEX_FILE
from pipelines.tables.encoding import encode
from pipelines.tables.profile import TrainingProfile, profile_frame
from pipelines.testing.ports import FakePorts
from tests.steps.small_training import FolderStore, keep_snapshot, ports, request, rows, spec

MODEL = "small_delay"


def digests(result: TrainResult) -> ModelDigests:
    """What the ledger's line on a training has."""
    return ModelDigests(**result.model_dump(include={"model_digest", "judged_digest", "folder_digest", "snapshot"}))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def trained(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FakePorts, TrainResult]:
    """One plain training that many tests look at."""
    world = ports(tmp_path_factory.mktemp("trained"), shared, spec(experiment_tags=["baseline"]))
    snapshot = keep_snapshot(world.store, rows())
    result = train_model.run(request(snapshot, hypothesis="wind matters", requested_by="ann", trigger="form"), world)
    return world, result


def test_the_result_is_judged_as_trained_as_declared(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    assert judge_training(result, world.catalog.model(MODEL)).passed
    assert result.metrics["validation_roc_auc"] > 0.7


def test_the_version_is_a_candidate_and_carries_its_digests(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    info = world.registry.get(MODEL, result.version)
    assert info.tags["airworthy.status"] == "candidate"
    assert info.tags["airworthy.model_digest"] == result.model_digest
    assert info.tags["airworthy.snapshot"] == result.snapshot
    assert info.tags["airworthy.run_key"] == "small_delay__train/manual"
    assert info.tags["airworthy.environment_digest"] == result.environment_digest
    assert info.tags["airworthy.git_revision"] == "abc123"
    assert info.run_id == result.run_id
    assert info.semantic is None


def test_people_see_few_short_tags_and_a_card_in_mlflow(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    client = open_client(world.settings.tracking)
    version = client.get_model_version(MODEL, result.version)
    assert version.tags == {
        "airworthy.status": "candidate",
        "airworthy.created_by": "ann",
        "airworthy.data": result.snapshot[:12],
    }
    told = ("wind matters", "ann", f"| roc_auc | {result.metrics['validation_roc_auc']:.4f} |", result.snapshot[:12])
    assert [text for text in told if text not in version.description] == []
    assert world.catalog.model(MODEL).description in client.get_registered_model(MODEL).description
    experiment = client.get_experiment_by_name(MODEL)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_the_run_says_why_from_what_and_by_whom(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    run = open_client(world.settings.tracking).get_run(result.run_id)
    tags = run.data.tags
    assert run.info.status == "FINISHED"
    assert tags["airworthy.hypothesis"] == "wind matters"
    assert tags["airworthy.requested_by"] == tags["mlflow.user"] == "ann"
    assert tags["airworthy.trigger"] == "form"
    assert tags["airworthy.experiment_tags"] == "baseline"
    assert tags["airworthy.previous_best"] == "none"
    assert tags["mlflow.source.git.commit"] == "abc123"
    assert "airworthy.degraded" not in tags
    assert run.data.params["estimator.parameters.max_depth"] == "3"
    assert run.data.params["seed_used"] == "7"
    assert result.seed == 7
    assert run.inputs.dataset_inputs[0].dataset.digest == result.snapshot[:36]
    assert len(run.outputs.model_outputs) == 1


def test_curves_rates_data_and_system_metrics_are_on_the_run(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    client = open_client(world.settings.tracking)
    curve = client.get_metric_history(result.run_id, "validation/auc")
    assert [point.step for point in sorted(curve, key=lambda point: point.step)] == list(range(40))
    rates = sorted(client.get_metric_history(result.run_id, "training/learning_rate"), key=lambda point: point.step)
    assert rates[0].value == pytest.approx(0.3)
    assert rates[-1].value < 0.06
    metrics = client.get_run(result.run_id).data.metrics
    assert metrics["data/train_rows"] == 840
    assert 0 < metrics["data/validation_positive_share"] < 1
    assert metrics["system/process_memory_megabytes"] > 10
    assert metrics["validation/roc_auc"] == result.metrics["validation_roc_auc"]


def test_request_snapshot_environment_and_pictures_are_kept(
    trained: tuple[FakePorts, TrainResult], tmp_path: Path
) -> None:
    world, result = trained
    client = open_client(world.settings.tracking)
    folder = Path(client.download_artifacts(result.run_id, "", str(tmp_path)))
    order = json.loads((folder / "training/order.json").read_text())
    assert order["request"]["snapshot"] == result.snapshot
    assert json.loads((folder / "training/snapshot.json").read_text())["digest"] == result.snapshot
    assert "xgboost==" in (folder / "training/environment.txt").read_text()
    assert (folder / "plots/learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "plots/feature_importance.json").read_text())["wind_speed"] > 0


def test_the_registered_model_answers_as_it_did_in_training(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    model = load_model(world.registry.get(MODEL, result.version), world, digests(result))
    assert model.features == ["carrier", "distance", "wind_speed"]
    assert model.problem == "classification"
    frame = rows().filter(pl.col("part") == "validation")
    answers = model.predict(frame)
    assert answers.dtype == np.float64
    late = frame["target"].to_numpy() == 1
    assert answers[late].mean() > answers[~late].mean()


def test_mlflow_serves_the_same_answers_from_raw_columns(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    info = world.registry.get(MODEL, result.version)
    frame = rows().head(50).with_columns(pl.lit("unseen").alias("carrier"))
    expected = load_model(info, world, digests(result)).predict(frame)
    loaded = mlflow.pyfunc.load_model(info.source)
    columns = frame.select("carrier", "distance", "wind_speed").to_pandas()
    assert np.array_equal(loaded.predict(columns), expected)
    assert [column.name for column in loaded.metadata.get_input_schema()] == ["carrier", "distance", "wind_speed"]
    example = pd.DataFrame(loaded.input_example)
    assert len(loaded.predict(example)) == 5
    booster = mlflow.xgboost.load_model(info.source)
    encoded = encode(frame, load_model(info, world, digests(result)).inputs)
    assert np.array_equal(booster.inplace_predict(encoded).astype(float), expected)


def test_the_model_folder_has_no_pickle_and_no_code(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    folder = Path(world.registry.get(MODEL, result.version).source.removeprefix("file://"))
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"model.ubj", "categories.json", "predictor.json", "MLmodel"} <= names
    assert not [name for name in names if name.endswith((".py", ".pkl", ".pickle"))]


def reference(world: FakePorts, result: TrainResult) -> TrainingProfile:
    stored = world.store.get(store_paths.training_profile(MODEL, result.version))
    return TrainingProfile.model_validate_json(stored)


def test_what_is_deployed_has_learnt_all_rows_and_its_judged_twin_is_the_model_of_the_split(
    trained: tuple[FakePorts, TrainResult], tmp_path: Path, shared: Path
) -> None:
    world, result = trained
    info = world.registry.get(MODEL, result.version)
    deployed, judged = (load_model(info, world, digests(result), part) for part in ("deployed", "judged"))
    assert (deployed.model_digest, judged.model_digest) == (result.model_digest, result.judged_digest)
    assert deployed.native.num_boosted_rounds() == judged.native.num_boosted_rounds() == 40
    test = rows().filter(pl.col("part") == "test")
    target = test["target"].to_numpy()
    assert np.mean((deployed.predict(test) - target) ** 2) < np.mean((judged.predict(test) - target) ** 2)
    once = ports(tmp_path, shared, spec(refit=False))
    alone = train_model.run(request(keep_snapshot(once.store, rows())), once)
    assert (alone.model_digest, alone.judged_digest, alone.refit) == (result.judged_digest, None, None)


def test_the_judged_twin_is_loaded_by_a_digest_of_the_ledger_alone(trained: tuple[FakePorts, TrainResult]) -> None:
    """The deployed model has learnt the rows that it would be judged on."""
    world, result = trained
    info = world.registry.get(MODEL, result.version)
    with pytest.raises(Refused, match="nothing proves the judged model"):
        load_model(info, world, digests(result).model_copy(update={"judged_digest": None}), "judged")
    with pytest.raises(Refused, match=r"altered(.|\n)*the judged model's file"):
        load_model(info, world, digests(result).model_copy(update={"judged_digest": "0" * 64}))


def test_a_reproduction_makes_both_models(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    again = reproduce_model.run(ReproduceRequest(model=MODEL, version=result.version), world)
    assert judge_reproduction(again).passed
    assert (again.reproduced_digest, again.reproduced_judged_digest) == (result.model_digest, result.judged_digest)


def test_the_training_profile_is_of_the_learnt_rows_and_of_the_judged_answers_about_unseen_ones(
    trained: tuple[FakePorts, TrainResult],
) -> None:
    world, result = trained
    profile = reference(world, result)
    unseen = rows().filter(pl.col("part") == "test")
    assert (profile.rows, profile.numeric["distance"].count, profile.out_of_sample) == (1200, 1200, True)
    assert profile.categorical["carrier"].counts == dict(rows()["carrier"].value_counts().sort("count").rows())
    info = world.registry.get(MODEL, result.version)
    answers = load_model(info, world, digests(result), "judged").predict(unseen)
    assert profile.numeric["prediction"].count == unseen.height == 180
    assert profile.numeric["prediction"].mean == pytest.approx(answers.mean())


def test_the_influence_of_a_feature_is_how_far_the_answers_move_without_it(
    trained: tuple[FakePorts, TrainResult],
) -> None:
    influence = reference(*trained).influence
    assert list(influence) == ["carrier", "distance", "wind_speed"]
    assert all(0.02 < moved < 0.5 for moved in influence.values())


def test_the_certificate_has_the_monitored_metric_of_each_test_day(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    days = reference(world, result).test_days
    assert [value.metrics["roc_auc"] for value in days] == [value.metrics["roc_auc"] for value in result.test_days]
    assert [list(value.metrics) for value in result.test_days] == [["roc_auc"]] * len(days)
    assert [value.day for value in days] == [date(2013, 1, 8), date(2013, 1, 9)]
    assert sum(value.rows for value in days) <= 180


def test_a_random_forest_answers_as_its_reference_says_about_rows_of_the_same_kind(
    tmp_path: Path, shared: Path
) -> None:
    """Of its own training rows it is so sure that answers about any others would always look like drift."""
    forest = {"kind": "sklearn", "class_path": "sklearn.ensemble.RandomForestClassifier"}
    model = spec(
        estimator={**forest, "parameters": {"n_estimators": 60}},
        learning_rate={"schedule": "constant", "initial": 0.1},
        checkpointing={"enabled": False},
    )
    world = ports(tmp_path, shared, model)
    frame = rows(count=6000)
    result = train_model.run(request(keep_snapshot(world.store, frame)), world)
    profile = reference(world, result)
    deployed = load_model(world.registry.get(MODEL, result.version), world, digests(result))
    assert deployed.model_digest == result.model_digest != result.judged_digest

    def psi_of(answered: pl.DataFrame) -> float:
        answers = pl.DataFrame({"prediction": deployed.predict(answered)})
        current = profile_frame(answers, categorical=[], numeric=["prediction"])
        measure = compare("prediction", profile, current, 1)
        assert measure.psi is not None
        return measure.psi

    assert psi_of(rows(count=900)) < 0.1
    assert psi_of(frame) > 0.25


def test_the_same_request_again_answers_with_the_version_that_is_there(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    again = request(result.snapshot, hypothesis="wind matters", requested_by="ann", trigger="form")
    path = store_paths.training_profile(MODEL, result.version)
    profile = world.store.get(path)
    world.store.delete(path)
    found = train_model.run(again, world)
    assert found.model_dump(exclude={"model_uri"}) == result.model_dump(exclude={"model_uri"})
    assert world.store.get(path) == profile
    assert len(world.registry.versions(MODEL)) == 1


def test_nothing_global_is_left_behind(trained: tuple[FakePorts, TrainResult]) -> None:
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() != trained[0].settings.tracking


def test_another_run_of_the_same_data_gives_the_same_bytes_and_names_the_best_before(
    trained: tuple[FakePorts, TrainResult],
) -> None:
    world, first = trained
    result = train_model.run(request(first.snapshot, run_key="small_delay__train/second"), world)
    assert result.version != first.version
    assert result.model_digest == first.model_digest
    tags = world.registry.get(MODEL, result.version).tags
    assert tags["airworthy.previous_best"].startswith("roc_auc 0.")
    assert f"(version {first.version})" in tags["airworthy.previous_best"]


def test_a_registered_version_is_reproduced_bit_by_bit(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    known = len(world.registry.versions(MODEL))
    found = reproduce_model.run(ReproduceRequest(model=MODEL, version=result.version), world)
    assert judge_reproduction(found).passed
    assert found.reproduced_digest == result.model_digest
    assert found.differences == []
    assert len(world.registry.versions(MODEL)) == known


def test_a_reproduction_uses_the_declaration_of_then_and_says_what_changed(
    trained: tuple[FakePorts, TrainResult],
) -> None:
    world, result = trained
    today = spec(seed=8, experiment_tags=["baseline"])
    changed = FakePorts(
        settings=world.settings,
        catalog=type(world.catalog)(views=world.catalog.views, models={MODEL: today}),
        store=world.store,
        registry=world.registry,
    )
    found = reproduce_model.run(ReproduceRequest(model=MODEL, version=result.version), changed)
    assert found.reproduced_digest == found.registered_digest
    assert found.differences == ["training.seed: 7 then, 8 declared now (the recorded value was used)"]


def test_an_altered_model_file_is_not_loaded(tmp_path: Path, shared: Path) -> None:
    world = ports(tmp_path, shared)
    result = train_model.run(request(keep_snapshot(world.store, rows())), world)
    info = world.registry.get(MODEL, result.version)
    folder = Path(info.source.removeprefix("file://"))
    planted = folder / "planted.py"
    planted.write_text("raise SystemExit")
    with pytest.raises(Refused, match=r"altered since it was trained(.|\n)*the folder"):
        load_model(info, world, digests(result))
    planted.unlink()
    for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()):
        file = folder / name
        whole = file.read_bytes()
        file.write_bytes(whole + b" ")
        with pytest.raises(Refused, match="altered since it was trained"):
            load_model(info, world, digests(result))
        file.unlink()
        with pytest.raises(Refused, match=r"altered since it was trained|incomplete"):
            load_model(info, world, digests(result))
        file.write_bytes(whole)
    assert load_model(info, world, digests(result)).model_digest == result.model_digest


def test_what_the_registry_says_of_a_version_does_not_count(tmp_path: Path, shared: Path) -> None:
    world = ports(tmp_path, shared)
    result = train_model.run(request(keep_snapshot(world.store, rows())), world)
    info = world.registry.get(MODEL, result.version)
    with pytest.raises(Refused, match="the ledger has no training"):
        load_model(info, world, None)
    with pytest.raises(Refused, match=r"altered(.|\n)*tag airworthy\.snapshot"):
        load_model(
            info.model_copy(update={"tags": info.tags | {"airworthy.snapshot": "0" * 64}}), world, digests(result)
        )
    earlier = ModelDigests(model_digest=result.model_digest)  # of a line without a digest of the folder
    assert load_model(info, world, earlier).model_digest == result.model_digest
    with pytest.raises(Refused, match="altered since it was trained"):
        load_model(info.model_copy(update={"tags": {}}), world, earlier)


def test_a_version_that_somebody_else_registered_for_this_request_is_not_taken_up(tmp_path: Path, shared: Path) -> None:
    world = ports(tmp_path, shared)
    asked = request(keep_snapshot(world.store, rows()))
    result = train_model.run(asked, world)
    assert train_model.run(asked, world).version == result.version
    world.store.delete(store_paths.training_receipt(MODEL, result.request_digest))
    again = train_model.run(asked, world)
    assert (again.version, again.model_digest) == (str(int(result.version) + 1), result.model_digest)


def test_a_training_killed_by_the_system_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, shared: Path) -> None:
    slow = spec(estimator={"rounds": 200, "parameters": {"max_depth": 5, "subsample": 0.8, "nthread": 1}})
    frame = rows(count=4000)
    undisturbed = ports(tmp_path / "a", _made(tmp_path / "a", shared), slow)
    expected = train_model.run(request(keep_snapshot(undisturbed.store, frame)), undisturbed)

    folder = _made(tmp_path / "b", shared)
    store = FolderStore(tmp_path / "b" / "store")
    world = ports(tmp_path / "b", folder, slow, store)
    asked = request(keep_snapshot(store, frame))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "b"), str(shared), asked.model_dump_json(by_alias=True)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    deadline = time.monotonic() + 300

    def saved() -> bool:
        """The index is written after the checkpoint that it names."""
        return any(path.endswith(INDEX_FILE) for path in store.list(f"checkpoints/{MODEL}/"))

    while not saved() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert world.registry.versions(MODEL) == []

    result = train_model.run(asked, world)
    assert result.resumed_from_round is not None
    assert result.resumed_from_round >= 10
    assert result.model_digest == expected.model_digest
    assert result.metrics == expected.metrics
    client = open_client(world.settings.tracking)
    experiment = client.get_experiment_by_name(MODEL).experiment_id
    assert sorted(run.info.status for run in client.search_runs([experiment])) == ["FINISHED", "KILLED"]
    steps = [point.step for point in client.get_metric_history(result.run_id, "train/auc")]
    assert sorted(steps) == list(range(200))


CHILD = """
import sys
from pathlib import Path
from pipelines.messages.training import TrainRequest
from pipelines.steps import train_model
from tests.steps.small_training import FolderStore, ports, spec
home, shared = Path(sys.argv[1]), Path(sys.argv[2])
slow = spec(estimator={"rounds": 200, "parameters": {"max_depth": 5, "subsample": 0.8, "nthread": 1}})
request = TrainRequest.model_validate_json(sys.argv[3])
train_model.run(request, ports(home, shared, slow, FolderStore(home / "store")))
"""


def _made(folder: Path, shared: Path) -> Path:
    folder.mkdir()
    return shared


@pytest.mark.parametrize(
    ("estimator", "problem"),
    [
        ({"class_path": "sklearn.linear_model.LogisticRegression", "parameters": {"max_iter": 200}}, "classification"),
        ({"class_path": "sklearn.ensemble.HistGradientBoostingClassifier"}, "classification"),
        ({"class_path": "sklearn.ensemble.RandomForestRegressor", "parameters": {"n_estimators": 10}}, "regression"),
    ],
)
def test_an_sklearn_estimator_is_trained_registered_and_reproduced(
    estimator: dict[str, Any], problem: str, tmp_path: Path, shared: Path
) -> None:
    world = ports(tmp_path, shared, spec(problem, estimator={"kind": "sklearn", **estimator}))
    result = train_model.run(request(keep_snapshot(world.store, rows(problem))), world)
    assert judge_training(result, world.catalog.model(MODEL)).passed
    info = world.registry.get(MODEL, result.version)
    model = load_model(info, world, digests(result))
    frame = rows(problem).filter(pl.col("part") == "validation")
    assert np.corrcoef(model.predict(frame), frame["target"].to_numpy())[0, 1] > 0.3
    served = mlflow.pyfunc.load_model(info.source).predict(frame.select(model.features).to_pandas())
    assert np.array_equal(served, model.predict(frame))
    found = reproduce_model.run(ReproduceRequest(model=MODEL, version=result.version), world)
    assert found.reproduced_digest == result.model_digest


def test_a_regression_stops_early_on_its_declared_metric(tmp_path: Path, shared: Path) -> None:
    declared = spec(
        "regression",
        estimator={"rounds": 300, "parameters": {"max_depth": 5, "nthread": 1}},
        early_stopping={"enabled": True, "metric": "mae", "patience": 5},
    )
    world = ports(tmp_path, shared, declared)
    result = train_model.run(request(keep_snapshot(world.store, rows("regression"))), world)
    assert result.best_round is not None
    assert result.rounds == result.best_round + 6
    model = load_model(world.registry.get(MODEL, result.version), world, digests(result))
    assert model.native.num_boosted_rounds() == result.best_round + 1


def test_cross_validation_logs_every_fold_with_mean_and_spread(tmp_path: Path, shared: Path) -> None:
    world = ports(tmp_path, shared, spec(cross_validation={"folds": 3}))
    result = train_model.run(request(keep_snapshot(world.store, rows())), world)
    assert 0.5 < result.metrics["cv_roc_auc_mean"] < 1
    assert result.metrics["cv_roc_auc_std"] > 0
    history = open_client(world.settings.tracking).get_metric_history(result.run_id, "cv_fold/roc_auc")
    assert np.mean([point.value for point in history]) == pytest.approx(result.metrics["cv_roc_auc_mean"])
    assert len(history) == 3


def test_a_search_tries_child_runs_trains_the_best_and_is_reproduced(tmp_path: Path, shared: Path) -> None:
    space = {
        "max_depth": {"low": 2, "high": 5, "integer": True},
        "learning_rate": {"low": 0.05, "high": 0.5, "log": True},
        "rounds": {"choices": [5, 10, 20]},
    }
    world = ports(tmp_path, shared, spec(search={"trials": 4, "space": space}))
    result = train_model.run(request(keep_snapshot(world.store, rows())), world)
    client = open_client(world.settings.tracking)
    experiment = client.get_experiment_by_name(MODEL).experiment_id
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{result.run_id}'")
    scores = [run.data.metrics["validation/roc_auc"] for run in children]
    assert len(children) == 4
    assert result.metrics["validation_roc_auc"] == pytest.approx(max(scores))
    best = client.get_run(result.run_id).data.params
    assert result.rounds == int(best["best_trial.rounds"])
    found = reproduce_model.run(ReproduceRequest(model=MODEL, version=result.version), world)
    assert found.reproduced_digest == result.model_digest


def test_a_picture_that_fails_is_a_tag_and_not_the_end(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise ValueError("no canvas")

    monkeypatch.setattr(plots, "learning_curves", broken)
    world = ports(tmp_path, shared)
    result = train_model.run(request(keep_snapshot(world.store, rows())), world)
    tags = open_client(world.settings.tracking).get_run(result.run_id).data.tags
    assert tags["airworthy.degraded"] == "plots: ValueError: no canvas"


def test_a_failure_ends_the_run_as_failed_with_its_reason(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise Unavailable("the store went away")

    monkeypatch.setattr(train_model, "execute_plan", interrupted)
    world = ports(tmp_path, shared)
    with pytest.raises(Unavailable, match="the store went away"):
        train_model.run(request(keep_snapshot(world.store, rows())), world)
    client = open_client(world.settings.tracking)
    run = client.search_runs([client.get_experiment_by_name(MODEL).experiment_id])[0]
    assert run.info.status == "FAILED"
    assert run.data.tags["airworthy.failure"] == "Unavailable: the store went away"
    assert world.registry.versions(MODEL) == []


def test_a_long_training_sends_its_curves_while_it_runs(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_record, "FLUSH_SECONDS", 0.0)
    world = ports(tmp_path, shared, spec(estimator={"rounds": 6, "parameters": {"nthread": 1}}))
    result = train_model.run(request(keep_snapshot(world.store, rows())), world)
    history = open_client(world.settings.tracking).get_metric_history(result.run_id, "train/logloss")
    assert sorted(point.step for point in history) == list(range(6))


def test_without_mlflow_nothing_is_trained_and_a_retry_is_told_to_wait(tmp_path: Path, shared: Path) -> None:
    world = ports(tmp_path, shared)
    snapshot = keep_snapshot(world.store, rows())
    world.registry.down = True
    world.settings = world.settings.model_copy(update={"tracking": "http://127.0.0.1:9"})
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 did not answer: .{0,12}Connection refused$"):
        train_model.run(request(snapshot), world)
    assert time.monotonic() - started < 60, "MLflow itself goes on asking for minutes"
    assert world.store.list("checkpoints/") == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda frame: frame.with_columns(pl.lit(1.0).alias("target")), "has only targets of 1"),
        (lambda frame: frame.with_columns((pl.col("target") + 2).alias("target")), "neither 0 nor 1"),
        (lambda frame: frame.filter(pl.col("part") != "validation"), "part 'validation' has no rows"),
        (lambda frame: frame.drop("wind_speed"), "column 'wind_speed' is missing"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused(spoil: Any, said: str, tmp_path: Path, shared: Path) -> None:
    world = ports(tmp_path, shared)
    with pytest.raises(Refused, match=said):
        train_model.run(request(keep_snapshot(world.store, spoil(rows()))), world)


def test_an_altered_or_unknown_snapshot_is_refused(tmp_path: Path, shared: Path) -> None:
    world = ports(tmp_path, shared)
    with pytest.raises(Refused, match="no snapshot"):
        train_model.run(request("f" * 64), world)
    first, other = keep_snapshot(world.store, rows()), keep_snapshot(world.store, rows(count=900))
    content = world.store.get(store_paths.snapshot(MODEL, other, "data.parquet"))
    world.store.put(store_paths.snapshot(MODEL, first, "data.parquet"), content)
    with pytest.raises(Refused, match="altered"):
        train_model.run(request(first), world)


def test_the_model_digest_is_that_of_the_native_file(trained: tuple[FakePorts, TrainResult]) -> None:
    world, result = trained
    file = Path(world.registry.get(MODEL, result.version).source.removeprefix("file://")) / "model.ubj"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == result.model_digest


def test_seconds_are_told_by_the_clock_that_was_handed_in(tmp_path: Path, shared: Path) -> None:
    world = ports(tmp_path, shared, spec(estimator={"rounds": 2, "parameters": {"nthread": 1}}))
    ticks = iter(range(10_000))
    world.clock = lambda: datetime.fromtimestamp(1_370_000_000 + next(ticks), UTC)
    assert train_model.run(request(keep_snapshot(world.store, rows())), world).seconds >= 3
