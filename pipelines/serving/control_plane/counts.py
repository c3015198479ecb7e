"""Sums the counts of all processes per rollout and stage, in a SQLite file that outlives the gateway."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipelines.serving.traffic.counters import BAD_EVENT_BIT, BEYOND_P99_BIT, ArmKey, ArmTally

SCHEMA_VERSION = 1
UNIT_TABLES = ("met", "firsts", "known", "unit_events")
SCHEMA = """
CREATE TABLE IF NOT EXISTS tallies (model TEXT, rollout TEXT, step INTEGER, version TEXT, role TEXT,
    tally BLOB NOT NULL, PRIMARY KEY (model, rollout, step, version, role));
CREATE TABLE IF NOT EXISTS met (model TEXT, rollout TEXT, step INTEGER, version TEXT, role TEXT,
    unit BLOB, PRIMARY KEY (model, rollout, step, version, role, unit)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS firsts (model TEXT, rollout TEXT, event INTEGER, unit BLOB,
    step INTEGER NOT NULL, version TEXT NOT NULL, role TEXT NOT NULL,
    PRIMARY KEY (model, rollout, event, unit)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS known (model TEXT, rollout TEXT, unit BLOB,
    PRIMARY KEY (model, rollout, unit)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unit_events (model TEXT, rollout TEXT, step INTEGER, version TEXT, role TEXT,
    event INTEGER, unit BLOB, PRIMARY KEY (model, rollout, step, version, role, event, unit)) WITHOUT ROWID;
"""
"""``met``: units of each stage and arm, and ``unit_events`` those with each event. ``known``: units of the rollout.
``firsts``: the stage and arm of each unit's first event of a kind in the whole rollout."""


class RolloutCounts:
    """Sums per model, rollout, stage (``step``), version and role in a SQLite file of their own.

    They survive the death of the process. A power failure may lose the last seconds, so they are not in the file of the
    gateway's state.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(SCHEMA)
        rows = self._connection.execute("SELECT model, rollout, step, version, role, tally FROM tallies")
        self._tallies: dict[ArmKey, ArmTally] = {
            _arm_key(*key): msgspec.json.decode(tally, type=ArmTally) for *key, tally in rows
        }
        if self._connection.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_VERSION:
            self._count_units_of_older_gateway()

    def _count_units_of_older_gateway(self) -> None:
        """Fill what an older gateway did not count, from what it stored of the rollouts under way.

        It stored the first event of each unit only, so that a unit's later ones are missing from ``unit_events``.
        """
        self._connection.execute("BEGIN")
        try:
            self._connection.execute("INSERT OR IGNORE INTO known SELECT model, rollout, unit FROM met")
            self._connection.execute(
                "INSERT OR IGNORE INTO unit_events SELECT model, rollout, step, version, role, event, unit FROM firsts"
            )
            for *key, number in self._connection.execute(
                "SELECT model, rollout, step, version, role, COUNT(*) FROM (SELECT model, rollout, unit,"
                " MIN(step) AS step, version, role FROM met GROUP BY model, rollout, unit)"
                " GROUP BY model, rollout, step, version, role"
            ):
                self._tallies[_arm_key(*key)].new_units = number
            for *key, event, number in self._connection.execute(
                "SELECT model, rollout, step, version, role, event, COUNT(*) FROM unit_events"
                " GROUP BY model, rollout, step, version, role, event"
            ):
                self._tallies[_arm_key(*key)].event_units[str(event)] = number
            for key, tally in self._tallies.items():
                self._store_tally(key, tally)
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        finally:
            self._connection.execute("COMMIT")

    def _store_tally(self, key: ArmKey, tally: ArmTally) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO tallies VALUES (?, ?, ?, ?, ?, ?)", (*key, msgspec.json.encode(tally))
        )

    def add(self, reported: list[tuple[ArmKey, ArmTally]]) -> None:
        """Add the counts of one process since its last report."""
        if not reported:
            return
        self._connection.execute("BEGIN")
        try:
            for key, tally in reported:
                total = self._tallies.setdefault(key, ArmTally())
                total.add(tally)
                self._add_units(key, total, tally.units)
                self._store_tally(key, total)
        finally:
            self._connection.execute("COMMIT")

    def _add_units(self, key: ArmKey, total: ArmTally, units: list[tuple[int, int]]) -> None:
        """Store the units and their events, and count those that are new: to the stage, to the rollout, by event."""
        model, rollout, step, version, role = key
        stored = [(unit.to_bytes(8, "big"), events) for unit, events in units]
        total.distinct_units += self._insert_new("met", [(*key, unit) for unit, _ in stored])
        total.new_units += self._insert_new("known", [(model, rollout, unit) for unit, _ in stored])
        with_event: dict[int, list[bytes]] = {}
        for unit, events in stored:
            for event in range(events.bit_length()):
                if events >> event & 1:
                    with_event.setdefault(event, []).append(unit)
        for event, having in with_event.items():
            new = self._insert_new("unit_events", [(*key, event, unit) for unit in having])
            total.event_units[str(event)] = total.event_units.get(str(event), 0) + new
            # A report of an earlier stage may arrive after one of a later stage, from another process.
            self._connection.executemany(
                "INSERT INTO firsts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " step = excluded.step, version = excluded.version, role = excluded.role WHERE excluded.step < step",
                [(model, rollout, event, unit, step, version, role) for unit in having],
            )

    def _insert_new(self, table: str, rows: list[tuple[Any, ...]]) -> int:
        """Insert the rows that the table does not have; returns their number."""
        if not rows:
            return 0
        before = self._connection.total_changes
        places = ", ".join("?" * len(rows[0]))
        insert = f"INSERT OR IGNORE INTO {table} VALUES ({places})"  # noqa: S608 # nosec B608 - a name above
        self._connection.executemany(insert, rows)
        return self._connection.total_changes - before

    def stage_tallies(self, model: str, rollout_id: str, step: int) -> dict[tuple[str, str], ArmTally]:
        """Sums since this stage began, by version and role."""
        return {key[3:]: tally for key, tally in self._tallies.items() if key[:3] == (model, rollout_id, step)}

    def report(self, model: str, rollout_id: str, limits: Sequence[str] = ()) -> list[dict[str, Any]]:
        """One row per stage, version and role, oldest stage first, with the number of distinct units.

        ``bad_units``, ``slow_units`` (by ``limits``) and ``beyond_p99_units``: units whose first failure, or first slow
        answer, in the whole rollout and either arm belongs to this row. ``event_units``: units with each event in this
        stage, by ``bad``, ``beyond_p99`` and the limits.
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
            names = set(ArmTally.__struct_fields__) - {"units", "distinct_units", "event_units"}
            sums = {name: getattr(tally, name) for name in ArmTally.__struct_fields__ if name in names}
            events = {"bad": BAD_EVENT_BIT, "beyond_p99": BEYOND_P99_BIT}
            events |= {limit: position for position, limit in enumerate(limits, start=1)}
            firsts = {name: first_events.get((*key[2:], event), 0) for name, event in events.items()}
            rows.append(
                {"step": step, "version": version, "role": role, **sums, "units": tally.distinct_units}
                | {"bad_units": firsts["bad"], "beyond_p99_units": firsts["beyond_p99"]}
                | {"slow_units": {limit: firsts[limit] for limit in limits}}
                | {"event_units": {name: tally.event_units.get(str(event), 0) for name, event in events.items()}}
            )
        return rows

    def keep_only_rollouts(self, keep: set[tuple[str, str]]) -> None:
        """Delete the counts of all rollouts except ``keep``, pairs of model and rollout id."""
        for model, rollout in {key[:2] for key in self._tallies} - keep:
            for table in ("tallies", *UNIT_TABLES):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE model = ? AND rollout = ?",  # noqa: S608 # nosec B608 - a name above
                    (model, rollout),
                )
            self._tallies = {key: tally for key, tally in self._tallies.items() if key[:2] != (model, rollout)}

    def close(self) -> None:
        self._connection.close()


def _arm_key(model: str, rollout: str, step: int, version: str, role: str) -> ArmKey:
    return model, rollout, step, version, role
