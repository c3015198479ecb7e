"""An installation that an earlier version of the code left in flight is opened by the present one, and goes on.

Version 1 answered, version 2 had a fifth of the traffic, the task that judges it was deferred, a day was waited for.
All evidence was there, the step alone had to become older; it has by now, so that the next look ends in the promotion.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime
from typing import Any

import httpx
import pytest
import yaml
from rich.console import Console

from pipelines import store_paths
from pipelines.cli import stack, status, verify
from pipelines.cli.components import components
from pipelines.demo.land import land
from pipelines.errors import AirworthyError
from pipelines.messages.rollout import RolloutState
from pipelines.messages.training import ModelDigests
from pipelines.settings import REPOSITORY, Settings
from pipelines.spec.durations import MAX_DAYS
from pipelines.steps.models.registered_model import load_model
from tests.e2e.conftest import unmeasured  # noqa: F401 - the stack runs at its own speed
from tests.e2e.installation import NOBODY_IS_KILLED, Installation
from tests.installations.kept import KeptInstallation

pytestmark = pytest.mark.e2e

MODEL, DATASET = "flight_delay", "flights"
GROUND = ("mlflow", "gateway")
"""What answers without Airflow."""


class InFlight(Installation):
    """The kept installation on ports of its own."""

    told: dict[str, Any]

    def ground(self) -> None:
        """Start what answers without Airflow."""
        wanted = [component for component in components(self.settings) if component.name in GROUND]
        stack.start(self.settings, Console(quiet=True), wanted)

    def state(self) -> RolloutState:
        return self.ports.target(MODEL).rollout(MODEL)

    def ask(self, body: dict[str, Any]) -> httpx.Response:
        answer = httpx.post(f"{self.ports.settings.gateway}/models/{MODEL}/invocations", json=body, timeout=30)
        answer.raise_for_status()
        return answer

    def run_ended(self) -> bool:
        """Whether the run that was in flight is over; Airflow is slow to answer while it starts."""
        with suppress(AirworthyError):
            runs = {run["dag_run_id"]: run["state"] for run in self.airflow.runs(self.told["dag"])}
            return runs[self.told["run"]] in ("success", "failed")
        return False

    def tasks(self) -> dict[str, dict[str, Any]]:
        """What Airflow says of each task of the run that was in flight."""
        return {task["task_id"]: task for task in self.airflow.tasks(self.told["dag"], self.told["run"])}

    def went_on(self, task: dict[str, Any]) -> bool:
        """Whether the very try that was deferred then has ended well, and none was begun anew."""
        begun, stopped = (datetime.fromisoformat(at) for at in (task["start_date"], self.told["stopped"]))
        return task["state"] == "success" and task["try_number"] == 1 and begun < stopped

    def command(self, *arguments: str) -> int:
        """Exit code of ``airworthy`` with these arguments."""
        parser = argparse.ArgumentParser()
        commands = parser.add_subparsers()
        for command in (status, verify):
            command.add_parser(commands)
        options = parser.parse_args(arguments)
        return int(options.run(options, self.ports))

    def down(self) -> None:
        """Nothing is left to be saved: no part is waited for."""
        self.ports.endpoint.close()
        for component in reversed(components(self.settings)):
            if stack.running_process(self.settings, component.name) is not None:
                self.kill(component.name)
        if "airflow" in self.__dict__:
            self.airflow.close()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InFlight]:
    kept = KeptInstallation.unpack(tmp_path_factory.mktemp("in_flight"))
    named = {"AIRWORTHY_HOME": str(kept.home), "AIRWORTHY_INCLUDE": str(kept.home / "include")}
    dataset = yaml.safe_load((REPOSITORY / "include" / "datasets" / f"{DATASET}.yaml").read_text())
    dataset["partition"]["wait"] = f"{MAX_DAYS}d"
    include = kept.home / "include"
    (include / "datasets" / f"{DATASET}.yaml").write_text(yaml.safe_dump(dataset, sort_keys=False))
    shutil.copy(REPOSITORY / "include" / "features" / f"{MODEL}.yaml", include / "features")
    model = yaml.safe_load((include / "models" / f"{MODEL}.yaml").read_text())
    rewritten = {**model, "schema": 2, "target": "late"}
    (include / "models" / f"{MODEL}.yaml").write_text(yaml.safe_dump(rewritten, sort_keys=False))
    made = InFlight(Settings.from_environment(named), variables=NOBODY_IS_KILLED)
    made.told = kept.facts
    try:
        made.ground()
        yield made
    finally:
        made.down()


def test_the_gateway_serves_both_versions_as_it_did(installation: InFlight) -> None:
    told, state = RolloutState.model_validate(installation.told["state"]), installation.state()
    lease = {"lease_until": None}
    assert state.model_copy(update=lease) == told.model_copy(update=lease)
    assert (state.champion, state.split, state.phase) == ("1", {"1": 8000, "2": 2000}, "BAKING")
    for asked in installation.told["answers"]:
        answer = installation.ask(asked["body"])
        assert answer.headers["x-model-version"] == asked["version"], "a flight changed sides"
        assert answer.json()["predictions"] == pytest.approx([asked["prediction"]], abs=1e-6)


def test_the_registry_knows_both_versions_and_they_load(installation: InFlight) -> None:
    registry = installation.ports.registry
    versions = registry.versions(MODEL)
    assert [(each.version, each.semantic) for each in versions] == [("2", "1.0.1"), ("1", "1.0.0")]
    assert {each.version: each.aliases for each in versions} == {"1": ("champion",), "2": ()}
    for each in versions:
        [line] = installation.ports.ledger.entries(MODEL, each.version, "training")
        trained = ModelDigests(model_digest=line.details["model_digest"], snapshot=line.details["snapshot"])
        model = load_model(each, installation.ports, trained)
        assert model.model_digest == each.tags["airworthy.model_digest"]


def test_ledger_and_certificate_are_whole(installation: InFlight) -> None:
    assert installation.ports.ledger.faults() == []
    assert installation.command("verify", MODEL, "1") == 0


def test_the_deferred_task_goes_on_and_its_run_ends_with_the_promotion(installation: InFlight) -> None:
    before = installation.ports.ledger.entries(MODEL)
    installation.up()
    installation.until(installation.run_ended, "the end of the deploy run")
    tasks = installation.tasks()
    assert {task["state"] for task in tasks.values()} == {"success"}, tasks
    assert installation.went_on(tasks[installation.told["task"]])
    state = installation.state()
    assert (state.champion, state.previous, state.phase) == ("2", "1", "SUCCEEDED")
    assert state.rollout_id == installation.told["state"]["rollout_id"]
    champion = installation.ports.registry.by_alias(MODEL, "champion")
    assert champion is not None
    assert champion.version == "2"
    written = installation.ports.ledger.entries(MODEL)[len(before) :]
    judged = [line.details for line in written if line.details.get("practice") == "rollout_analysis"]
    assert [(line["outcome"], line["share"]) for line in judged] == [("pass", 2000)]
    [release] = [line for line in written if line.kind == "release"]
    assert (release.version, release.details["previous"]) == ("2", "1")


def test_a_day_that_is_waited_for_is_taken_up_when_it_lands(installation: InFlight) -> None:
    day, store = date.fromisoformat(installation.told["waited_for"]), installation.ports.store
    before = {on: store.read(store_paths.features(MODEL), days=[on]).height for on in installation.built()}
    assert day not in before
    land(day, day, installation.ports)
    installation.until(lambda: day in installation.built(), "the day that was waited for")
    after = {on: store.read(store_paths.features(MODEL), days=[on]).height for on in installation.built()}
    assert before.items() <= after.items()
    [run] = installation.airflow.runs(f"{DATASET}__ingest", partition_key_pattern=day.isoformat())
    tasks = {task["task_id"]: task for task in installation.airflow.tasks(run["dag_id"], run["dag_run_id"])}
    assert installation.went_on(tasks["wait_for_partition"])


def test_its_status_is_told(installation: InFlight, capsys: pytest.CaptureFixture[str]) -> None:
    assert installation.command("status", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["unreachable"] == {}
    assert told["refused"] == {}
    assert told["models"][MODEL]["live"]["version"] == "2"
    assert {gate["outcome"] for gate in told["models"][MODEL]["gates"]} == {"pass"}
    assert told["datasets"][DATASET][DATASET]["partitions"] >= 5
    assert installation.ports.ledger.faults() == []
