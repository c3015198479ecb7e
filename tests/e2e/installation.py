"""The embedded stack of a test: in a folder of its own, on ports of its own, its processes there to be killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import httpx
import pytest
from rich.console import Console

from pipelines import store_paths
from pipelines.adapters.airflow_rest import AirflowApi
from pipelines.cli import stack
from pipelines.cli.airflow_database import database_file, record_file
from pipelines.cli.components import Component, components, environment, passwords
from pipelines.cli.components import ports as stack_ports
from pipelines.errors import Unavailable
from pipelines.settings import PREFERRED_PORTS, Settings
from pipelines.wiring import RealPorts, open_ports
from tests.free_port import free_port

PATIENCE = 900.0
"""Seconds for what takes ten on a quiet machine, as long as it can still come; see ``Installation.until``."""
IDLE_SECONDS = 300.0
"""A stack in which no run has been queued or running for so long is waited for no more."""
ENDED_SECONDS = 60.0
"""So long after the end of a run it is not waited any more for what the run was to bring about."""
LOOK_SECONDS = 10.0
"""Between two looks at what still goes on."""
PARSED_ONCE = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600"}
"""For stacks without arrivals: Airflow starts the watcher of an asset when it next parses a DAG that is not paused."""
NOBODY_IS_KILLED = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "900",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "900",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "900",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "300",
}
"""For stacks in which every part lives to the end: on a busy machine Airflow takes none that is slow for dead."""
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer")


@dataclass
class Installation:
    """The stack in a folder of its own, on ports of its own.

    ``variables`` change the environment of its processes; ``parts`` names those that run, None all.
    """

    settings: Settings
    variables: dict[str, str] = field(default_factory=dict, kw_only=True)
    parts: tuple[str, ...] | None = field(default=None, kw_only=True)
    started: set[str] = field(default_factory=set, kw_only=True)
    """The parts that are to be alive: those that were started and not killed."""

    def __post_init__(self) -> None:
        """Choose ports at random: two stacks that are started at once would both prefer the same ones."""
        chosen = self.settings.home / "run" / "ports.json"
        if not chosen.exists():
            chosen.parent.mkdir(parents=True, exist_ok=True)
            chosen.write_text(json.dumps({name: free_port() for name in PREFERRED_PORTS}))

    @cached_property
    def ports(self) -> RealPorts:
        places = {"AIRWORTHY_HOME": str(self.settings.home), "AIRWORTHY_INCLUDE": str(self.settings.include)}
        return open_ports(Settings.from_environment(places))

    @cached_property
    def airflow(self) -> AirflowApi:
        base = f"http://127.0.0.1:{stack_ports(self.settings)['airflow']}"
        return AirflowApi(base, "admin", passwords(self.settings)["admin"])

    def take_database(self, migrated: Settings) -> None:
        """Copy the database of an installation that was never started, rather than migrate another one."""
        for file in (database_file, record_file):
            file(self.settings).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file(migrated), file(self.settings))

    def up(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stack, "environment", lambda settings: environment(settings) | self.variables)
            stack.start(self.settings, Console(quiet=True), self.components())
        self.started |= {component.name for component in self.components()}

    def unpause(self, *dag_ids: str) -> None:
        """Unpause DAGs as soon as all of them are parsed."""
        self.until(lambda: {*dag_ids} <= {dag["dag_id"] for dag in self.airflow.dags()}, "parsing")
        for dag_id in dag_ids:
            self.airflow.unpause(dag_id)

    def components(self) -> list[Component]:
        return [each for each in components(self.settings) if self.parts is None or each.name in self.parts]

    def built(self) -> list[date]:
        return self.ports.store.days(store_paths.features("flight_delay"))

    def until(self, done: Callable[[], bool], what: str, run: tuple[str, str] | None = None) -> None:
        """Wait for it, as long as it can still come. ``run``: the DAG and the id of the run that is to bring it about.

        On a busy machine a question may find no answer in time: then it is asked again.
        """
        begun = looked = last_active = last_clean = time.monotonic()
        while not answered(done):
            now = time.monotonic()
            assert now < begun + PATIENCE, f"{what} did not happen within {PATIENCE:.0f} s"
            if now > looked + LOOK_SECONDS:
                looked = now
                last_active, errors = now if self.works(run) else last_active, self.import_errors()
                last_clean = last_clean if errors else now
                idle = ENDED_SECONDS if run else IDLE_SECONDS
                obstacle = self.dead_part()
                if obstacle is None and now > last_clean + ENDED_SECONDS:
                    obstacle = errors
                if obstacle is None and now > last_active + idle:
                    obstacle = f"nothing has run for {idle:.0f} s"
                assert obstacle is None, f"{what} cannot happen any more: {obstacle}"
            time.sleep(1)  # a question costs the API server 40 ms of CPU

    def works(self, run: tuple[str, str] | None) -> bool:
        """Whether the run, or any run of the stack, is queued or running. An Airflow that does not answer works."""
        try:
            runs = self.airflow.runs(run[0] if run else "~", state=["queued", "running"])
        except Unavailable:
            return True
        return any(run is None or each["dag_run_id"] == run[1] for each in runs)

    def import_errors(self) -> str:
        """The DAG files that were not imported, with why; empty if there is none, or Airflow does not answer."""
        try:
            return "\n".join(f"{each['filename']}: {each['stack_trace']}" for each in self.airflow.import_errors())
        except Unavailable:
            return ""

    def dead_part(self) -> str | None:
        """Which of the parts that are to be alive are not."""
        dead = [name for name in sorted(self.started) if stack.running_process(self.settings, name) is None]
        return f"{', '.join(dead)} has ended by itself; read {self.settings.home / 'logs'}" if dead else None

    def kill(self, component: str) -> None:
        """``kill -9`` a component and all that it has started (the scheduler: every task)."""
        process = stack.running_process(self.settings, component)
        assert process is not None
        self.started.discard(component)
        os.killpg(process.pid, signal.SIGKILL)
        self.until(lambda: stack.running_process(self.settings, component) is None, f"the end of {component}")

    def down(self) -> None:
        self.started.clear()
        self.airflow.close()
        self.ports.endpoint.close()
        stack.stop(self.settings)


def answered(done: Callable[[], bool]) -> bool:
    """Whether it is done; False if a service did not say."""
    with suppress(Unavailable, httpx.TransportError):
        return done()
    return False


def ended(installation: Installation, dag_id: str, run_id: str) -> dict[str, str]:
    """The states of a run's tasks, once it has ended."""

    def state() -> str:
        return next(str(run["state"]) for run in installation.airflow.runs(dag_id) if run["dag_run_id"] == run_id)

    installation.until(lambda: state() in ("success", "failed"), f"the end of {run_id}", (dag_id, run_id))
    return {task["task_id"]: task["state"] for task in installation.airflow.tasks(dag_id, run_id)}
