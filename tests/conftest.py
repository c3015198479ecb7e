"""Tests run steps in their own process, which is set up as an entry point sets it up, and trust one authority."""

from __future__ import annotations

import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

import certifi
import pytest
from hypothesis import HealthCheck, settings

from pipelines.settings import let_waiting_threads_sleep
from tests.mlflow_database import SHARED_FOLDER
from tests.shared_rewriting import rewrite_share

let_waiting_threads_sleep()
# How long an example takes says how busy the machine is.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
END = "-----END CERTIFICATE-----\n"
LONGEST = ("tests/steps/training/test_distributed.py", "tests/steps/test_train_model.py")
"""Files of more than a minute of CPU: the last worker to end should not have begun one late."""
LONGEST_STACKS = ("e2e/test_rollout.py", "e2e/test_stack.py", "e2e/test_model_life.py")
"""Files of stacks that take minutes, the longest first."""


def pytest_configure(config: pytest.Config) -> None:
    """httpx reads all trusted authorities for every client, 30 ms of CPU; tests reach no host that one vouches for."""
    if hasattr(config, "workerinput"):
        begin_as_worker(config, config.workerinput)
        return  # the rest is set by the process that started this worker
    folder = tempfile.TemporaryDirectory(prefix="airworthy-tests-")
    config.add_cleanup(folder.cleanup)
    authority = Path(folder.name) / "authority.pem"
    authority.write_text(certifi.contents().partition(END)[0] + END)
    os.environ["SSL_CERT_FILE"] = str(authority)
    os.environ[SHARED_FOLDER] = folder.name


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist calls it for each worker, which is handed the arguments and not where they are from."""
    node.workerinput["runs_all_tests"] = node.config.args_source == pytest.Config.ArgsSource.TESTPATHS


def begin_as_worker(config: pytest.Config, given: dict[str, Any]) -> None:
    """Do before the first import what costs more afterwards, or what every worker would do again."""
    if given["runs_all_tests"]:
        files = sorted(Path(__file__).parent.rglob("test_*.py"))
        rewrite_share(config, files, int(given["workerid"].removeprefix("gw")), given["workercount"])
        importlib.import_module("skops.io")  # searches every loaded module: 1 s now, 6 s among those of all tests


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are named by their length: packed ones hold the time of day, and workers must collect the same names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Spread the files of stacks, which wait half of their time, among those that compute meanwhile; see ``unit``.

    The longest come first, and the last quarter of the files has none, so that no worker is left alone with one.
    """
    if not hasattr(config, "workerinput"):
        return
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.location[0], []).append(item)
    stacks = [name for name, tests in files.items() if tests[0].get_closest_marker("e2e")]
    stacks.sort(key=lambda name: next((n for n, end in enumerate(LONGEST_STACKS) if name.endswith(end)), len(stacks)))
    order = sorted((name for name in files if name not in stacks), key=lambda name: name not in LONGEST)
    apart = 3 * len(order) // (4 * len(stacks) + 1)
    for number, name in enumerate(stacks):
        order.insert(number * (apart + 1), name)
    items[:] = [item for name in order for item in files[name]]
