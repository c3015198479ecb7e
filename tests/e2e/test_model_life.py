"""A model is trained, judged, released, monitored and retrained on two weeks of real flight data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import store_paths
from pipelines.cli.airflow_database import database_file
from pipelines.demo.past_days import take_days
from pipelines.demo.replay import replay
from pipelines.settings import REPOSITORY, Settings
from pipelines.wiring import RealPorts, open_ports
from tests.e2e.installation import PATIENCE
from tests.mlflow_database import copy_empty_mlflow
from tests.serving.gateway_process import Gateway

pytestmark = pytest.mark.e2e

MODEL = "flight_delay"
FIRST = date(2013, 1, 1)
HISTORY, LIVE = 11, 4


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


@dataclass
class Life:
    """One installation in a folder, with a gateway of its own and an Airflow that runs DAGs in a process."""

    folder: Path
    gateway: Gateway

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRWORTHY_HOME": str(self.folder),
            "AIRWORTHY_INCLUDE": str(self.folder / "include"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder / 'mlflow.db'}",
            "AIRWORTHY_GATEWAY": self.gateway.base,
            "AIRWORTHY_GATEWAY_ADMIN": self.gateway.admin,
            "AIRWORTHY_GIT_REVISION": "e2e",
        }

    @cached_property
    def ports(self) -> RealPorts:
        return open_ports(Settings.from_environment(self.environment))

    def declare(self) -> None:
        """The repository's declarations, cut to what two weeks can carry."""
        shutil.copytree(REPOSITORY / "include", self.folder / "include")
        path = self.folder / "include" / "models" / f"{MODEL}.yaml"
        spec = yaml.safe_load(path.read_text())
        spec["training"]["estimator"]["rounds"] = 40
        spec["training"]["early_stopping"] = {"enabled": False}
        spec["evaluation"]["minimum_metrics"] = {"roc_auc": {"min": 0.52}}
        spec["evaluation"]["slices"]["columns"] = ["origin"]
        spec["monitoring"]["drift"] |= {"window_days": 2, "psi_threshold": 0.01, "feature_drift_threshold": 0.05}
        spec["monitoring"]["performance"] |= {"window_days": 2, "minimum_labels": 300, "max_drop": 0.5}
        declared = {"consecutive_detections": 2, "cooldown_days": 7, "triggers": ["data_drift"]}
        spec["monitoring"]["retraining"] = declared  # two windows of two days
        spec["deployment"] = {"rollback": {"window": 1}}  # one switch: stages have a life of their own in their tests
        path.write_text(yaml.safe_dump(spec))

    def arrive(self, first: int, last: int) -> None:
        """Let these days land, be ingested and validated, and get their features."""
        take_days([day(number) for number in range(first, last + 1)], self.ports, "flights")

    def drive(self, *orders: tuple[str, dict[str, Any]]) -> dict[str, Any]:
        """Let Airflow run these DAGs one after the other; what became of them."""
        script = [sys.executable, str(Path(__file__).with_name("drive.py"))]
        done = subprocess.run(
            script, input=json.dumps(orders), env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, migrated: Settings) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("life")
    life = Life(folder, Gateway(folder))
    life.declare()
    (folder / "airflow").mkdir()
    shutil.copy(database_file(migrated), folder / "airflow")
    copy_empty_mlflow(folder / "mlflow.db")
    life.arrive(0, HISTORY - 1)
    life.gateway.start()
    yield life
    life.ports.endpoint.close()
    life.gateway.stop()


@pytest.fixture(scope="module")
def released(life: Life) -> dict[str, Any]:
    """Trained on the history, judged and released."""
    known = {"as_of": day(HISTORY - 1).isoformat(), "hypothesis": "delays persist"}
    newest = {"version": "1"}
    return life.drive((f"{MODEL}__train", known), (f"{MODEL}__evaluate", newest), (f"{MODEL}__deploy", newest))


@pytest.fixture(scope="module")
def watched(life: Life, released: dict[str, Any]) -> dict[str, Any]:
    """Asked about the days after, whose flights then land, and monitored day by day."""
    for number in range(HISTORY, HISTORY + LIVE):
        life.arrive(number, number)
        replay([day(number)], [MODEL], life.ports)
    days = [day(number).isoformat() for number in range(HISTORY, HISTORY + LIVE)]
    return life.drive(*[(f"{MODEL}__monitor", {"day": each}) for each in days])


def test_the_first_candidate_passes_every_gate_and_goes_live(life: Life, released: dict[str, Any]) -> None:
    assert [run["state"] for run in released["runs"]] == ["success"] * 3, released
    ports = life.ports
    assert ports.endpoint.state(MODEL).version == "1"
    champion = ports.registry.by_alias(MODEL, "champion")
    assert champion is not None
    assert (champion.version, champion.semantic) == ("1", "1.0.0")


def test_each_stage_hands_the_version_on_by_an_event(released: dict[str, Any]) -> None:
    handed = [(event["asset"], event["extra"]["version"]) for event in released["events"]]
    assert handed == [(f"{MODEL}:candidate", "1"), (f"{MODEL}:approved", "1"), (f"{MODEL}:released", "1")]


def test_the_ledger_tells_the_whole_story_and_is_whole(life: Life, released: dict[str, Any]) -> None:
    ledger = life.ports.ledger
    kinds = [line.kind for line in ledger.entries(model=MODEL)]
    assert list(dict.fromkeys(kinds))[:5] == ["data_verdict", "training", "gate", "approval", "release"]
    digests = {line.details["model_digest"] for line in ledger.entries(model=MODEL, version="1", kind="approval")}
    digests |= {line.details["model_digest"] for line in ledger.entries(model=MODEL, version="1", kind="training")}
    assert len(digests) == 1
    assert ledger.faults() == []


def test_each_day_is_watched_and_a_run_is_red_only_where_a_check_detects(life: Life, watched: dict[str, Any]) -> None:
    lines = life.ports.ledger.entries(model=MODEL, kind="monitoring_verdict")
    checked = {(line.details["check"], line.details["day"]) for line in lines}
    days = [day(number).isoformat() for number in range(HISTORY, HISTORY + LIVE)]
    names = ("drift_check", "live_input_check", "performance_check", "estimated_performance")
    assert checked == {(check, each) for check in names for each in days}
    for run in watched["runs"]:
        checks = {run["tasks"][task] for task in ("check_drift", "check_live_inputs", "check_performance")}
        assert run["tasks"]["check_drift"] == "skipped"  # two weeks are too short a past
        assert run["state"] == ("failed" if "failed" in checks else "success")
        ended = "upstream_failed" if "failed" in checks else "success" if "success" in checks else "skipped"
        assert run["tasks"]["all_is_well"] == ended
    assert life.ports.store.days(store_paths.performance(MODEL))


def test_detections_of_a_declared_drift_trigger_in_a_row_start_one_training_of_that_day(
    life: Life, watched: dict[str, Any]
) -> None:
    [asked] = life.ports.ledger.entries(model=MODEL, kind="retrain_request")
    on = asked.details["day"]
    requested = [run for run in watched["trainings"] if run["run_id"].startswith("retrain_request__")]
    assert [(run["run_id"], run["conf"]["as_of"]) for run in requested] == [(f"retrain_request__{on}", on)]
    events = [event for event in watched["events"] if event["asset"] == f"{MODEL}:retrain_requested"]
    assert [(event["key"], event["extra"]["day"]) for event in events] == [(on, on)]
    later = [run for run in watched["runs"] if run["tasks"]["request_retraining"] == "skipped"]
    assert len(later) == LIVE - 1
