"""Gateways for tests; every process that was started is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.gateway_process import Gateway, write_bundle


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    started: list[Gateway] = []

    def start(**how: object) -> Gateway:
        gateway = Gateway(tmp_path / f"gateway{len(started)}", **how)  # type: ignore[arg-type]
        started.append(gateway)
        return gateway.start()

    yield start
    for gateway in started:
        gateway.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway with version 1 of flight_delay live, shared by a module's tests that only ask."""
    folder = tmp_path_factory.mktemp("gateway")
    running = Gateway(folder).start()
    assert running.release("1", write_bundle(folder / "bundles", "1")).status_code == 200, running.log
    yield running
    running.stop()
