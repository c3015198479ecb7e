"""The demonstration goes on where an earlier run of it stopped, and says why a model was not deployed."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from pipelines.cli.progress import Progress
from pipelines.demo.first_releases import FirstReleases
from pipelines.errors import Refused
from pipelines.spec.catalog import Catalog
from pipelines.testing.ports import FakePorts, MemoryLedger

MODEL = "flight_delay"


class Runs:
    """Airflow's runs by DAG, newest first; a deployment that is triggered fails or goes live."""

    def __init__(self, ports: FakePorts, *, deploys: bool) -> None:
        self.ports, self.deploys = ports, deploys
        self.ids: dict[str, list[dict[str, Any]]] = {}
        self.triggered: list[tuple[str, dict[str, Any]]] = []

    def runs(self, dag_id: str, **_: Any) -> list[dict[str, Any]]:
        return self.ids.get(dag_id, [])

    def add(self, dag_id: str, state: str) -> None:
        runs = self.ids.setdefault(dag_id, [])
        runs.insert(0, {"dag_run_id": f"{dag_id}/{len(runs)}", "state": state})

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        self.triggered.append((dag_id, conf))
        self.add(dag_id, "success" if self.deploys else "failed")
        if not self.deploys:
            refused_under_load(self.ports, dag_id, self.ids[dag_id][0]["dag_run_id"])
        else:
            self.ports.endpoint.release(MODEL, conf["version"], "bundle", "0" * 64, key="k")
        return dag_id


def first_releases(tmp_path: Path, *, deploys: bool) -> tuple[FirstReleases, Runs, list[str]]:
    catalog = Catalog.read(Path(__file__).parents[2] / "include")
    ports = FakePorts.make(tmp_path, catalog=catalog)
    ports.ledger = MemoryLedger(ports.clock)
    airflow, trained = Runs(ports, deploys=deploys), list[str]()
    people: Any = SimpleNamespace(train=lambda model, conf: trained.append(model), answer=lambda dag_id: 0)
    progress = Progress(Console(quiet=True))
    releases = FirstReleases([MODEL], date(2013, 1, 31), "delays persist", ports, airflow, people, progress)  # type: ignore[arg-type]
    return releases, airflow, trained


def refused_under_load(ports: Any, dag_id: str, run: str) -> None:
    """The verdict that ended the run, and after it the lines of the run's end, which passes."""
    slow = {"practice": "load_test", "outcome": "unknown", "reasons": ["the client itself was late by 1,100 ms (p99)"]}
    ends = {"practice": "rollout_rollback", "outcome": "pass", "reasons": []}
    for task, details in (("test_under_load", slow), ("end_rollout", ends)):
        key = f"{dag_id}/{run}/{task}/-1/0/x"
        ports.ledger.append("rollout", model=MODEL, version="1", actor="airworthy", details=details, key=key)


def approved_and_refused_under_load(made: FirstReleases, airflow: Runs) -> None:
    made.ports.ledger.append(
        "approval", model=MODEL, version="1", actor="airworthy", details={"semantic_version": "1.0.0"}
    )
    refused_under_load(made.ports, f"{MODEL}__deploy", "an earlier one")
    for stage in ("train", "evaluate"):
        airflow.add(f"{MODEL}__{stage}", "success")
    airflow.add(f"{MODEL}__deploy", "failed")


def test_a_first_model_is_trained(tmp_path: Path) -> None:
    made, airflow, trained = first_releases(tmp_path, deploys=True)
    made._train_or_deploy(MODEL)
    assert (trained, airflow.triggered) == ([MODEL], [])


def test_a_second_run_deploys_what_is_approved_and_trains_nothing_anew(tmp_path: Path) -> None:
    made, airflow, trained = first_releases(tmp_path, deploys=True)
    approved_and_refused_under_load(made, airflow)
    made.run()
    assert trained == []
    assert airflow.triggered == [(f"{MODEL}__deploy", {"version": "1"})]
    assert made.ports.endpoint.state(MODEL).version == "1"


def test_a_deployment_that_fails_is_told_with_its_reason(tmp_path: Path) -> None:
    made, airflow, _ = first_releases(tmp_path, deploys=False)
    approved_and_refused_under_load(made, airflow)
    with pytest.raises(Refused) as refusal:
        made.run()
    assert refusal.value.reasons == [f"{MODEL}__deploy: the client itself was late by 1,100 ms (p99)"]
    assert "`make demo` tries what failed again" in refusal.value.subject
