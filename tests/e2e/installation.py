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
"""Seconds for what takes ten on a quiet machine."""
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

    def components(self) -> list[Component]:
        return [each for each in components(self.settings) if self.parts is None or each.name in self.parts]

    def built(self) -> list[date]:
        return self.ports.store.days(store_paths.features("flight_delay"))

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait for it. On a busy machine a question may find no answer in time: then it is asked again."""
        deadline = time.monotonic() + PATIENCE
        while not answered(done):
            assert time.monotonic() < deadline, f"{what} did not happen within {PATIENCE:.0f} s"
            time.sleep(1)  # a question costs the API server 40 ms of CPU

    def kill(self, component: str) -> None:
        """``kill -9`` a component and all that it has started (the scheduler: every task)."""
        process = stack.running_process(self.settings, component)
        assert process is not None
        os.killpg(process.pid, signal.SIGKILL)
        self.until(lambda: stack.running_process(self.settings, component) is None, f"the end of {component}")

    def down(self) -> None:
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

    installation.until(lambda: state() in ("success", "failed"), f"the end of {run_id}")
    return {task["task_id"]: task["state"] for task in installation.airflow.tasks(dag_id, run_id)}
