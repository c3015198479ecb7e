"""Tests run steps in their own process, which is set up as an entry point sets it up, and trust one authority."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import certifi
import pytest
from hypothesis import HealthCheck, settings

from pipelines.settings import let_waiting_threads_sleep

let_waiting_threads_sleep()
# How long an example takes says how busy the machine is.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
END = "-----END CERTIFICATE-----\n"
LONGEST = ("tests/steps/training/test_distributed.py", "tests/steps/test_train_model.py")
"""Files of more than a minute of CPU: the last worker to end should not have begun one late."""


def pytest_configure(config: pytest.Config) -> None:
    """httpx reads all trusted authorities for every client, 30 ms of CPU; tests reach no host that one vouches for."""
    if hasattr(config, "workerinput"):
        return  # set by the process that started this worker
    folder = tempfile.TemporaryDirectory(prefix="airworthy-tests-")
    config.add_cleanup(folder.cleanup)
    authority = Path(folder.name) / "authority.pem"
    authority.write_text(certifi.contents().partition(END)[0] + END)
    os.environ["SSL_CERT_FILE"] = str(authority)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are named by their length: packed ones hold the time of day, and workers must collect the same names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Spread the files of stacks, which wait half of their time, among those that compute meanwhile; see ``unit``."""
    if not hasattr(config, "workerinput"):
        return
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.location[0], []).append(item)
    stacks = [name for name, tests in files.items() if tests[0].get_closest_marker("e2e")]
    order = sorted((name for name in files if name not in stacks), key=lambda name: name not in LONGEST)
    apart = len(order) // (len(stacks) + 1)
    for number, name in enumerate(stacks):
        order.insert(number * (apart + 1), name)
    items[:] = [item for name in order for item in files[name]]
