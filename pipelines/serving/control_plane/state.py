"""The live versions and rollouts in one SQLite file, synced to disk before a change is acknowledged."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import msgspec

from pipelines.rollout.transitions import RolloutRecord, Route, RoutingTable, check_route

SCHEMA_VERSION = 2
ACTOR: ContextVar[str] = ContextVar("actor", default="gateway")
"""Who asked for the change that is being made; the gateway itself (its guard), where nobody did."""


class KeyReused(Exception):
    """The idempotency key was used before for another request."""


class GenerationMismatch(Exception):
    """The model was changed meanwhile; ``generation`` is its current one."""

    def __init__(self, model: str, expected: int, generation: int) -> None:
        self.generation = generation
        super().__init__(f"{model} is at generation {generation}, not {expected}; read its state and try again")


class GatewayState:
    """Stored routes, rollouts and history. Only one process opens it at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(
            "CREATE TABLE IF NOT EXISTS routes (model TEXT PRIMARY KEY, route BLOB NOT NULL);"
            "CREATE TABLE IF NOT EXISTS generations (number INTEGER PRIMARY KEY, at TEXT NOT NULL, key TEXT NOT NULL,"
            " model TEXT NOT NULL, action TEXT NOT NULL, details BLOB NOT NULL);"
            "CREATE INDEX IF NOT EXISTS generations_of ON generations (model, number);"
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, request BLOB NOT NULL,"
            " generation INTEGER NOT NULL);"
            "CREATE TABLE IF NOT EXISTS rollouts (model TEXT NOT NULL, id TEXT NOT NULL, record BLOB NOT NULL,"
            " PRIMARY KEY (model, id));"
        )
        self._migrate()

    def _migrate(self) -> None:
        """Add the column for answers that schema 1 lacks; its routes decode as routes without a rollout."""
        (schema,) = self._connection.execute("PRAGMA user_version").fetchone()
        columns = {row[1] for row in self._connection.execute("PRAGMA table_info(answers)")}
        if "answer" not in columns:
            self._connection.execute("ALTER TABLE answers ADD COLUMN answer BLOB")
        if schema < SCHEMA_VERSION:
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def table(self) -> RoutingTable:
        """The newest routing table."""
        rows = self._connection.execute("SELECT model, route FROM routes ORDER BY model").fetchall()
        routes = {model: msgspec.json.decode(route, type=Route) for model, route in rows}
        return RoutingTable(generation=self.generation(), routes=routes)

    def generation(self, model: str | None = None) -> int:
        """Number of the last change, of one model or of any; 0 before the first."""
        (number,) = self._connection.execute(
            "SELECT COALESCE(MAX(number), 0) FROM generations WHERE ?1 IS NULL OR model = ?1", (model,)
        ).fetchone()
        return int(number)

    def find_generation(self, key: str, request: dict[str, Any]) -> int | None:
        """Generation that this key's request led to; None for a new key. ``KeyReused`` if the request differs."""
        row = self._connection.execute("SELECT request, generation FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if msgspec.json.decode(row[0]) != msgspec.json.decode(msgspec.json.encode(request)):
            raise KeyReused(f"idempotency key {key!r} was used for {row[0].decode()}; take a new key")
        return int(row[1])

    def stored_answer(self, key: str) -> dict[str, Any] | None:
        """The answer that this key's request got; None if none is stored."""
        row = self._connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None or row[0] is None else msgspec.json.decode(row[0], type=dict[str, Any])

    def record_unchanged(self, key: str, request: dict[str, Any], answer: dict[str, Any] | None = None) -> int:
        """Store a request that changed nothing, so that a repeat gets the same answer."""
        generation = self.generation()
        self._store_answer(key, request, generation, answer)
        return generation

    def _store_answer(self, key: str, request: dict[str, Any], generation: int, answer: dict[str, Any] | None) -> None:
        self._connection.execute(
            "INSERT INTO answers (key, request, generation, answer) VALUES (?, ?, ?, ?)",
            (key, msgspec.json.encode(request), generation, None if answer is None else msgspec.json.encode(answer)),
        )

    def change(
        self,
        model: str,
        route: Route,
        *,
        key: str,
        request: dict[str, Any],
        action: str,
        at: str,
        expect: int | None = None,
        answer: dict[str, Any] | None = None,
        new_generation: bool = True,
        superseded: RolloutRecord | None = None,
        remarks: Mapping[str, Any] | None = None,
    ) -> RoutingTable:
        """Write one route with its rollout, its key and its history entry in one transaction; returns the new table.

        ``expect``: the generation of the model that the caller has read; ``GenerationMismatch`` if it has another one.
        ``answer`` is stored for repeats of ``key``, with its generation filled in. ``new_generation=False`` keeps the
        generation, for changes that workers need not get. ``superseded``: the final record of the rollout that this
        change replaces. The history entry has the request, ``remarks`` and who asked (``ACTOR``).
        """
        check_route(route)
        entry = {**request, **(remarks or {}), "actor": ACTOR.get()}
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            current = self.generation(model)
            if expect is not None and expect != current:
                raise GenerationMismatch(model, expect, current)
            number = self.generation() + 1 if new_generation else current
            self._connection.execute(
                "INSERT INTO routes VALUES (?, ?) ON CONFLICT (model) DO UPDATE SET route = excluded.route",
                (model, msgspec.json.encode(route)),
            )
            for record in (superseded, route.rollout):
                if record is not None:
                    self._store_rollout(model, record)
            if new_generation:
                self._connection.execute(
                    "INSERT INTO generations VALUES (?, ?, ?, ?, ?, ?)",
                    (number, at, key, model, action, msgspec.json.encode(entry)),
                )
            self._store_answer(key, request, number, None if answer is None else answer | {"generation": number})
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        return self.table()

    def _store_rollout(self, model: str, record: RolloutRecord) -> None:
        self._connection.execute(
            "INSERT INTO rollouts VALUES (?, ?, ?) ON CONFLICT (model, id) DO UPDATE SET record = excluded.record",
            (model, record.rollout_id, msgspec.json.encode(record)),
        )

    def rollout(self, model: str, rollout_id: str) -> RolloutRecord | None:
        """The record of an active or ended rollout; None if there is none."""
        row = self._connection.execute(
            "SELECT record FROM rollouts WHERE id = ? AND model = ?", (rollout_id, model)
        ).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=RolloutRecord)

    def history(self, model: str | None = None) -> list[dict[str, Any]]:
        """Every change of a route, oldest first."""
        rows = self._connection.execute(
            "SELECT number, at, key, model, action, details FROM generations"
            " WHERE ?1 IS NULL OR model = ?1 ORDER BY number",
            (model,),
        ).fetchall()
        names = ("generation", "at", "key", "model", "action", "request")
        return [dict(zip(names, (*row[:5], msgspec.json.decode(row[5])), strict=True)) for row in rows]

    def close(self) -> None:
        self._connection.close()
