"""The stack starts what is missing, ends only what it started, and names what did not come up."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import yaml
from cryptography.fernet import Fernet
from rich.console import Console

from pipelines.cli import stack
from pipelines.cli.components import (
    Component,
    components,
    environment,
    gateway_config_option,
    passwords,
    passwords_file,
    ports,
)
from pipelines.errors import Refused, Unavailable
from pipelines.settings import Settings
from tests.free_port import free_port

SERVER = (
    "import http.server as s; s.ThreadingHTTPServer(('127.0.0.1', {port}), s.SimpleHTTPRequestHandler).serve_forever()"
)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    made = Settings.from_environment({"AIRWORTHY_HOME": str(tmp_path)})
    yield made
    stack.stop(made)


def server(name: str) -> Component:
    port = free_port()
    return Component(name, [sys.executable, "-c", SERVER.format(port=port)], f"http://127.0.0.1:{port}/")


def test_a_started_component_answers_and_is_known_by_its_pid(settings: Settings) -> None:
    stack.start(settings, Console(quiet=True), [server("one")])
    assert stack.running_process(settings, "one") is not None


def test_starting_again_leaves_the_living_alone_and_replaces_the_dead(settings: Settings) -> None:
    wanted = [server("one"), server("two")]
    stack.start(settings, Console(quiet=True), wanted)
    before = {name: stack.running_process(settings, name) for name in ("one", "two")}
    killed = before["two"]
    assert killed is not None
    killed.kill()
    killed.wait()
    stack.start(settings, Console(quiet=True), wanted)
    assert stack.running_process(settings, "one") == before["one"]
    assert stack.running_process(settings, "two") not in {None, killed}


def test_stopping_ends_what_was_started_and_nothing_else(settings: Settings) -> None:
    stack.start(settings, Console(quiet=True), [server("one"), server("two")])
    processes = [stack.running_process(settings, name) for name in ("one", "two")]
    assert sorted(stack.stop(settings)) == ["one", "two"]
    assert not any(process.is_running() for process in processes if process)
    assert psutil.Process(os.getpid()).is_running()
    assert stack.stop(settings) == []


def test_a_reused_pid_is_not_taken_for_ours(settings: Settings) -> None:
    record = settings.home / "run" / "one.pid.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"pid": os.getpid(), "created": 0.0}))
    assert stack.running_process(settings, "one") is None
    assert stack.stop(settings) == []


def test_a_component_that_ends_while_starting_is_named_with_its_log(settings: Settings) -> None:
    broken = Component("broken", [sys.executable, "-c", "raise SystemExit('no')"], f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(Unavailable, match=r"broken ended while starting; read .*broken\.log"):
        stack.start(settings, Console(quiet=True), [broken])


def test_a_port_that_another_program_has_taken_is_refused_by_name_before_anything_starts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "RELEASE_TIMEOUT", 0.0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Refused) as refusal:
            stack.start(settings, Console(quiet=True), [server("one"), replace(server("two"), listens=(port,))])
    assert refusal.value.reasons == [f"two: another program listens at port {port}"]
    assert "ports.json: the next start chooses free ports" in refusal.value.subject
    assert stack.running_process(settings, "one") is None
    served = {name for component in components(settings) for name in component.listens}
    assert served == {port for name, port in ports(settings).items() if name != "airflow_logs"}


def test_ports_are_chosen_once_and_avoid_those_taken(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 5500))
            taken.listen()
        except OSError:
            pass  # somebody else holds it, which serves as well
        chosen = ports(settings)
    assert chosen["mlflow"] != 5500
    assert len(set(chosen.values())) == len(chosen)
    assert ports(settings) == chosen
    assert Settings.from_environment({"AIRWORTHY_HOME": str(settings.home)}).tracking.endswith(str(chosen["mlflow"]))


def test_every_server_listens_on_loopback_only(settings: Settings) -> None:
    for component in components(settings):
        hosts = [
            argument
            for before, argument in zip(component.command, component.command[1:], strict=False)
            if before == "--host"
        ]
        assert all(host == "127.0.0.1" for host in hosts)
    assert environment(settings)["AIRFLOW__API__HOST"] == "127.0.0.1"


def test_the_gateway_has_as_many_workers_as_the_model_with_the_most_replicas(
    settings: Settings, tmp_path: Path
) -> None:
    include = tmp_path / "include"
    shutil.copytree(settings.include, include)
    file = include / "models" / "arrival_delay_minutes.yaml"
    declared = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**declared, "deployment": {"resources": {"replicas": 3}}}, sort_keys=False))
    asked = {
        component.name: component.command for component in components(settings.model_copy(update={"include": include}))
    }["gateway"]
    assert asked[asked.index("--workers") + 1] == "3"


def test_the_gateway_reads_the_door_that_is_declared_unless_the_environment_names_another(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRWORTHY_GATEWAY_CONFIG", raising=False)
    assert gateway_config_option(settings) == ["--config", str(settings.include / "gateway.yaml")]
    monkeypatch.setenv("AIRWORTHY_GATEWAY_CONFIG", "/etc/airworthy/gateway.yaml")
    assert gateway_config_option(settings) == []


def test_secrets_are_drawn_once_and_readable_by_the_owner_only(settings: Settings) -> None:
    first = environment(settings)["AIRFLOW__API_AUTH__JWT_SECRET"]
    assert environment(settings)["AIRFLOW__API_AUTH__JWT_SECRET"] == first
    key = settings.home / "airflow" / "keys" / "jwt"
    assert key.stat().st_mode & 0o077 == 0
    assert len(first) >= 64, "a shorter key is weaker than the signature"
    Fernet(environment(settings)["AIRFLOW__CORE__FERNET_KEY"])
    assert passwords(settings) == {}


def test_airflows_deprecation_in_its_own_code_fills_no_log_and_other_warnings_are_shown(settings: Settings) -> None:
    program = "import warnings; from pathspec.patterns import GitWildMatchPattern as P; P('a/'); warnings.warn('mine')"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(settings), capture_output=True, text=True, check=True
    )
    assert "mine" in done.stderr
    assert "GitWildMatch" not in done.stderr


def test_what_the_stack_writes_is_for_its_owner_alone(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    script = "import pathlib, time; pathlib.Path('written').mkdir(); pathlib.Path('written/f').touch(); time.sleep(600)"
    stack.start(settings, Console(quiet=True), [Component("one", [sys.executable, "-c", script])])
    written = settings.home / "written" / "f"
    deadline = time.monotonic() + 300
    while not written.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700
    drawn = passwords(settings)
    assert len(set(drawn.values())) == len(drawn) >= 4
    assert stat.S_IMODE(passwords_file(settings).stat().st_mode) == 0o600
    stack.stop(settings)
    stack.start(settings, Console(quiet=True), [server("two")])
    assert passwords(settings) == drawn, "a password is drawn once"
    assert all(word not in stack.describe(settings, show_passwords=False) for word in drawn.values())
    assert all(word in stack.describe(settings, show_passwords=True) for word in drawn.values())
    logs = "".join(path.read_text() for path in (settings.home / "logs").iterdir())
    assert not [word for word in drawn.values() if word in logs + capsys.readouterr().out]


def test_mlflow_is_named_by_a_page_that_stays_in_the_mode_for_model_training(settings: Settings) -> None:
    """The page of all models drops what its address says, and opens for language models."""
    assert "/#/experiments?workflowType=machine_learning" in stack.describe(settings, show_passwords=False)
