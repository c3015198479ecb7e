"""Sums the counts of all processes per rollout and stage, in a SQLite file that outlives the gateway."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipelines.serving.traffic.counters import ArmKey, ArmTally


class RolloutCounts:
    """Sums per model, rollout, stage (``step``), version and role in a SQLite file of their own.

    They survive the death of the process. A power failure may lose the last seconds, so they are not in the file of the
    gateway's state.
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
        self._tallies: dict[ArmKey, ArmTally] = {
            (row[0], row[1], row[2], row[3], row[4]): msgspec.json.decode(row[5], type=ArmTally) for row in rows
        }

    def add(self, reported: list[tuple[ArmKey, ArmTally]]) -> None:
        """Add the counts of one process since its last report."""
        if not reported:
            return
        self._connection.execute("BEGIN")
        try:
            for key, tally in reported:
                total = self._tallies.setdefault(key, ArmTally())
                total.add(tally)
                total.distinct_units += self._add_units(key, tally.units)
                self._connection.execute(
                    "INSERT OR REPLACE INTO tallies VALUES (?, ?, ?, ?, ?, ?)", (*key, msgspec.json.encode(total))
                )
        finally:
            self._connection.execute("COMMIT")

    def _add_units(self, key: ArmKey, units: list[tuple[int, int]]) -> int:
        """Store the units, and the first stage of each event of each unit; returns the number of new units."""
        model, rollout, step, version, role = key
        changes_before = self._connection.total_changes
        self._connection.executemany(
            "INSERT OR IGNORE INTO met VALUES (?, ?, ?, ?, ?, ?)",
            [(*key, unit.to_bytes(8, "big")) for unit, _ in units],
        )
        new = self._connection.total_changes - changes_before
        # A report of an earlier stage may arrive after one of a later stage, from another process.
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

    def stage_tallies(self, model: str, rollout_id: str, step: int) -> dict[tuple[str, str], ArmTally]:
        """Sums since this stage began, by version and role."""
        return {key[3:]: tally for key, tally in self._tallies.items() if key[:3] == (model, rollout_id, step)}

    def report(self, model: str, rollout_id: str, limits: Sequence[str] = ()) -> list[dict[str, Any]]:
        """One row per stage, version and role, oldest stage first, with the number of distinct units.

        ``bad_units`` and ``slow_units`` (by ``limits``): units whose first failure, or first slow answer, in the whole
        rollout and either arm belongs to this row.
        """
        first_events: dict[tuple[Any, ...], int] = {
            tuple(row): count
            for *row, count in self._connection.execute(
                "SELECT step, version, role, event, COUNT(*) FROM firsts WHERE model = ? AND rollout = ?"
                " GROUP BY step, version, role, event",
                (model, rollout_id),
            )
        }
        rows = []
        for key in sorted(key for key in self._tallies if key[:2] == (model, rollout_id)):
            tally, (step, version, role) = self._tallies[key], key[2:]
            names = set(ArmTally.__struct_fields__) - {"units", "distinct_units"}
            slow = {limit: first_events.get((*key[2:], position), 0) for position, limit in enumerate(limits, start=1)}
            bad = first_events.get((*key[2:], 0), 0)
            sums = {name: getattr(tally, name) for name in ArmTally.__struct_fields__ if name in names}
            rows.append(
                {"step": step, "version": version, "role": role, **sums, "units": tally.distinct_units}
                | {"bad_units": bad, "slow_units": slow}
            )
        return rows

    def keep_only_rollouts(self, keep: set[tuple[str, str]]) -> None:
        """Delete the counts of all rollouts except ``keep``, pairs of model and rollout id."""
        for model, rollout in {key[:2] for key in self._tallies} - keep:
            for table in ("tallies", "met", "firsts"):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE model = ? AND rollout = ?",  # noqa: S608 - one of three names
                    (model, rollout),
                )
            self._tallies = {key: tally for key, tally in self._tallies.items() if key[:2] != (model, rollout)}

    def close(self) -> None:
        self._connection.close()
