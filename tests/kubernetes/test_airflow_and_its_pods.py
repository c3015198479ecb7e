"""A real Airflow trains in real pods: whatever is killed, the run goes on with the pod it had, or ends as a failure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.demo.land import land
from pipelines.demo.past_days import take_days
from pipelines.mlflow_client import REGISTRY_USER
from pipelines.settings import REPOSITORY, Settings
from pipelines.wiring import open_ports
from tests.e2e.installation import Installation
from tests.kubernetes.lab import IMAGE, node_address, template

pytestmark = [pytest.mark.kubernetes, pytest.mark.e2e]

DAYS = [date(2013, 1, 1) + timedelta(days=number) for number in range(14)]
DAG = "flight_delay__train"
SLOW = {
    "estimator": {"rounds": 2500, "parameters": {"max_depth": 8, "nthread": 1}},
    "early_stopping": {"enabled": False},
}
"""About half a minute: long enough to be disturbed."""


def declarations(folder: Path, home: Path) -> Path:
    """The shipped declarations, with pods of a size for one small node and one model that trains slowly."""
    include = Path(shutil.copytree(REPOSITORY / "include", folder / "include"))
    size = {"cpus": 0.9, "memory": "1500Mi"}
    stages = {"runner": {"train": size, "evaluate": size, "monitor": size}}
    for path, changes in (("models/flight_delay.yaml", stages), ("datasets/flights.yaml", {"runner": size})):
        declared = yaml.safe_load((include / path).read_text()) | changes
        if "training" in declared:
            declared["training"] |= SLOW
        (include / path).write_text(yaml.safe_dump(declared, sort_keys=False))
    (include / "pods" / "step.yaml").write_text(yaml.safe_dump(template(home)))
    return include


@pytest.fixture(scope="module")
def flights(
    core_api: Any, module_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Installation, str]]:
    if node_address(core_api) is None:
        pytest.skip("the cluster's node is another machine: this one's Python cannot be mounted into its pods")
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRWORTHY_HOME", str(home))
        patch.setenv("AIRWORTHY_INCLUDE", str(declarations(tmp_path_factory.mktemp("declared"), home)))
        patch.setenv("AIRWORTHY_RUNNER", "kubernetes")
        patch.setenv("AIRWORTHY_ALLOW_HOST_ACCESS", "true")
        patch.setenv("AIRWORTHY_POD_IMAGE", IMAGE)
        patch.setenv("AIRWORTHY_POD_NAMESPACE", module_namespace)
        made = Installation(Settings.from_environment())
        take_days(DAYS, open_ports(made.settings), "flights")  # the ports of the stack are chosen when it starts
        made.up()
        login = {"MLFLOW_TRACKING_USERNAME": REGISTRY_USER}
        login["MLFLOW_TRACKING_PASSWORD"] = made.settings.registry_password_file.read_text().strip()
        core_api.create_namespaced_secret(module_namespace, {"metadata": {"name": "registry"}, "stringData": login})
        try:
            made.unpause(DAG)
            yield made, module_namespace
        finally:
            made.down()


def train(made: Installation, seed: int) -> str:
    return made.airflow.trigger(DAG, {"as_of": f"{DAYS[-1]}", "seed": seed})


def tickets(made: Installation, run_id: str) -> list[str]:
    """Launches of the training of one run."""
    found = made.ports.store.list(f"runs/{DAG}/")
    slug = run_id.split("T")[0]
    return [
        path for path in found if slug in path and "train_model-train_model" in path and path.endswith("ticket.json")
    ]


def checkpointed(made: Installation) -> bool:
    return bool(made.ports.store.list("checkpoints/flight_delay/"))


def state_of(made: Installation, run_id: str, dag: str = DAG) -> str:
    return str(next(run["state"] for run in made.airflow.runs(dag) if run["dag_run_id"] == run_id))


def test_a_run_whose_triggerer_and_scheduler_are_killed_goes_on_with_the_pod_it_had(
    flights: tuple[Installation, str], core_api: Any
) -> None:
    made, namespace = flights
    run_id = train(made, seed=1)
    made.until(lambda: checkpointed(made), "the first checkpoint")
    pods = core_api.list_namespaced_pod(namespace).items
    made.kill("triggerer")
    made.kill("scheduler")
    made.up()
    made.until(lambda: state_of(made, run_id) in ("success", "failed"), "the run's end")
    assert state_of(made, run_id) == "success"
    assert len(pods) == 1
    assert len(tickets(made, run_id)) == 1, "a second pod was started"
    assert core_api.list_namespaced_pod(namespace).items == []
    versions = made.ports.registry.versions("flight_delay")
    assert [version.version for version in versions] == ["1"]


def test_a_run_that_a_person_marks_as_failed_takes_its_pod_along(
    flights: tuple[Installation, str], core_api: Any
) -> None:
    made, namespace = flights
    run_id = train(made, seed=2)

    def training() -> bool:
        pods = core_api.list_namespaced_pod(namespace, label_selector="airworthy.dev/step=train_model").items
        return any(pod.status.phase == "Running" for pod in pods)

    made.until(training, "the training's pod")
    made.airflow.set_task_state(DAG, run_id, "train_model", "failed")
    made.until(lambda: core_api.list_namespaced_pod(namespace).items == [], "the pod's end")
    made.until(lambda: state_of(made, run_id) == "failed", "the run's end")


def test_every_stage_of_a_day_and_of_a_candidate_runs_in_pods(flights: tuple[Installation, str], core_api: Any) -> None:
    made, namespace = flights
    day = DAYS[-1] + timedelta(days=1)
    land(day, day, made.ports)
    for dag in ("flights__ingest", "flights__validate", "flight_delay__evaluate"):
        made.airflow.unpause(dag)
    made.airflow.backfill("flights__ingest", day, day, max_active_runs=1)
    made.until(lambda: day in made.built(), "features of the day")
    run_id = made.airflow.trigger("flight_delay__evaluate", {"version": "1"})
    ran = {"ingest_partition", "audit_partition", "publish_partition", "build_features", "publish_features"}
    ran |= {"evaluate_model"}

    def launched() -> set[str]:
        paths = [path for path in made.ports.store.list("runs/") if path.endswith("/manifest.json")]
        return {path.split("/")[3].rpartition("-")[2] for path in paths}

    made.until(lambda: ran <= launched(), "all stages")
    made.until(lambda: state_of(made, run_id, "flight_delay__evaluate") == "success", "the verdicts")
    assert core_api.list_namespaced_pod(namespace).items == []
