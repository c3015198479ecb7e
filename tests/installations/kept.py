"""The kept installation is unpacked where a test wants it, as if it had been stopped there a moment ago."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.adapters.store.store_format import FOLDERS

FOLDER = Path(__file__).parent
ARCHIVE = FOLDER / "before_0_2.tar.xz"
TEXTS = FOLDER / "before_0_2"
"""What the same code wrote elsewhere than in that installation, and what names were in use."""
DATABASES = ("airflow/airflow.db", "gateway/state.db", "mlflow/mlflow.db")
"""Those that name files of the installation. The ledger does, too, but nobody opens a file by it."""
LEASE = timedelta(hours=12)


def read(name: str) -> Any:
    """One of the texts."""
    return json.loads((TEXTS / name).read_text(encoding="utf-8"))


def move_store(store: Path, dataset: str = "flights") -> None:
    """Move the folders of a store that does not name its dataset, as its refusal says."""
    for folder in FOLDERS:
        for source in sorted((store / folder).iterdir()):
            source.rename(source.with_name(f"{dataset}.{source.name}"))
    landed = sorted((store / "landing").iterdir())
    (store / "landing" / dataset).mkdir(exist_ok=True)
    for source in landed:
        source.rename(store / "landing" / dataset / source.name)


@dataclass
class KeptInstallation:
    """The home of an installation that was stopped in flight. ``facts``: where it stood, as it was told then."""

    home: Path
    facts: dict[str, Any]

    @classmethod
    def unpack(cls, home: Path) -> KeptInstallation:
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(home, filter="data")
        kept = cls(home, read("in_flight.json"))
        for database in DATABASES:
            kept.move(home / database)
        kept.renew_lease()
        move_store(home / "store")
        return kept

    def move(self, database: Path) -> None:
        """Let a database name the files where they lie now."""
        before, now = f"{self.facts['home']}/", f"{self.home}/"
        with closing(sqlite3.connect(database)) as connection, connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                for column in [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]:
                    moved = f'replace(CAST("{column}" AS TEXT), ?1, ?2)'
                    connection.execute(
                        f'UPDATE "{table}" SET "{column}" = CASE typeof("{column}")'
                        f" WHEN 'blob' THEN CAST({moved} AS BLOB) ELSE {moved} END"
                        f' WHERE instr(CAST("{column}" AS TEXT), ?1)',
                        (before, now),
                    )

    def renew_lease(self) -> None:
        """Put off the moment at which the gateway takes the candidate back, which has passed since.

        The lease is at most a day. It is the one thing that is changed beside the place of files: the gateway itself
        wrote this field last, when the deploy run renewed the lease.
        """
        until = (datetime.now(UTC) + LEASE).isoformat()
        with closing(sqlite3.connect(self.home / "gateway" / "state.db")) as connection, connection:
            for model, text in connection.execute("SELECT model, route FROM routes").fetchall():
                route = json.loads(text)
                route["rollout"]["lease_until"] = until
                connection.execute("UPDATE routes SET route = ? WHERE model = ?", (json.dumps(route).encode(), model))
