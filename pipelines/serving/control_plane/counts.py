"""Sums what all processes reported per rollout and step, in a SQLite file that outlives the gateway."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipelines.serving.traffic.counters import ArmTally, Key


class RolloutCounts:
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
            "CREATE TABLE IF NOT EXISTS met (model TEXT, rollout TEXT, step INTEGER, version TEXT, role TEXT,"
            " unit BLOB, PRIMARY KEY (model, rollout, step, version, role, unit)) WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS firsts (model TEXT, rollout TEXT, event INTEGER, unit BLOB,"
            " step INTEGER NOT NULL, version TEXT NOT NULL, role TEXT NOT NULL,"
            " PRIMARY KEY (model, rollout, event, unit)) WITHOUT ROWID;"
        )
        rows = self._connection.execute("SELECT model, rollout, step, version, role, tally FROM tallies")
        self._sums: dict[Key, ArmTally] = {
            (row[0], row[1], row[2], row[3], row[4]): msgspec.json.decode(row[5], type=ArmTally) for row in rows
        }

    def add(self, reported: list[tuple[Key, ArmTally]]) -> None:
        """Take over what a process counted since its last report."""
        if not reported:
            return
        self._connection.execute("BEGIN")
        try:
            for key, tally in reported:
                total = self._sums.setdefault(key, ArmTally())
                total.add(tally)
                total.met += self._meet(key, tally.units)
                self._connection.execute(
                    "INSERT OR REPLACE INTO tallies VALUES (?, ?, ?, ?, ?, ?)", (*key, msgspec.json.encode(total))
                )
        finally:
            self._connection.execute("COMMIT")

    def _meet(self, key: Key, units: list[tuple[int, int]]) -> int:
        """Note the units, and of each event the first step it met each of them in; returns how many units are new."""
        model, rollout, step, version, role = key
        before = self._connection.total_changes
        self._connection.executemany(
            "INSERT OR IGNORE INTO met VALUES (?, ?, ?, ?, ?, ?)",
            [(*key, unit.to_bytes(8, "big")) for unit, _ in units],
        )
        new = self._connection.total_changes - before
        # Reports of an earlier step may come after those of a later one, from another process.
        self._connection.executemany(
            "INSERT INTO firsts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " step = excluded.step, version = excluded.version, role = excluded.role WHERE excluded.step < step",
            [
                (model, rollout, event, unit.to_bytes(8, "big"), step, version, role)
                for unit, events in units
                for event in range(events.bit_length())
                if events >> event & 1
            ],
        )
        return new

    def of(self, model: str, rollout_id: str, step: int) -> dict[tuple[str, str], ArmTally]:
        """Sums since this step began, by version and role."""
        return {key[3:]: tally for key, tally in self._sums.items() if key[:3] == (model, rollout_id, step)}

    def report(self, model: str, rollout_id: str, limits: Sequence[str] = ()) -> list[dict[str, Any]]:
        """One row per step, version and role, oldest step first, with the distinct units that met it.

        ``bad_units`` and ``slow_units`` (by ``limits``): units whose first such event of the whole rollout, in either
        arm, was here.
        """
        firsts: dict[tuple[Any, ...], int] = {
            tuple(row): count
            for *row, count in self._connection.execute(
                "SELECT step, version, role, event, COUNT(*) FROM firsts WHERE model = ? AND rollout = ?"
                " GROUP BY step, version, role, event",
                (model, rollout_id),
            )
        }
        rows = []
        for key in sorted(key for key in self._sums if key[:2] == (model, rollout_id)):
            tally, (step, version, role) = self._sums[key], key[2:]
            sums = {name: getattr(tally, name) for name in ArmTally.__struct_fields__ if name not in ("units", "met")}
            slow = {limit: firsts.get((*key[2:], place), 0) for place, limit in enumerate(limits, start=1)}
            bad = firsts.get((*key[2:], 0), 0)
            rows.append(
                {"step": step, "version": version, "role": role, **sums, "units": tally.met}
                | {"bad_units": bad, "slow_units": slow}
            )
        return rows

    def forget(self, keep: set[tuple[str, str]]) -> None:
        """Drop the counts of all rollouts but these (model, rollout id)."""
        for model, rollout in {key[:2] for key in self._sums} - keep:
            for table in ("tallies", "met", "firsts"):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE model = ? AND rollout = ?",  # noqa: S608 - one of three names
                    (model, rollout),
                )
            self._sums = {key: tally for key, tally in self._sums.items() if key[:2] != (model, rollout)}

    def close(self) -> None:
        self._connection.close()
