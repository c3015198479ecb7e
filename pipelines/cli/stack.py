"""`airworthy up` starts the components that are not running; `airworthy stop` ends those that it started."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console

from pipelines.cli.airflow_database import migrate
from pipelines.cli.components import (
    Component,
    components,
    draw_passwords,
    environment,
    is_taken,
    passwords,
    passwords_file,
    ports,
    program_path,
)
from pipelines.cli.reader import READER, draw_reader
from pipelines.cli.terminal_text import print_line, print_text
from pipelines.errors import Refused, Unavailable
from pipelines.ports import Ports
from pipelines.settings import Settings

START_TIMEOUT = 180.0
STOP_TIMEOUT = 20.0
RELEASE_TIMEOUT = 5.0


def add_parser(subparsers: Any) -> None:
    up = subparsers.add_parser("up", help="start the embedded stack in the background")
    up.set_defaults(run=lambda options, ports: _up(options, ports))
    down = subparsers.add_parser("stop", help="stop the embedded stack")
    down.set_defaults(run=lambda options, ports: _stop(options, ports))


def _up(_: argparse.Namespace, ports: Ports) -> int:
    start(ports.settings, Console())
    print_text(describe(ports.settings))
    return 0


def _stop(_: argparse.Namespace, ports: Ports) -> int:
    stopped = stop(ports.settings)
    print_line(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
    return 0


def start(settings: Settings, console: Console, selected: Sequence[Component] | None = None) -> None:
    """Start every component that is not alive and wait until all answer. ``Unavailable`` names what did not."""
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.home.chmod(0o700)  # keys, passwords, tables and ledger lie below
    env = environment(settings)
    draw_passwords(settings)
    logs = settings.home / "logs"
    for folder in (logs, settings.home / "run", settings.home / "mlflow", Path(settings.store)):
        folder.mkdir(parents=True, exist_ok=True)
    selected = components(settings) if selected is None else selected
    missing = [component for component in selected if running_process(settings, component.name) is None]
    _refuse_taken_ports(settings, missing)
    if any(component.command[0] == program_path("airflow") for component in missing):
        with console.status("preparing Airflow's database"):
            migrate(settings, env, logs)
    for component in missing:
        _launch(settings, component, env)
    with console.status("starting") as status, httpx.Client(timeout=2) as client:
        _wait_until_ready(settings, selected, client, status.update)
    if any(component.name == "mlflow" for component in missing):
        draw_reader(settings, f"http://127.0.0.1:{ports(settings)['mlflow']}")
    for component in missing:
        console.print(f"  started {component.name}")


def _refuse_taken_ports(settings: Settings, missing: Sequence[Component]) -> None:
    """The ports are those of the first start. ``Refused`` names each that another program has taken since."""
    listeners = [(component.name, port) for component in missing for port in component.listens]
    deadline = time.monotonic() + RELEASE_TIMEOUT  # of what a killed component's children still hold
    while (taken := [each for each in listeners if is_taken(each[1])]) and time.monotonic() < deadline:
        time.sleep(0.3)
    if taken:
        chosen = settings.home / "run" / "ports.json"
        way_on = f"end that program, or `airworthy stop` and delete {chosen}: the next start chooses free ports"
        faults = [f"{name}: another program listens at port {port}" for name, port in taken]
        raise Refused(f"the stack cannot start; {way_on}", faults)


def _launch(settings: Settings, component: Component, env: dict[str, str]) -> None:
    with (settings.home / "logs" / f"{component.name}.log").open("ab") as log:
        process = subprocess.Popen(
            component.command,
            env=env | component.environment(),
            cwd=settings.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
        )
    process.returncode = 0  # it outlives this command on purpose: no wait for it
    record = {"pid": process.pid, "created": psutil.Process(process.pid).create_time()}
    _record_file(settings, component.name).write_text(json.dumps(record))


def _record_file(settings: Settings, name: str) -> Path:
    return settings.home / "run" / f"{name}.pid.json"


def running_process(settings: Settings, name: str) -> psutil.Process | None:
    """The process we started under that name, if it still runs. A reused pid does not count."""
    try:
        record = json.loads(_record_file(settings, name).read_text())
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["created"]) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, psutil.Error):
        return None


def _wait_until_ready(settings: Settings, selected: Sequence[Component], client: httpx.Client, show: Any) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while waiting := [component for component in selected if not _is_healthy(component, client)]:
        dead = [component.name for component in selected if running_process(settings, component.name) is None]
        if dead:
            raise Unavailable(f"{', '.join(dead)} ended while starting; read {settings.home / 'logs' / dead[0]}.log")
        if time.monotonic() > deadline:
            names = ", ".join(component.name for component in waiting)
            raise Unavailable(f"{names} did not answer within {START_TIMEOUT:.0f} s; read {settings.home / 'logs'}")
        show(f"waiting for {', '.join(component.name for component in waiting)}")
        time.sleep(0.3)


def _is_healthy(component: Component, client: httpx.Client) -> bool:
    if component.health is None:
        return True
    try:
        return client.get(component.health).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def stop(settings: Settings) -> list[str]:
    """End every component that this checkout started, with its children; returns their names."""
    records = sorted((settings.home / "run").glob("*.pid.json"), key=lambda path: path.stat().st_mtime)
    names = [path.name.removesuffix(".pid.json") for path in records]
    processes = {name: running_process(settings, name) for name in names}
    running = {name: process for name, process in processes.items() if process}
    # First those that start new work, last those that others write to.
    family = [member for process in running.values() for member in [process, *process.children(recursive=True)]]
    for process in reversed(list(running.values())):
        os.killpg(process.pid, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(family, timeout=STOP_TIMEOUT)
    for process in stubborn:
        process.kill()
    psutil.wait_procs(stubborn, timeout=5)
    for name in processes:
        _record_file(settings, name).unlink(missing_ok=True)
    return list(running)


def describe(settings: Settings, *, show_passwords: bool | None = None) -> str:
    """Addresses and log-ins of the pages. Passwords are shown on a terminal only, never in a log (None: as it is)."""
    port = ports(settings)
    shown = sys.stdout.isatty() if show_passwords is None else show_passwords
    secret = passwords(settings)
    logins = "\n".join(f"             {user:<11} {word}" for user, word in secret.items())
    reader = settings.registry_reader_file
    word = reader.read_text().strip() if shown and reader.exists() else f"password in {reader}"
    if not shown:
        logins = f"             {', '.join(secret)}; passwords in {passwords_file(settings)}"
    return (
        f"Airflow      http://127.0.0.1:{port['airflow']}\n{logins}\n"
        f"MLflow       http://127.0.0.1:{port['mlflow']}/#/experiments?workflowType=machine_learning\n"
        f"             {READER:<11} {word}\n"
        f"Gateway      http://127.0.0.1:{port['gateway']}   (its API: /docs, metrics: /metrics)\n"
        f"All data are below {settings.home}; `make stop` ends the stack, `make clean` deletes them."
    )
