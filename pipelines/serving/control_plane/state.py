"""The live versions and rollouts in one SQLite file, synced to disk before a change is acknowledged."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from pipelines.rollout.transitions import RolloutRecord, Route, RoutingTable, check

SCHEMA = 2


class KeyReused(Exception):
    """The idempotency key came before, with another request."""


class GenerationMismatch(Exception):
    """Somebody else changed the model in between; ``generation`` is what it has now."""

    def __init__(self, model: str, expected: int, generation: int) -> None:
        self.generation = generation
        super().__init__(f"{model} is at generation {generation}, not {expected}; read its state and decide anew")


class GatewayState:
    """The truth about live versions. One process opens it at a time."""

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
        """Schema 1 had no stored answers; its routes read as routes without a rollout."""
        (schema,) = self._connection.execute("PRAGMA user_version").fetchone()
        columns = {row[1] for row in self._connection.execute("PRAGMA table_info(answers)")}
        if "answer" not in columns:
            self._connection.execute("ALTER TABLE answers ADD COLUMN answer BLOB")
        if schema < SCHEMA:
            self._connection.execute(f"PRAGMA user_version = {SCHEMA}")

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

    def answered(self, key: str, request: dict[str, Any]) -> int | None:
        """Generation that this key's request led to; None if it is new. ``KeyReused`` if it meant something else."""
        row = self._connection.execute("SELECT request, generation FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if msgspec.json.decode(row[0]) != msgspec.json.decode(msgspec.json.encode(request)):
            raise KeyReused(f"idempotency key {key!r} was used for {row[0].decode()}; take a new key")
        return int(row[1])

    def stored(self, key: str) -> dict[str, Any] | None:
        """The very answer that this key's request got; None if none was kept."""
        row = self._connection.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None or row[0] is None else msgspec.json.decode(row[0], type=dict[str, Any])

    def remember(self, key: str, request: dict[str, Any], answer: dict[str, Any] | None = None) -> int:
        """Note a request that changed nothing, so that its repeat is answered alike."""
        generation = self.generation()
        self._answer(key, request, generation, answer)
        return generation

    def _answer(self, key: str, request: dict[str, Any], generation: int, answer: dict[str, Any] | None) -> None:
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
        generation: bool = True,
        ended: RolloutRecord | None = None,
    ) -> RoutingTable:
        """Replace one row in one transaction with its rollout, its key and its line of history.

        ``expect``: the model's generation that the change was decided on; ``GenerationMismatch`` if it has another one.
        ``answer`` is kept for repeats of ``key``, with its generation filled in. ``generation=False`` changes the row
        without a new generation, for what workers need not hear of. ``ended``: the last word on a rollout that this
        change takes the place of. Returns the new table.
        """
        check(route)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            current = self.generation(model)
            if expect is not None and expect != current:
                raise GenerationMismatch(model, expect, current)
            number = self.generation() + 1 if generation else current
            self._connection.execute(
                "INSERT INTO routes VALUES (?, ?) ON CONFLICT (model) DO UPDATE SET route = excluded.route",
                (model, msgspec.json.encode(route)),
            )
            for record in (ended, route.rollout):
                if record is not None:
                    self._keep(model, record)
            if generation:
                self._connection.execute(
                    "INSERT INTO generations VALUES (?, ?, ?, ?, ?, ?)",
                    (number, at, key, model, action, msgspec.json.encode(request)),
                )
            self._answer(key, request, number, None if answer is None else answer | {"generation": number})
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        return self.table()

    def _keep(self, model: str, record: RolloutRecord) -> None:
        self._connection.execute(
            "INSERT INTO rollouts VALUES (?, ?, ?) ON CONFLICT (model, id) DO UPDATE SET record = excluded.record",
            (model, record.rollout_id, msgspec.json.encode(record)),
        )

    def rollout(self, model: str, rollout_id: str) -> RolloutRecord | None:
        """The record of any rollout there ever was."""
        row = self._connection.execute(
            "SELECT record FROM rollouts WHERE id = ? AND model = ?", (rollout_id, model)
        ).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=RolloutRecord)

    def history(self, model: str | None = None) -> list[dict[str, Any]]:
        """Every change of what is live, oldest first."""
        rows = self._connection.execute(
            "SELECT number, at, key, model, action, details FROM generations"
            " WHERE ?1 IS NULL OR model = ?1 ORDER BY number",
            (model,),
        ).fetchall()
        names = ("generation", "at", "key", "model", "action", "request")
        return [dict(zip(names, (*row[:5], msgspec.json.decode(row[5])), strict=True)) for row in rows]

    def close(self) -> None:
        self._connection.close()
