"""The stack of a test runs at its own speed, on a copy of a database that is migrated once for all of them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.cli.airflow_database import migrate, record_file
from pipelines.cli.components import environment
from pipelines.settings import Settings


@pytest.fixture(scope="module", autouse=True)
def unmeasured() -> Iterator[None]:
    """Measuring coverage in all of Airflow's processes costs half of their speed; other tests cover the same."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Settings:
    """An installation that was never started, with Airflow's database as a first start makes it.

    All workers share it: who comes first makes it, the others wait for the lock.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(shared / "migrated")})
    with (shared / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record_file(settings).exists():
            logs = Path(settings.home) / "logs"
            logs.mkdir(parents=True)
            migrate(settings, environment(settings), logs)
    return settings
