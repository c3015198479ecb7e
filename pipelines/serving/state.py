"""What is live survives any crash: one SQLite file, written ahead and synced before a release is acknowledged."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec


class Served(msgspec.Struct, frozen=True):
    """One version and the bundle it is served from."""

    version: str
    bundle: str
    sha256: str


class Route(msgspec.Struct, frozen=True):
    """What one model serves: the live version and the one to put back."""

    live: Served
    previous: Served | None = None


class RoutingTable(msgspec.Struct, frozen=True):
    """All routes of one generation. Never changed, only replaced."""

    generation: int = 0
    routes: dict[str, Route] = {}


class KeyReused(Exception):
    """The idempotency key came before, with another request."""


class State:
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
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, request BLOB NOT NULL,"
            " generation INTEGER NOT NULL);"
        )

    def table(self) -> RoutingTable:
        """The newest routing table."""
        rows = self._connection.execute("SELECT model, route FROM routes ORDER BY model").fetchall()
        routes = {model: msgspec.json.decode(route, type=Route) for model, route in rows}
        return RoutingTable(generation=self.generation(), routes=routes)

    def generation(self) -> int:
        (number,) = self._connection.execute("SELECT COALESCE(MAX(number), 0) FROM generations").fetchone()
        return int(number)

    def answered(self, key: str, request: dict[str, Any]) -> int | None:
        """Generation that this key's request led to; None if it is new. ``KeyReused`` if it meant something else."""
        row = self._connection.execute("SELECT request, generation FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if msgspec.json.decode(row[0]) != request:
            raise KeyReused(f"idempotency key {key!r} was used for {row[0].decode()}; take a new key")
        return int(row[1])

    def remember(self, key: str, request: dict[str, Any]) -> int:
        """Note a request that changed nothing, so that its repeat is answered alike."""
        generation = self.generation()
        self._connection.execute(
            "INSERT INTO answers VALUES (?, ?, ?)", (key, msgspec.json.encode(request), generation)
        )
        return generation

    def change(
        self, model: str, route: Route, *, key: str, request: dict[str, Any], action: str, at: str
    ) -> RoutingTable:
        """Replace one route in one transaction with its key and its line of history; returns the new table."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            number = self.generation() + 1
            self._connection.execute(
                "INSERT INTO routes VALUES (?, ?) ON CONFLICT (model) DO UPDATE SET route = excluded.route",
                (model, msgspec.json.encode(route)),
            )
            self._connection.execute(
                "INSERT INTO generations VALUES (?, ?, ?, ?, ?, ?)",
                (number, at, key, model, action, msgspec.json.encode(request)),
            )
            self._connection.execute(
                "INSERT INTO answers VALUES (?, ?, ?)", (key, msgspec.json.encode(request), number)
            )
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        return self.table()

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
