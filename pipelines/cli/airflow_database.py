"""The embedded Airflow's database is migrated before Airflow starts, but not twice by the same packages.

`airflow db migrate` takes four seconds of processor time, even where nothing is left to migrate.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from pipelines.cli.components import program_path
from pipelines.errors import Unavailable
from pipelines.settings import Settings


def database_file(settings: Settings) -> Path:
    return settings.home / "airflow" / "airflow.db"


def record_file(settings: Settings) -> Path:
    """What the database was last migrated by, and how far."""
    return settings.home / "run" / "airflow_database.json"


def migrate(settings: Settings, env: Mapping[str, str], logs: Path) -> None:
    """Migrate the database, unless the record says that these packages did. ``Unavailable`` if Airflow fails.

    A database that is new, restored from a backup or replaced has another revision than the record, and is migrated.
    """
    record = record_file(settings)
    if database_file(settings).exists() and _read(record) == _migration(settings, env):
        return
    record.unlink(missing_ok=True)
    with (logs / "airflow-migrate.log").open("ab") as log:
        command = [program_path("airflow"), "db", "migrate"]
        done = subprocess.run(command, env=dict(env), stdout=log, stderr=log, check=False, umask=0o077)
    if done.returncode:
        raise Unavailable(f"`airflow db migrate` ended with {done.returncode}; read {log.name}")
    record.write_text(json.dumps(_migration(settings, env)))


def _migration(settings: Settings, env: Mapping[str, str]) -> dict[str, Any]:
    """Airflow's packages with their versions, what asks for tables of its own, and the database's revision."""
    packages = Path(str(distribution("apache-airflow-core").locate_file("")))
    return {
        "packages": sorted(folder.name for folder in packages.glob("apache_airflow*.dist-info")),
        "auth_manager": env.get("AIRFLOW__CORE__AUTH_MANAGER"),
        "revision": _revision(database_file(settings)),
    }


def _revision(database: Path) -> str | None:
    """The revision that Alembic wrote into the database; None if it has none."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None
    return None


def _read(record: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        content = json.loads(record.read_text())
        return content if isinstance(content, dict) and content.get("revision") else None
    return None
