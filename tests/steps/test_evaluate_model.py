"""A candidate and its champion answer the same unseen rows; what was measured lies in the store and on MLflow's run."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from pipelines.errors import Refused, Unavailable
from pipelines.messages.evaluation import EvaluateRequest, EvaluateResult
from pipelines.ports import VersionInfo
from pipelines.settings import Settings
from pipelines.spec.catalog import Catalog
from pipelines.spec.plain_yaml import load
from pipelines.steps import evaluate_model
from pipelines.steps.snapshot.table_digest import table_digest
from pipelines.testing.ports import MemoryStore
from tests.declared import shipped, shipped_view
from tests.mlflow_database import copy_empty_mlflow

START = datetime(2013, 2, 1, tzinfo=UTC)
STEP = timedelta(hours=2.4)
YEAR = timedelta(days=365)
ROWS = 2000
KEY = ["time_hour", "carrier", "flight"]
SPLIT = {"train": 0.7, "validation": 0.15}


def snapshot(rows: int = ROWS, start: datetime = START, seed: int = 0) -> pl.DataFrame:
    """Ten flights a day, in time order: 70 % train, 15 % validation, 15 % test.

    The test part is thirty days of UTC, which are parts of 31 days in New York.
    """
    random = np.random.default_rng(seed)
    times = [start + STEP * number for number in range(rows)]
    signal = random.random(rows)
    parts = ["train"] * int(rows * 0.7) + ["validation"] * int(rows * 0.15)
    return pl.DataFrame(
        {
            "time_hour": times,
            "carrier": random.choice(["UA", "B6"], rows),
            "flight": np.arange(rows),
            "prediction_time": times,
            "label_time": [time + timedelta(hours=1) for time in times],
            "distance": signal,
            "origin": random.choice(["JFK", "LGA", "EWR"], rows),
            "target": (random.random(rows) < signal).astype(float),
            "part": parts + ["test"] * (rows - len(parts)),
        },
        schema_overrides={name: pl.Datetime("us", "UTC") for name in ("time_hour", "prediction_time", "label_time")},
    )


def freeze(store: MemoryStore, frame: pl.DataFrame) -> str:
    """Put a snapshot under its digest."""
    digest = table_digest(frame)
    content = io.BytesIO()
    frame.write_parquet(content)
    store.put(f"snapshots/late/{digest}/data.parquet", content.getvalue())
    return digest


@dataclass
class FakeRegistry:
    known: dict[str, VersionInfo] = field(default_factory=dict)

    def get(self, model: str, version: str) -> VersionInfo:
        if version not in self.known:
            raise Refused(f"{model} has no version {version}")
        return self.known[version]


@dataclass
class FakeModel:
    features: list[str]
    problem: str
    answer: Callable[[pl.DataFrame], Any]
    seen: list[pl.DataFrame] = field(default_factory=list)

    def predict(self, frame: pl.DataFrame) -> Any:
        self.seen.append(frame)
        return self.answer(frame.select(self.features))


def knows(frame: pl.DataFrame) -> Any:
    return frame["distance"].to_numpy()


def guesses(frame: pl.DataFrame) -> Any:
    return np.random.default_rng(1).random(frame.height)


@dataclass
class World:
    """Ports of a small installation, with an MLflow of its own."""

    settings: Settings
    catalog: Catalog
    client: MlflowClient
    experiment: str
    store: MemoryStore = field(default_factory=MemoryStore)
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    models: dict[str, FakeModel] = field(default_factory=dict)

    def clock(self) -> datetime:
        return datetime(2013, 4, 1, tzinfo=UTC)

    def register(self, version: str, frame: pl.DataFrame, answer: Any, **model: Any) -> VersionInfo:
        digest = freeze(self.store, frame)
        self.models[version] = FakeModel(
            **{"features": ["distance"], "problem": "classification", **model}, answer=answer
        )
        run = self.client.create_run(self.experiment)
        info = VersionInfo(
            model="late", version=version, run_id=run.info.run_id, source="", tags={"airworthy.snapshot": digest}
        )
        self.registry.known[version] = info
        return info

    def evaluate(self, version: str, champion: str | None = None, **fields: Any) -> EvaluateResult:
        request = EvaluateRequest(model="late", version=version, champion=champion, **fields)
        return evaluate_model.run(request, self)  # type: ignore[arg-type]


MODEL = """
model: late
description: late or not
owner: flight-operations
view: flight_delay
problem: classification
target: {expression: "arr_delay >= 15"}
evaluation:
  threshold: 0.5
  minimum_metrics: {roc_auc: {min: 0.6}}
  comparison: {metric: roc_auc}
  slices: {columns: [origin], metric: roc_auc, max_loss: 0.05, min_rows: 50}
monitoring: {performance: {metric: roc_auc, max_drop: 0.1}}
"""


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> tuple[MlflowClient, str, str]:
    folder = tmp_path_factory.mktemp("mlflow")
    uri = copy_empty_mlflow(folder / "mlflow.db")
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    return client, uri, client.create_experiment("late", artifact_location=str(folder / "artifacts"))


@pytest.fixture
def world(tracking: tuple[MlflowClient, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    client, uri, experiment = tracking
    spec = Catalog(
        models={"late": _model_spec()}, views={"flight_delay": shipped_view()}, datasets=dict(shipped().datasets)
    )
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": uri})
    world = World(settings, spec, client, experiment)
    monkeypatch.setattr(evaluate_model, "load_model", lambda info, ports, digests, part: ports.models[info.version])
    return world


def _model_spec() -> Any:
    from pipelines.spec.model import ModelSpec

    return ModelSpec.model_validate(load(MODEL))


def test_a_first_candidate_is_measured_on_its_whole_test_part(world: World) -> None:
    world.register("1", snapshot(), knows)
    result = world.evaluate("1")
    test = snapshot().filter(pl.col("part") == "test")
    assert result.rows == test.height == 300
    assert result.metrics["roc_auc"] is not None
    assert result.metrics["roc_auc"] > 0.7
    assert (result.first, result.last) == (test["prediction_time"][0], test["prediction_time"][-1])
    assert result.trained_until == START + STEP * 1699
    assert (result.champion, result.comparison, result.compared_from, result.notes) == (None, None, None, [])
    assert {line.value for line in result.slices} == {"JFK", "LGA", "EWR"}


def test_champion_and_candidate_answer_the_very_same_rows(world: World) -> None:
    world.register("1", snapshot(start=START - YEAR), guesses)
    world.register("2", snapshot(), knows)
    result = world.evaluate("2", champion="1")
    asked = world.models["1"].seen[0]
    assert asked["flight"].to_list() == snapshot().filter(pl.col("part") == "test")["flight"].to_list()
    assert result.comparison is not None
    assert result.comparison.rows == 300
    assert (result.comparison.units, result.comparison.method, result.comparison.attempt) == (31, "held_out", 1)
    assert result.comparison.low is not None
    assert 0 < result.comparison.low < result.comparison.gain
    assert result.comparison.champion == result.champion_metrics["roc_auc"]
    assert result.compared_from == result.first
    assert all(line.gain is not None and line.gain > 0 for line in result.slices)
    assert result.notes == []


def test_rows_that_the_champion_was_trained_on_are_left_out_and_the_result_says_from_when(world: World) -> None:
    later = snapshot(start=START + STEP * 50)  # trained until row 1749; the test part starts at 1700
    world.register("1", later, guesses)
    world.register("2", snapshot(), knows)
    result = world.evaluate("2", champion="1")
    assert result.rows == 300
    assert result.comparison is not None
    assert result.comparison.rows == 250
    assert result.champion_trained_until == START + STEP * 1749
    assert result.compared_from == START + STEP * 1750
    assert result.notes == ["compared on 250 of 300 test rows: those later than the training of both"]


def test_a_champion_trained_on_everything_is_not_compared_and_the_result_says_why(world: World) -> None:
    world.register("1", snapshot(start=START + YEAR), guesses)
    world.register("2", snapshot(), knows)
    result = world.evaluate("2", champion="1")
    assert result.comparison is None
    assert result.metrics["roc_auc"] is not None
    assert all(line.gain is None for line in result.slices)
    assert "none of 300 test rows is later than 2014-07-20" in result.notes[0]


def test_a_champion_of_an_older_view_gets_its_columns_from_the_feature_table(world: World) -> None:
    table = snapshot().select(
        *KEY, (pl.col("distance") * 2).alias("humid"), pl.col("prediction_time").dt.date().alias("day")
    )
    for (day,), rows in table.sample(fraction=1, shuffle=True, seed=1).group_by("day"):
        world.store.replace_partition("features/flight_delay", day, rows)
    world.register("1", snapshot(start=START - YEAR), lambda frame: frame["humid"].to_numpy() / 2, features=["humid"])
    world.register("2", snapshot(), knows)
    result = world.evaluate("2", champion="1")
    assert result.comparison is not None
    assert result.comparison.gain == 0


@pytest.mark.parametrize(
    ("model", "note"),
    [
        ({"features": ["gone"]}, "has the columns gone"),
        ({"problem": "regression"}, "is a regression model, the declaration says classification"),
    ],
)
def test_a_champion_that_cannot_answer_is_not_compared_and_the_result_says_why(
    world: World, model: dict[str, Any], note: str
) -> None:
    test = snapshot().filter(pl.col("part") == "test")
    world.store.replace_partition("features/flight_delay", test["prediction_time"][0].date(), test.select(KEY))
    world.register("1", snapshot(start=START - YEAR), knows, **model)
    world.register("2", snapshot(), knows)
    result = world.evaluate("2", champion="1")
    assert result.comparison is None
    assert note in result.notes[0]


def test_a_candidate_that_answers_too_few_rows_is_refused(world: World) -> None:
    world.register("1", snapshot(), lambda frame: np.zeros(3))
    with pytest.raises(Refused, match="predictions for 300 rows"):
        world.evaluate("1")


def test_a_candidate_without_a_snapshot_is_refused(world: World) -> None:
    info = world.register("1", snapshot(), knows)
    world.registry.known["1"] = info.model_copy(update={"tags": {}})
    with pytest.raises(Refused, match=r"has no tag airworthy\.snapshot"):
        world.evaluate("1")


def test_a_snapshot_that_was_altered_is_refused(world: World) -> None:
    info = world.register("1", snapshot(), knows)
    path = f"snapshots/late/{info.tags['airworthy.snapshot']}/data.parquet"
    world.store.files[path] = world.store.files[f"snapshots/late/{freeze(world.store, snapshot(seed=1))}/data.parquet"]
    with pytest.raises(Refused, match="was altered"):
        world.evaluate("1")


def test_a_test_part_without_rows_measures_nothing_and_says_so_by_none(world: World) -> None:
    world.register("1", snapshot().filter(pl.col("part") != "test"), knows)
    result = world.evaluate("1")
    assert result.rows == 0
    assert set(result.metrics.values()) == {None}
    assert (result.first, result.plots, result.slices) == (None, [], [])


def test_a_test_part_of_one_class_has_no_curve_and_no_interval(world: World) -> None:
    frame = snapshot().with_columns(pl.lit(0.0).alias("target"))
    world.register("1", snapshot(start=START - YEAR), guesses)
    world.register("2", frame, knows)
    result = world.evaluate("2", champion="1")
    assert result.metrics["roc_auc"] is None
    assert result.comparison is None
    assert result.notes == ["roc_auc is not defined on the 300 compared rows"]
    assert [Path(path).stem for path in result.plots] == ["calibration", "confusion"]


def test_metrics_and_plots_lie_in_the_store_and_on_the_run(world: World) -> None:
    world.register("1", snapshot(start=START - YEAR), guesses)
    info = world.register("2", snapshot(), knows)
    result = world.evaluate("2", champion="1")
    names = ["roc", "precision_recall", "calibration", "confusion"]
    assert result.plots == [f"memory://reports/evaluation/late/2/{name}.png" for name in names]
    assert all(world.store.files[f"reports/evaluation/late/2/{name}.png"].startswith(b"\x89PNG") for name in names)
    logged = world.client.get_run(info.run_id).data.metrics
    assert logged["test/roc_auc"] == result.metrics["roc_auc"]
    assert logged["champion_test/roc_auc"] == result.champion_metrics["roc_auc"]
    assert result.comparison is not None
    assert logged["test/gain_low"] == result.comparison.low
    kept = {artifact.path for artifact in world.client.list_artifacts(info.run_id, "evaluation")}
    assert kept == {f"evaluation/{name}.png" for name in names} | {"evaluation/evaluation.json"}


def test_evaluating_twice_gives_the_same_result(world: World) -> None:
    world.register("1", snapshot(start=START - YEAR), guesses)
    world.register("2", snapshot(), knows)
    assert world.evaluate("2", champion="1") == world.evaluate("2", champion="1")


def test_a_run_that_mlflow_does_not_know_is_refused(world: World) -> None:
    info = world.register("1", snapshot(), knows)
    world.registry.known["1"] = info.model_copy(update={"run_id": "0" * 32})
    with pytest.raises(Refused):
        world.evaluate("1")


def test_mlflow_down_is_unavailable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    world.register("1", snapshot(), knows)
    world.settings = world.settings.model_copy(update={"tracking": "http://127.0.0.1:9"})
    with pytest.raises(Unavailable):
        world.evaluate("1")
