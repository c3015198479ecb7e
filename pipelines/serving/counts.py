"""Counts since a step began are summed over all processes, dead ones included, and outlive the gateway's own death."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from pipelines.serving.tally import Key, Tally


class Counts:
    """Sums per model, rollout, step, version and role in a file of their own.

    They survive the death of the process; a power failure may take the last seconds of them, which is why they do not
    lie in the file of the state.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(
            "CREATE TABLE IF NOT EXISTS tallies (model TEXT, rollout TEXT, step INTEGER, version TEXT, role TEXT,"
            " tally BLOB NOT NULL, PRIMARY KEY (model, rollout, step, version, role));"
            "CREATE TABLE IF NOT EXISTS units (model TEXT, rollout TEXT, step INTEGER, version TEXT, role TEXT,"
            " unit BLOB, bad INTEGER NOT NULL, PRIMARY KEY (model, rollout, step, version, role, unit)) WITHOUT ROWID;"
        )
        rows = self._connection.execute("SELECT model, rollout, step, version, role, tally FROM tallies")
        self._sums: dict[Key, Tally] = {
            (row[0], row[1], row[2], row[3], row[4]): msgspec.json.decode(row[5], type=Tally) for row in rows
        }

    def add(self, reported: list[tuple[Key, Tally]]) -> None:
        """Take over what a process counted since its last report."""
        if not reported:
            return
        self._connection.execute("BEGIN")
        try:
            for key, tally in reported:
                self._sums.setdefault(key, Tally()).add(tally)
                self._connection.execute(
                    "INSERT OR REPLACE INTO tallies VALUES (?, ?, ?, ?, ?, ?)",
                    (*key, msgspec.json.encode(self._sums[key])),
                )
                self._connection.executemany(
                    "INSERT INTO units VALUES (?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET bad = MAX(bad, excluded.bad)",
                    [(*key, unit.to_bytes(8, "big"), int(bad)) for unit, bad in tally.units],
                )
        finally:
            self._connection.execute("COMMIT")

    def of(self, model: str, rollout_id: str, step: int) -> dict[tuple[str, str], Tally]:
        """Sums since this step began, by version and role."""
        return {key[3:]: tally for key, tally in self._sums.items() if key[:3] == (model, rollout_id, step)}

    def report(self, model: str, rollout_id: str, step: int) -> list[dict[str, Any]]:
        """One row per version and role, with the distinct units that met it and those that met a bad event."""
        rows = []
        for (version, role), tally in sorted(self.of(model, rollout_id, step).items()):
            units, bad = self._connection.execute(
                "SELECT COUNT(*), COALESCE(SUM(bad), 0) FROM units"
                " WHERE model = ? AND rollout = ? AND step = ? AND version = ? AND role = ?",
                (model, rollout_id, step, version, role),
            ).fetchone()
            found = {name: getattr(tally, name) for name in Tally.__struct_fields__ if name != "units"}
            rows.append({"version": version, "role": role, **found, "units": units, "bad_units": bad})
        return rows

    def forget(self, keep: set[tuple[str, str]]) -> None:
        """Drop the counts of all rollouts but these (model, rollout id)."""
        for model, rollout in {key[:2] for key in self._sums} - keep:
            for table in ("tallies", "units"):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE model = ? AND rollout = ?",  # noqa: S608 - one of two names
                    (model, rollout),
                )
            self._sums = {key: tally for key, tally in self._sums.items() if key[:2] != (model, rollout)}

    def close(self) -> None:
        self._connection.close()
