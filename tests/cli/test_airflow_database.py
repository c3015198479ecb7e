"""Airflow's database is migrated when it may be needed, and not again by the same packages."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipelines.cli import airflow_database
from pipelines.cli.airflow_database import database_file, migrate, record_file
from pipelines.errors import Unavailable
from pipelines.settings import Settings

PROGRAM = """#!{python}
import pathlib, sqlite3, sys
assert sys.argv[1:] == ["db", "migrate"]
with pathlib.Path({runs!r}).open("a") as runs:
    runs.write("run\\n")
pathlib.Path({database!r}).parent.mkdir(exist_ok=True)
connection = sqlite3.connect({database!r})
connection.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
connection.execute("DELETE FROM alembic_version")
connection.execute("INSERT INTO alembic_version VALUES ('newest')")
connection.commit()
sys.exit({status})
"""


@dataclass
class Started:
    """A home in which a program that counts its runs stands for ``airflow``."""

    settings: Settings
    folder: Path
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def program(self, status: int = 0) -> Path:
        path = self.folder / "airflow-program"
        path.write_text(
            PROGRAM.format(
                python=sys.executable, runs=str(self.runs), database=str(database_file(self.settings)), status=status
            )
        )
        path.chmod(0o700)
        return path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def start(self) -> int:
        """Number of migrations so far, after another start."""
        migrate(self.settings, self.env, self.folder)
        return len(self.runs.read_text().splitlines())

    def set_revision(self, revision: str) -> None:
        with closing(sqlite3.connect(database_file(self.settings))) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    settings = Settings.from_environment({"AIRWORTHY_HOME": str(tmp_path / "home")})
    record_file(settings).parent.mkdir(parents=True)
    made = Started(settings, tmp_path)
    program = str(made.program())
    monkeypatch.setattr(airflow_database, "program_path", lambda name: program)
    return made


def test_the_same_packages_migrate_a_database_once(started: Started) -> None:
    assert [started.start() for _ in range(3)] == [1, 1, 1]


def without_database(started: Started) -> None:
    database_file(started.settings).unlink()


def with_an_older_database(started: Started) -> None:
    started.set_revision("older")


def with_another_log_in(started: Started) -> None:
    started.env["AIRFLOW__CORE__AUTH_MANAGER"] = "people.fab.NamedApprovers"


def with_other_packages(started: Started) -> None:
    record = record_file(started.settings)
    record.write_text(record.read_text().replace("apache_airflow_core-", "apache_airflow_core-0."))


def with_half_a_record(started: Started) -> None:
    record = record_file(started.settings)
    record.write_text(record.read_text()[:40])


@pytest.mark.parametrize(
    "changed", [without_database, with_an_older_database, with_another_log_in, with_other_packages, with_half_a_record]
)
def test_what_may_need_a_migration_is_migrated_and_then_once(
    started: Started, changed: Callable[[Started], None]
) -> None:
    started.start()
    changed(started)
    assert [started.start(), started.start()] == [2, 2]


def test_a_migration_that_failed_is_tried_again_at_the_next_start(started: Started) -> None:
    started.start()
    started.set_revision("older")
    started.program(status=1)
    with pytest.raises(Unavailable, match=r"`airflow db migrate` ended with 1; read .*airflow-migrate\.log"):
        started.start()
    started.program()
    assert [started.start(), started.start()] == [3, 3]
