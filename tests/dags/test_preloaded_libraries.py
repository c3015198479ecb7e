from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import preloaded_libraries


def started(monkeypatch: pytest.MonkeyPatch, *command: str, preload: str = "colorsys", executor: str = "") -> bool:
    """Whether the module was imported when an Airflow process of this command line started."""
    monkeypatch.setattr(sys, "argv", ["airflow", *command])
    monkeypatch.setenv("AIRWORTHY_PRELOAD", preload)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor or "LocalExecutor")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    preloaded_libraries.on_starting(component=object())
    return "colorsys" in sys.modules


def test_the_scheduler_imports_before_it_forks_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(monkeypatch, "scheduler")


@pytest.mark.parametrize("command", ["api-server", "dag-processor", "triggerer", "tasks"])
def test_no_other_process_pays_for_it(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    assert not started(monkeypatch, command)


def test_a_scheduler_that_forks_no_workers_does_not_pay_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not started(monkeypatch, "scheduler", executor="CeleryExecutor")


def test_nothing_is_imported_when_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not started(monkeypatch, "scheduler", preload="")


def test_a_library_that_is_not_there_is_told_and_does_not_stop_the_rest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert started(monkeypatch, "scheduler", preload="no_such_library, colorsys")
    assert "no_such_library" in caplog.text


@pytest.mark.parametrize(("image", "imported"), [(None, False), ("step@sha256:1", True)])
def test_the_pod_operator_is_imported_only_where_steps_run_in_pods(
    monkeypatch: pytest.MonkeyPatch, image: str | None, imported: bool
) -> None:
    monkeypatch.delenv("AIRWORTHY_PRELOAD", raising=False)
    monkeypatch.delenv("AIRWORTHY_POD_IMAGE", raising=False)
    if image:
        monkeypatch.setenv("AIRWORTHY_POD_IMAGE", image)
    assert (preloaded_libraries.POD_OPERATOR_MODULE in preloaded_libraries.modules_to_preload()) is imported


def test_what_is_preloaded_starts_no_thread_that_a_fork_would_lose(tmp_path: Path) -> None:
    program = (
        "import threading, preloaded_libraries as p; p.preload(p.modules_to_preload());"
        "print([thread.name for thread in threading.enumerate()])"
    )
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "PYTHONPATH": str(Path(preloaded_libraries.__file__).parent),
        "AIRWORTHY_POD_IMAGE": "some",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['MainThread']"
