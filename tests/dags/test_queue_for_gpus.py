from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gpu_pool
from pipelines.settings import REPOSITORY
from pipelines.spec.catalog import Catalog
from pipelines.spec.model import ModelSpec
from practices._operators.defaults import gpu_slots
from tests.declared import shipped_model

Parse = Callable[..., dict[str, Any]]
DECLARED = REPOSITORY / "include" / "models" / "flight_delay.yaml"


@pytest.fixture(scope="module")
def include(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models: one trains on two workers of two GPUs each, in three runs at once and in pods; the other does not."""
    folder = Path(shutil.copytree(REPOSITORY / "include", tmp_path_factory.mktemp("queue") / "include"))
    path = folder / "models" / "flight_delay.yaml"
    text = path.read_text().replace("\ntraining:\n", "\ntraining:\n  max_active: 3\n")
    path.write_text(f"{text}\nrunner:\n  train: {{on: kubernetes, gpus: 2, workers: 2}}\n")
    return folder


@pytest.fixture(scope="module")
def dags(parse: Parse, tmp_path_factory: pytest.TempPathFactory, include: Path) -> dict[str, Any]:
    found = parse(tmp_path_factory.mktemp("airflow"), include=include)
    assert found["errors"] == {}
    assert "kubernetes" not in found["loaded"]
    dags: dict[str, Any] = found["dags"]
    return dags


def test_a_training_with_gpus_queues_in_their_pool_with_all_its_workers(dags: dict[str, Any]) -> None:
    queues = {
        (name, task): (facts["pool"], facts["pool_slots"])
        for name, dag in dags.items()
        for task, facts in dag["tasks"].items()
        if facts["pool"] != "default_pool"
    }
    assert queues == {("flight_delay__train", "train_model"): ("gpu", 4)}


def test_as_many_trainings_of_a_model_run_at_once_as_it_declares(dags: dict[str, Any]) -> None:
    active = {name: dag["max_active_runs"] for name, dag in dags.items() if name.endswith("__train")}
    assert active.pop("flight_delay__train") == 3
    assert active == dict.fromkeys(active, 1) != {}


def test_pods_are_reaped_where_a_stage_runs_in_pods_and_nowhere_else(
    dags: dict[str, Any], folder: dict[str, Any]
) -> None:
    assert "airworthy__reap_pods" not in folder["dags"]
    dag = dags["airworthy__reap_pods"]
    assert dag["max_active_runs"] == 1
    assert f"**{next(iter(dag['tasks']))}**" in dag["doc"]
    assert dag["params"]["dry_run"]["value"] is False


def spec_with(**train: Any) -> ModelSpec:
    spec = shipped_model()
    return ModelSpec.model_validate({**spec.model_dump(by_alias=True), "runner": {"train": train}})


@pytest.mark.parametrize(
    ("train", "have", "queue"),
    [
        ({}, None, {}),
        ({"workers": 3}, "1", {}),
        ({"gpus": 1}, None, {"pool": "gpu", "pool_slots": 1}),
        ({"gpus": 2, "workers": 3}, None, {"pool": "gpu", "pool_slots": 6}),
        ({"gpus": 2, "workers": 3}, "8", {"pool": "gpu", "pool_slots": 6}),
        ({"gpus": 2, "workers": 3}, "4", {"pool": "gpu", "pool_slots": 4}),
        ({"gpus": 1}, "0", {"pool": "gpu", "pool_slots": 1}),
    ],
)
def test_no_training_asks_for_more_slots_than_the_pool_can_ever_have(
    monkeypatch: pytest.MonkeyPatch, train: dict[str, Any], have: str | None, queue: dict[str, Any]
) -> None:
    monkeypatch.setenv("AIRWORTHY_GPUS", have or "")
    assert gpu_slots(spec_with(**train)) == queue


@pytest.mark.parametrize(
    ("asked", "declared", "slots", "wanted"),
    [
        (None, 0, None, 1),
        (None, 4, None, 4),
        (8, 4, None, 8),
        (2, 4, 16, 2),
        (0, 4, None, 1),
        (None, 4, 2, 4),
        (None, 2, 6, 6),
        (None, 2, 0, 2),
        (None, 2, -1, -1),
        (3, 2, -1, 3),
    ],
)
def test_the_pool_has_the_gpus_asked_for_else_room_for_the_largest_training(
    asked: int | None, declared: int, slots: int | None, wanted: int
) -> None:
    catalog = Catalog(models={"small": spec_with(), "large": spec_with(gpus=declared)})
    assert gpu_pool.pool_size(asked, catalog, slots) == wanted


class Job:
    """What Airflow hands over when one of its processes starts."""


class TaskRunnerMarker:
    """What it hands over when a task starts, in a fork of the scheduler that still bears its command line."""


@pytest.mark.parametrize(
    ("command", "component", "looks"),
    [
        ("scheduler", Job(), [5]),
        ("scheduler", TaskRunnerMarker(), []),
        ("dag-processor", Job(), []),
        ("triggerer", Job(), []),
        ("api-server", Job(), []),
    ],
)
def test_only_the_scheduler_looks_after_the_pool(
    monkeypatch: pytest.MonkeyPatch, command: str, component: object, looks: list[int]
) -> None:
    kept: list[int | None] = []
    monkeypatch.setattr(gpu_pool, "ensure_pool", lambda asked, catalog: kept.append(asked))
    monkeypatch.setenv("AIRWORTHY_GPUS", "5")
    monkeypatch.setattr(sys, "argv", ["airflow", command])
    gpu_pool.on_starting(component=component)
    assert kept == looks


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow's own scheduler did with two trainings and one GPU, on a database of its own."""
    home = tmp_path_factory.mktemp("scheduler")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AIRWORTHY"))}
    environment = {
        **bare,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
    }
    script = Path(__file__).with_name("schedule_two_trainings.py")
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_of_two_trainings_that_want_the_one_gpu_one_waits_until_the_other_is_over(scheduled: dict[str, Any]) -> None:
    first, second = scheduled["one starts"]
    assert (first, second) == ("queued", "scheduled")
    assert scheduled["it waits for its pod"] == ["deferred", "scheduled"]
    assert scheduled["it is over"] == ["success", "queued"]


def test_without_the_pool_both_would_wait_for_ever(scheduled: dict[str, Any]) -> None:
    assert scheduled["without a pool"] == ["scheduled", "scheduled"]


def test_a_scheduler_that_starts_makes_the_pool_and_mends_one_that_forgets_deferred_tasks(
    scheduled: dict[str, Any],
) -> None:
    assert scheduled["pool made"] == [1, True]
    assert scheduled["pool mended"] == [7, True]
