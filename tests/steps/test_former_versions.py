"""One column holds one meaning: a raised version is built beside the former one, which a champion goes on reading."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from pipelines import store_paths
from pipelines.adapters.mlflow_registry import MlflowRegistry
from pipelines.adapters.store.delta import DeltaStore
from pipelines.messages.evaluation import EvaluateRequest, EvaluateResult
from pipelines.messages.monitoring import MonitorRequest
from pipelines.messages.training import ModelDigests, SnapshotRequest, TrainRequest, TrainResult
from pipelines.settings import Settings
from pipelines.spec.catalog import Catalog
from pipelines.steps import evaluate_model, measure_drift, take_snapshot, train_model
from pipelines.steps.features.staleness import stale_days
from pipelines.testing.memory_store import MemoryStore
from pipelines.testing.ports import FakePorts
from tests.mlflow_database import copy_empty_mlflow
from tests.steps.built_features import build_view

DAY, START, DAYS = timedelta(days=1), date(2024, 1, 1), 20
RIDES, OLD = 30, 8
TABLE = "features/ride"
FUNCTION = """
import polars as pl

def reach(rows, pairs):
    best = pairs.group_by("row_id").agg(value=pl.col("first_map").{}())
    return rows.select("row_id").join(best, on="row_id", how="left")
"""
DATASET: dict[str, Any] = {
    "schema": 2,
    "dataset": "city",
    "partition": {"every": "day", "start": START},
    "sources": {
        "rides": {
            "files": "{source}/{partition}/rides.csv",
            "key": ["at", "ride"],
            "known": {"before": "1d"},
            "known_columns": {"late": {"after": "1h"}},
            "columns": {
                "at": "timestamp",
                "ride": "integer",
                "first_map": "number",
                "second_map": "number",
                "late": "boolean or null",
            },
        }
    },
}
FIRST: dict[str, Any] = {"length": {"own": "first_map"}, "length_squared": "length * length"}
SECOND: dict[str, Any] = {
    "length": {"own": "second_map", "version": 2},
    "length_squared": {"expression": "length * length", "version": 2},
}


def view(features: dict[str, Any]) -> dict[str, Any]:
    head = {"schema": 2, "view": "ride", "entity": ["at", "ride"], "rows": {"per": "rides", "lead": "1h"}}
    return {**head, "label": {"is_late": "late"}, "features": features}


def catalog(folder: Path, features: dict[str, Any], dataset: dict[str, Any] = DATASET) -> Catalog:
    training = {"minimum_rows": 100, "estimator": {"rounds": 10}}
    model: dict[str, Any] = {"schema": 2, "model": "late", "view": "ride", "target": "is_late", "training": training}
    model["evaluation"] = {"comparison": {"metric": "roc_auc", "unit": "ride"}}
    model["monitoring"] = {"drift": {"minimum_rows": RIDES}}
    for name, content in {"datasets/city": dataset, "features/ride": view(features), "models/late": model}.items():
        path = folder / "include" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    read = Catalog.read(folder / "include")
    assert read.refused == {}
    return read


def rides(day: date, number: int) -> pl.DataFrame:
    """Long ones by the first map are late; the second map has the opposite of its length."""
    random = np.random.default_rng(number)
    length = random.uniform(1, 9, RIDES)
    begin = datetime(*day.timetuple()[:3], 8, tzinfo=UTC)
    return pl.DataFrame(
        {
            "at": [begin + timedelta(minutes=10 * ride) for ride in range(RIDES)],
            "ride": range(number * RIDES, (number + 1) * RIDES),
            "first_map": length,
            "second_map": 20 - length,
            "late": length + random.normal(size=RIDES) > 5,
        },
        schema_overrides={"at": pl.Datetime("us", "UTC"), "ride": pl.Int64},
    )


def arrive(ports: FakePorts, numbers: range) -> None:
    """These days are published, and built together with all that are stale."""
    days = [START + number * DAY for number in numbers]
    for day, number in zip(days, numbers, strict=True):
        ports.store.replace_partition(store_paths.validated("city", "rides"), day, rides(day, number))
    built = build_view(ports, "ride", days[-1], days)
    assert all(verdict.passed for verdict in built.verdicts.values())


def train(ports: FakePorts, until: int) -> TrainResult:
    as_of = datetime(*(START + until * DAY).timetuple()[:3], tzinfo=UTC)
    snapshot = take_snapshot.run(SnapshotRequest(model="late", as_of=as_of), ports)
    return train_model.run(TrainRequest(model="late", snapshot=snapshot.digest, run_key=f"until {until}"), ports)


def evaluate(ports: FakePorts, candidate: TrainResult, champion: TrainResult) -> EvaluateResult:
    digests = {
        result.version: ModelDigests(model_digest=result.model_digest, judged_digest=result.judged_digest)
        for result in (candidate, champion)
    }
    request = EvaluateRequest(model="late", version=candidate.version, champion=champion.version, digests=digests)
    return evaluate_model.run(request, ports)


def world(folder: Path) -> FakePorts:
    tracking = copy_empty_mlflow(folder / "mlflow.db")
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(folder), "MLFLOW_TRACKING_URI": tracking})
    return FakePorts(
        settings=settings, catalog=catalog(folder, FIRST), store=MemoryStore(), registry=MlflowRegistry(tracking)
    )


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A champion of eight days; then the feature reads another map, and a candidate learns from all days."""
    folder = tmp_path_factory.mktemp("city")
    ports = world(folder)
    arrive(ports, range(OLD))
    champion = train(ports, OLD)
    ports.catalog = catalog(folder, SECOND)
    arrive(ports, range(OLD, DAYS))
    return {"ports": ports, "folder": folder, "champion": champion, "candidate": train(ports, DAYS)}


def test_both_meanings_stand_side_by_side_on_every_day(life: dict[str, Any]) -> None:
    table = life["ports"].store.read(TABLE)
    stored = life["ports"].store.read(store_paths.validated("city", "rides")).sort("day", "at", "ride")
    table = table.sort("day", "at", "ride")
    assert table["length"].to_list() == stored["second_map"].to_list()
    assert table["length@1"].to_list() == stored["first_map"].to_list()
    assert table["length_squared@1"].to_list() == pytest.approx([value**2 for value in stored["first_map"]])
    assert table.height == RIDES * DAYS


def test_a_table_of_an_installation_takes_up_the_former_version_and_all_its_days(tmp_path: Path) -> None:
    ports = FakePorts.make(tmp_path, catalog=catalog(tmp_path, FIRST), store=DeltaStore(str(tmp_path / "store")))
    arrive(ports, range(2))
    ports.catalog = catalog(tmp_path, SECOND)
    view, dataset = ports.catalog.view("ride"), ports.catalog.dataset("city")
    assert set(stale_days(ports.store, view, dataset)) == {START, START + DAY}
    arrive(ports, range(2, 3))
    table = ports.store.read(TABLE)
    assert table.height == 3 * RIDES
    assert (table["length"] + table["length@1"]).to_list() == pytest.approx([20.0] * 3 * RIDES)
    assert stale_days(ports.store, view, dataset) == {}


def test_a_function_keeps_its_former_meaning_though_its_file_says_another(tmp_path: Path) -> None:
    module = tmp_path / "include" / "python" / "maps.py"
    module.parent.mkdir(parents=True)
    module.write_text(FUNCTION.format("max"))
    reach = {"python": "maps:reach", "columns": ["first_map"], "by": [], "window": "24h"}
    ports = FakePorts.make(tmp_path, catalog=catalog(tmp_path, {"reach_24h": reach}), store=MemoryStore())
    arrive(ports, range(2))
    before = ports.store.read(TABLE)["reach_24h"]
    module.write_text(FUNCTION.format("min"))
    ports.catalog = catalog(tmp_path, {"reach_24h": {**reach, "version": 2}})
    arrive(ports, range(2, 3))
    table = ports.store.read(TABLE)
    assert table["reach_24h@1"].head(2 * RIDES).equals(before)
    assert table["reach_24h"].null_count() < table.height
    assert table.drop_nulls("reach_24h").select((pl.col("reach_24h") <= pl.col("reach_24h@1")).all()).item()


def test_a_champion_is_scored_with_the_meaning_that_it_was_trained_on(life: dict[str, Any]) -> None:
    """With the values of the other map its ranking would be upside down."""
    result = evaluate(life["ports"], life["candidate"], life["champion"])
    assert result.comparison is not None
    assert (result.comparison.method, result.comparison.units) == ("held_out", 3 * RIDES)
    assert result.champion_metrics["roc_auc"] == pytest.approx(result.metrics["roc_auc"], abs=0.05)
    assert result.champion_metrics["roc_auc"] > 0.85
    assert not any("does not answer itself" in note for note in result.notes)


@pytest.mark.parametrize("live", ["champion", "candidate"])
def test_drift_is_that_of_the_meaning_that_the_live_version_was_trained_on(life: dict[str, Any], live: str) -> None:
    """The two maps have no length in common: a version measured by the other one would have drifted altogether."""
    request = MonitorRequest(
        model="late", day=START + (DAYS - 1) * DAY, version=life[live].version, shapes=live == "champion"
    )
    result = measure_drift.run(request, life["ports"])
    assert {measure.name: measure.psi < 0.25 for measure in result.features if measure.psi is not None} == {
        "length": True,
        "length_squared": True,
    }
    assert not any("does not hold" in note or "no shapes" in note for note in result.notes)


def test_a_champion_whose_meaning_is_not_built_any_more_does_not_answer_itself(life: dict[str, Any]) -> None:
    """Its column is gone from the source: at the most its recipe is compared, and the notes say so."""
    ports, folder = life["ports"], life["folder"]
    columns = {name: kind for name, kind in DATASET["sources"]["rides"]["columns"].items() if name != "first_map"}
    without = {**DATASET, "sources": {"rides": {**DATASET["sources"]["rides"], "columns": columns}}}
    ports.catalog = catalog(folder, SECOND, without)
    newest = START + (DAYS - 1) * DAY
    window = range(DAYS - 7, DAYS)
    for number in window:
        corrected = rides(START + number * DAY, number).with_columns(pl.col("second_map") + 1e-9)
        ports.store.replace_partition(store_paths.validated("city", "rides"), START + number * DAY, corrected)
    build_view(ports, "ride", newest, [START + number * DAY for number in window])
    drift = measure_drift.run(MonitorRequest(model="late", day=newest, version="1"), ports)
    assert any("does not hold length@1, length_squared@1, which version 1 was" in note for note in drift.notes)
    assert [measure.psi for measure in drift.features] == [None, None]
    result = evaluate(ports, life["candidate"], life["champion"])
    assert any("champion 1 does not answer itself: it was trained on length@1" in note for note in result.notes)
    assert result.comparison is None or result.comparison.method == "forward_chaining"
