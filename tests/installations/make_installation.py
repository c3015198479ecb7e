"""Made ``before_0_2.tar.xz`` and ``before_0_2/in_flight.json``, with commit 161e1ed7 and nothing else.

It is kept for its reader: it says what the kept installation went through. Run ``python -m
tests.installations.make_installation`` on a checkout of that commit, and another such installation is made. Airflow
drove everything: five days were backfilled while the sixth one is still waited for, version 1 was trained, judged and
released, and version 2 was on its way with a fifth of the traffic when the stack was stopped. Its task ``judge_at_20``
was deferred then: all that was shown spoke for the candidate, but the step was younger than it has to be.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml
from pipelines.cli.demo_people import People
from pipelines.cli.land import land
from pipelines.cli.traffic import flights
from pipelines.revision import git_revision
from pipelines.rollout_evidence import Outcome, WeighedRollout, WeighRequest
from pipelines.rollout_messages import RolloutState

from pipelines import declared_rollout
from pipelines.cli.progress import Progress, open_console
from pipelines.errors import AirworthyError
from pipelines.settings import REPOSITORY, Settings
from pipelines.wiring import run_step
from tests.e2e.installation import Installation
from tests.installations.kept import ARCHIVE, TEXTS

HOME = Path("/srv/airworthy/var")
"""Neutral, and the only place that the kept installation speaks of beside its checkout."""
DATASET, MODEL = "flights", "flight_delay"
DEPLOY = f"{MODEL}__deploy"
FIRST, DAYS = date(2013, 1, 1), 5
WAITED_FOR = FIRST + timedelta(days=DAYS)
JUDGED = "judge_at_20"
CENTURY = 100 * 366 * 24 * 60
"""Minutes. The days of the dataset are those of 2013, and the sixth one is still waited for."""
DEPLOYMENT: dict[str, Any] = {
    "strategy": "canary",
    "routing": {"key": "field:ids"},
    "load_test": {"duration": 6, "target_rps": 40, "ramp_up_time": 1,
                  "assertions": {"p95_latency": {"max": 2000}, "error_rate": {"max": 0.5}}},
    "shadow": {"duration": 4, "minimum_compared": 60, "tolerance": 0.5, "max_disagreement": 0.4, "min_coverage": 0.5,
               "max_duration": 120},
    "canary": {"steps": [20], "increment_interval": 1800, "error_threshold": 0.1, "max_step_duration": 31 * 86400},
    "analysis": {"interval": 20, "minimum_units": 30},
    "lease": 86400,
    "approval": {"approvers": [{"role": "ml_lead", "users": ["ml_lead"]}]},
    "rollback": {"window": 1},
}  # fmt: skip
ENOUGH = 80
"""Flights that the candidate answered when the stack was stopped."""
ASKED = 30
"""Flights whose answers are kept."""


class Flight(Installation):
    """The stack whose second version is on its way."""

    def state(self) -> RolloutState | None:
        try:
            return self.ports.target(MODEL).rollout(MODEL)
        except AirworthyError:
            return None

    def share(self, version: str) -> int:
        state = self.state()
        return 0 if state is None else state.split.get(version, 0)

    def runs(self, stage: str) -> list[dict[str, Any]]:
        return self.airflow.runs(f"{MODEL}__{stage}")

    def tasks(self, run: str) -> dict[str, str]:
        return {task["task_id"]: str(task["state"]) for task in self.airflow.tasks(DEPLOY, run)}

    def ask(self, body: bytes) -> dict[str, Any]:
        answer = httpx.post(f"{self.settings.gateway}/models/{MODEL}/invocations", content=body, timeout=30)
        answer.raise_for_status()
        [prediction] = answer.json()["predictions"]
        return {
            "body": json.loads(body),
            "version": answer.headers["x-model-version"],
            "arm": answer.headers.get("x-model-arm", "champion"),
            "prediction": prediction,
        }

    def shown(self, run: str) -> bool:
        """Whether all that the analysis asks for is shown, the age of the step aside."""
        deployment = self.ports.catalog.model(MODEL).deployment
        arms = self.ports.target(MODEL).counts(MODEL, rollout_of(self, run))
        request = WeighRequest(plan=declared_rollout.analysis_plan(deployment), arms=arms)
        weighed = run_step("weigh_rollout", request.model_dump_json(by_alias=True), self.ports)
        assert isinstance(weighed, WeighedRollout)
        return weighed.verdict.outcome is Outcome.PASS


def rollout_of(flight: Flight, run: str) -> str:
    state = flight.state()
    assert state is not None
    assert state.rollout_id is not None, run
    return state.rollout_id


def say(what: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {what}", flush=True)


def declare() -> None:
    """The repository's declarations, cut to what five days can carry."""
    shutil.copytree(REPOSITORY / "include", HOME / "include")
    (HOME / "include" / "models" / "arrival_delay_minutes.yaml").unlink()
    path = HOME / "include" / "models" / f"{MODEL}.yaml"
    spec = yaml.safe_load(path.read_text())
    spec["training"] |= {"minimum_rows": 500, "early_stopping": {"enabled": False}}
    spec["training"]["estimator"]["rounds"] = 12
    spec["training"]["checkpointing"] = {"enabled": False}
    spec["evaluation"]["minimum_metrics"] = {"roc_auc": {"min": 0.4}}
    spec["evaluation"]["comparison"] |= {"margin": 0.4, "too_few_units": "point_estimate"}
    spec["evaluation"]["slices"] |= {"columns": ["origin"], "max_loss": 0.9, "min_rows": 50}
    path.write_text(yaml.safe_dump(spec | {"deployment": DEPLOYMENT}, sort_keys=False))
    path = HOME / "include" / "datasets" / f"{DATASET}.yaml"
    dataset = yaml.safe_load(path.read_text())
    dataset["calendar"]["wait_minutes"] = CENTURY
    path.write_text(yaml.safe_dump(dataset, sort_keys=False))


def bring_days(flight: Flight) -> None:
    """Five days land and are built; Airflow waits for the sixth."""
    for stage in ("arrive", "ingest", "validate"):
        flight.airflow.unpause(f"{DATASET}__{stage}")
    land(FIRST, FIRST + timedelta(days=DAYS - 1), flight.ports)
    flight.airflow.backfill(f"{DATASET}__ingest", FIRST, WAITED_FOR, max_active_runs=4)
    flight.until(lambda: len(flight.built()) == DAYS, "features of all days")
    say(f"built {flight.built()}")


def train(flight: Flight, people: People, version: str, as_of: date, done: Callable[[str], bool]) -> str:
    """Train, judge and deploy one version, until its deploy run has come as far as is asked; returns that run."""
    before = {run["dag_run_id"] for run in flight.runs("deploy")}
    conf = {"as_of": as_of.isoformat(), "hypothesis": f"one more day makes version {version}"}
    flight.airflow.trigger(f"{MODEL}__train", conf)
    begun: list[str] = []

    def over() -> bool:
        for stage in ("train", "evaluate", "deploy"):
            failed = [run["dag_run_id"] for run in flight.runs(stage) if run["state"] == "failed"]
            assert not failed, failed
        begun[:] = [run["dag_run_id"] for run in flight.runs("deploy") if run["dag_run_id"] not in before]
        people.answer(DEPLOY)
        return bool(begun) and done(begun[0])

    flight.until(over, f"version {version}")
    return begun[0]


def cut_off_in_flight(flight: Flight, people: People) -> dict[str, Any]:
    """Send version 2 up, ask about flights all the while, and stop the stack while its step is judged."""
    bodies = flights(MODEL, date(2013, 2, 1), 2, flight.ports)
    answers: list[dict[str, Any]] = []
    asking = iter(bodies)

    def ask_about_some(count: int) -> None:
        in_the_air = flight.share("2") == 2000
        for body in [body for body, _ in zip(asking, range(count), strict=False)]:
            answer = flight.ask(body)
            if in_the_air:
                answers.append(answer)

    def judging(run: str) -> bool:
        tasks = flight.tasks(run)
        state = flight.state()
        if state is not None and state.phase in ("SHADOWING", "BAKING"):
            ask_about_some(20)
        if tasks.get(JUDGED) != "deferred" or flight.share("2") != 2000:
            return False
        candidate = sum(answer["version"] == "2" for answer in answers)
        return candidate >= ENOUGH and flight.shown(run)

    run = train(flight, people, "2", FIRST + timedelta(days=DAYS - 1), judging)
    for stage in ("train", "evaluate"):
        flight.airflow.pause(f"{MODEL}__{stage}")  # no schedule of theirs starts anything when it is opened again
    flight.until(lambda: flight.tasks(run)[JUDGED] != "deferred", "the next look")
    flight.until(lambda: flight.tasks(run)[JUDGED] == "deferred", "the wait after it")
    state = flight.state()
    assert state is not None
    assert state.phase == "BAKING"
    [release] = flight.ports.ledger.entries(MODEL, kind="release")
    assert release.version == "1"
    return {
        "made_by": git_revision({}),
        "home": str(HOME),
        "dag": DEPLOY,
        "run": run,
        "task": JUDGED,
        "state": state.model_dump(mode="json", by_alias=True),
        "waited_for": WAITED_FOR.isoformat(),
        "answers": answers[:ASKED],
    }


def make() -> dict[str, Any]:
    declare()
    flight = Flight(Settings.from_environment({"AIRWORTHY_HOME": str(HOME), "AIRWORTHY_INCLUDE": f"{HOME}/include"}))
    flight.up()
    flight.settings = flight.ports.settings  # its ports were chosen by the first start
    say("up")
    people = People(flight.settings, Progress(open_console()))
    try:
        flight.until(
            lambda: {DEPLOY, f"{DATASET}__validate"} <= {dag["dag_id"] for dag in flight.airflow.dags()}, "parsing"
        )
        bring_days(flight)
        for stage in ("train", "evaluate", "deploy"):
            flight.airflow.unpause(f"{MODEL}__{stage}")

        def succeeded(run: str) -> bool:
            return any(each["dag_run_id"] == run and each["state"] == "success" for each in flight.runs("deploy"))

        train(flight, people, "1", FIRST + timedelta(days=DAYS - 2), succeeded)
        say("version 1 is live")
        facts = cut_off_in_flight(flight, people)
    finally:
        people.close()
        flight.down()
        say("down")
    facts["stopped"] = datetime.now(UTC).isoformat()
    return facts


# ---- what is kept of it --------------------------------------------------------------------------------------------

NEEDED = [
    "airflow/airflow.db",
    "airflow/keys/fernet",
    "gateway/bundles/**/*",
    "gateway/counts.db",
    "gateway/state.db",
    "include/datasets/*",
    "include/expectations/*",
    "include/features/*",
    "include/models/*",
    "include/gateway.yaml",
    "ledger/*",
    "mlflow/mlflow.db",
    "mlflow/artifacts/*/models/**/*",
    "store/approvals/**/*",
    "store/bundles/**/*",
    "store/features/**/*",
    "store/landing/flights/airports/**/*",
    "store/landing/flights/planes/**/*",
    "store/predictions/**/*",
    "store/profiles/**/*",
    "store/receipts/**/*",
    "store/snapshots/**/*",
    "store/tables/**/*",
]
"""Of the keys only the one with which Airflow encrypts what a trigger is made with; all others are drawn anew."""
HISTORY = ("log", "rendered_task_instance_fields")
"""Tables of Airflow that only its pages show."""


def strip() -> None:
    """Take away what nobody opens again: logs, pictures, what sources delivered, and what was written ahead."""
    kept = {path for pattern in NEEDED for path in HOME.glob(pattern) if path.is_file()}
    for path in sorted(HOME.rglob("*"), reverse=True):
        if path.is_file() and path not in kept and not path.name.endswith(("-wal", "-shm")):
            path.unlink()
    for path in sorted(HOME.rglob("*.db")):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for table in HISTORY if path.name == "airflow.db" else ():
                connection.execute(f'DELETE FROM "{table}"')
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in sorted(HOME.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def pack() -> None:
    """The same archive from the same files: sorted, owned by nobody, and of one moment."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = 0
        return member

    with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        for path in sorted(path for path in HOME.rglob("*") if path.is_file()):
            archive.add(path, path.relative_to(HOME).as_posix(), filter=plain)


def main() -> None:
    facts = make()
    strip()
    pack()
    path = TEXTS / "in_flight.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    say(f"{ARCHIVE.name} has {ARCHIVE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
