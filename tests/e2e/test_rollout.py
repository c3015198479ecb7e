"""A candidate is deployed by a real Airflow and gateway: kills do not stop it, and a bad one loses its traffic."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from pipelines.cli import stack
from pipelines.cli.components import environment
from pipelines.cli.progress import Progress, open_console
from pipelines.demo.past_days import take_days
from pipelines.demo.people import DemoUsers
from pipelines.demo.traffic import count_errors
from pipelines.errors import AirworthyError
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.messages.rollout import RolloutState
from pipelines.messages.training import SnapshotRequest, SnapshotResult, TrainRequest, TrainResult
from pipelines.settings import REPOSITORY, Settings
from pipelines.versions.reading import read_standing
from pipelines.wiring import run_step
from tests.e2e.installation import AIRFLOW, PARSED_ONCE, Installation

pytestmark = pytest.mark.e2e

MODEL = "flight_delay"
DEPLOY = f"{MODEL}__deploy"
FIRST, DAYS = date(2013, 1, 1), 9
DEPLOYMENT: dict[str, Any] = {
    "strategy": "canary",
    "routing": {"key": "field:ids"},
    "shadow": {"duration": 4, "minimum_compared": 60, "tolerance": 0.5, "max_disagreement": 0.4, "min_coverage": 0.5,
               "max_duration": 120},
    "canary": {"steps": [20, 50], "increment_interval": 8, "error_threshold": 0.1, "max_step_duration": 240},
    "analysis": {"interval": 1, "minimum_units": 30},
    "lease": 150,
    "approval": {"approvers": [{"role": "ml_lead", "users": ["ml_lead"]}]},
    "rollback": {"window": 1},
}  # fmt: skip


@dataclass
class RolloutStack(Installation):
    """The stack with two approved versions of one model, callers, and a watch on the split."""

    wrong: list[str] = field(default_factory=list)
    """Every moment at which the shares did not sum to everything."""
    _ended: threading.Event = field(default_factory=threading.Event)

    @cached_property
    def people(self) -> DemoUsers:
        return DemoUsers(self.settings, Progress(open_console()))

    def watch(self) -> None:
        """Look at the split all the time, from a thread of its own."""

        def look() -> None:
            while not self._ended.wait(0.1):
                if (state := self.state()) is not None and sum(state.split.values()) != 10_000:
                    self.wrong.append(f"{state.split} in {state.phase}")

        threading.Thread(target=look, daemon=True).start()

    def state(self) -> RolloutState | None:
        try:
            return self.ports.target(MODEL).rollout(MODEL)
        except AirworthyError:
            return None

    def share(self, version: str) -> int:
        state = self.state()
        return 0 if state is None else state.split.get(version, 0)

    def deploy(self, version: str) -> str:
        return self.airflow.trigger(DEPLOY, {"version": version})

    def run_state(self, run: str) -> str:
        found = {each["dag_run_id"]: each["state"] for each in self.airflow.runs(DEPLOY)}
        return str(found[run])

    def tasks(self, run: str) -> dict[str, str]:
        return {task["task_id"]: str(task["state"]) for task in self.airflow.tasks(DEPLOY, run)}

    def until_answering(self, done: Callable[[], bool], what: str, run: str) -> None:
        """Wait for what the run is to bring about, with whoever is asked saying yes."""

        def look() -> bool:
            try:
                self.people.answer(DEPLOY)
                return done()
            except AirworthyError:  # Airflow was killed and comes up again
                return False

        self.until(look, what, (DEPLOY, run))

    def ended(self, run: str) -> str:
        self.until_answering(lambda: self.run_state(run) in ("success", "failed"), f"the end of {run}", run)
        return self.run_state(run)

    def traffic(self, to: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pipelines.cli.main", "traffic", MODEL, "--from", "2013-02-01", "--days", "30"]
        command += ["--rps", "40", "--seconds", "1200", "--to", str(to)]
        return subprocess.Popen(command, env=environment(self.settings))

    def freeze_candidate(self) -> None:
        """Its process lives and answers nothing."""
        gateway = stack.running_process(self.settings, "gateway")
        assert gateway is not None
        for child in gateway.children(recursive=True):
            if "pipelines.serving.traffic.candidate_process" in child.cmdline():
                os.kill(child.pid, signal.SIGSTOP)


def approve(made: RolloutStack, seed: int) -> str:
    """Train a version, and let the ledger say that it passed every gate and was approved."""
    ports = made.ports
    day = FIRST + timedelta(days=DAYS)
    as_of = datetime(day.year, day.month, day.day, tzinfo=UTC)

    def step(name: str, request: Any) -> Any:
        return run_step(name, request.model_dump_json(by_alias=True), ports)

    snapshot = step("take_snapshot", SnapshotRequest(model=MODEL, as_of=as_of))
    assert isinstance(snapshot, SnapshotResult)
    request = TrainRequest(model=MODEL, snapshot=snapshot.digest, seed=seed, run_key=f"e2e/{seed}")
    trained = step("train_model", request)
    assert isinstance(trained, TrainResult)
    digest = trained.model_dump(mode="json", include={"model_digest", "judged_digest"})
    training = digest | trained.model_dump(mode="json", include={"folder_digest", "snapshot"})
    ports.ledger.append("training", MODEL, trained.version, training | {"outcome": "pass"}, actor="e2e")
    for gate in REQUIRED_GATES:
        ports.ledger.append("gate", MODEL, trained.version, {"gate": gate, "outcome": "pass", **digest}, actor="e2e")
    ports.ledger.append("approval", MODEL, trained.version, digest, actor="e2e")
    ports.registry.set_tags(MODEL, trained.version, {"airworthy.semantic_version": f"1.0.{seed}"})
    return trained.version


def declare(home: Path) -> None:
    shutil.copytree(REPOSITORY / "include", home / "include")
    (home / "include" / "models" / "arrival_delay_minutes.yaml").unlink()
    path = home / "include" / "models" / f"{MODEL}.yaml"
    spec = yaml.safe_load(path.read_text())
    spec["training"]["estimator"]["rounds"] = 30
    spec["training"]["early_stopping"] = {"enabled": False}
    path.write_text(yaml.safe_dump(spec | {"deployment": DEPLOYMENT}))


@pytest.fixture(scope="module")
def rollout_stack(tmp_path_factory: pytest.TempPathFactory, migrated: Settings) -> Iterator[RolloutStack]:
    home = tmp_path_factory.mktemp("rollout_stack")
    declare(home)
    found = {"AIRWORTHY_HOME": str(home), "AIRWORTHY_INCLUDE": str(home / "include")}
    no_audit = {"AIRWORTHY_PRELOAD": "mlflow"}  # days are built by the steps alone: no task needs Great Expectations
    parts = ("mlflow", "gateway", *AIRFLOW)
    made = RolloutStack(Settings.from_environment(found), variables=no_audit | PARSED_ONCE, parts=parts)
    made.take_database(migrated)
    made.up()
    callers = None
    try:
        take_days([FIRST + timedelta(days=number) for number in range(DAYS)], made.ports, "flights")
        assert [approve(made, seed) for seed in (1, 2)] == ["1", "2"]
        made.unpause(DEPLOY)
        assert made.ended(made.deploy("1")) == "success"
        made.watch()
        callers = made.traffic(home / "answers.parquet")
        yield made
        callers.send_signal(signal.SIGTERM)
        callers.wait(60)
        answers = pl.read_parquet(home / "answers.parquet")
        assert answers.height > 100
        assert count_errors(answers) == 0, "a caller saw an error"
    finally:
        made._ended.set()
        made.people.close()
        if callers is not None and callers.poll() is None:
            callers.kill()
        made.down()


def test_a_good_candidate_is_promoted_though_everything_is_killed_on_its_way(rollout_stack: RolloutStack) -> None:
    run = rollout_stack.deploy("2")
    rollout_stack.until_answering(lambda: rollout_stack.share("2") == 2000, "the first step", run)
    rollout_stack.kill("scheduler")  # with every task that runs
    rollout_stack.kill("triggerer")
    assert rollout_stack.share("2") == 2000, "traffic needs no Airflow"
    rollout_stack.up()
    rollout_stack.until_answering(lambda: rollout_stack.share("2") == 5000, "the second step", run)
    rollout_stack.kill("scheduler")
    rollout_stack.up()
    assert rollout_stack.ended(run) == "success"
    state = rollout_stack.state()
    assert state is not None
    assert (state.champion, state.previous, state.phase) == ("2", "1", "SUCCEEDED")
    assert rollout_stack.wrong == []
    [release] = rollout_stack.ports.ledger.entries(MODEL, "2", "release")
    assert release.details["previous"] == "1"
    champion = rollout_stack.ports.registry.by_alias(MODEL, "champion")
    assert champion is not None
    assert champion.version == "2"
    assert [line.details["share"] for line in shifts(rollout_stack, "2")] == [2000, 5000]
    assert statuses(rollout_stack) == {"1": "superseded", "2": "live"}


def statuses(rollout_stack: RolloutStack) -> dict[str, str | None]:
    versions = rollout_stack.ports.registry.versions(MODEL)
    assert read_standing(rollout_stack.ports, MODEL).disagreements == []
    return {info.version: info.tags.get("airworthy.status") for info in versions}


def shifts(rollout_stack: RolloutStack, version: str) -> list[Any]:
    lines = rollout_stack.ports.ledger.entries(MODEL, version, "rollout")
    return [line for line in lines if line.details["practice"] == "canary_step" and line.details["outcome"] == "pass"]


def test_a_candidate_that_freezes_under_traffic_is_rolled_back_and_its_run_fails_with_the_reasons(
    rollout_stack: RolloutStack,
) -> None:
    run = rollout_stack.deploy("1")
    rollout_stack.until_answering(lambda: rollout_stack.share("1") == 2000, "the first step", run)
    rollout_stack.freeze_candidate()
    rollout_stack.until(lambda: rollout_stack.share("1") == 0, "the rollback")
    assert rollout_stack.ended(run) == "failed"
    assert rollout_stack.tasks(run)["judge_at_20"] == "failed"
    state = rollout_stack.state()
    assert state is not None
    assert (state.champion, state.phase) == ("2", "ROLLED_BACK")
    assert re.search(r"(the limit is|>) 0\.1\b", state.reason), "guard or analysis, whichever saw it first"
    [line] = rollbacks(rollout_stack)
    assert (line.version, line.details["from"], line.details["to"]) == ("1", "1", "2")
    assert state.reason in line.details["reason"]
    assert statuses(rollout_stack) == {"1": "rolled_back", "2": "live"}


def rollbacks(rollout_stack: RolloutStack) -> list[Any]:
    return rollout_stack.ports.ledger.entries(MODEL, kind="rollback")


def test_a_person_who_marks_a_task_failed_takes_the_candidates_traffic(rollout_stack: RolloutStack) -> None:
    run = rollout_stack.deploy("1")
    rollout_stack.until_answering(lambda: rollout_stack.share("1") == 2000, "the first step", run)
    rollout_stack.until(
        lambda: rollout_stack.tasks(run)["judge_at_20"] in ("running", "deferred"), "the first look", (DEPLOY, run)
    )
    rollout_stack.airflow.set_task_state(DEPLOY, run, "judge_at_20", "failed")
    rollout_stack.until(lambda: rollout_stack.share("1") == 0, "the rollback")
    assert rollout_stack.ended(run) == "failed"
    assert len(rollbacks(rollout_stack)) == 2
    assert rollout_stack.wrong == []
