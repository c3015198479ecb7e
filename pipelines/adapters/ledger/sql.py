"""The ``Ledger`` port over SQLite or PostgreSQL: a line is chained to the last one and durable on return.

SQLite (a file, for one machine) and PostgreSQL (by URL) behave alike: writers of many processes queue for one lock,
so that the chain never forks. The head of each line (``<number>:<digest>``) is kept outside of the database, in the
store and beside a SQLite file, and exposes a ledger that was shortened or rewritten. Not detectable: the newest lines
removed together with all their heads. A head noted elsewhere (``airworthy verify`` prints it) exposes that, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, insert, select

from pipelines.adapters.ledger import schema
from pipelines.adapters.ledger.database import Database
from pipelines.adapters.ledger.schema import LEDGER
from pipelines.adapters.ledger.stored_heads import Block, StoredHeads
from pipelines.errors import Refused
from pipelines.ledger.examination import examine, seal_details
from pipelines.ledger.hash_chain import next_line
from pipelines.ledger.rows import parse_row, to_row
from pipelines.ledger.seals import SEAL_KIND, SEAL_SUBJECT
from pipelines.ports import Clock, LedgerEntry

ADVISORY_LOCK_ID = 0x4C454447
"""Number of the PostgreSQL advisory lock that serialises appends."""
_ALL_LINES = select(LEDGER).order_by(LEDGER.c.number)
log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class SqlLedger:
    """A ``Ledger`` in a database. Folder and table are created at the first use.

    ``heads``: path of the heads file; None: beside a SQLite database (``ledger.heads``), none for PostgreSQL.
    ``stored_heads``: the heads that the store keeps.
    """

    def __init__(
        self, url: str, *, clock: Clock = _now, heads: Path | None = None, stored_heads: StoredHeads | None = None
    ) -> None:
        self._database = Database(
            url, schema.create_ledger_table, is_complete=schema.has_ledger_table, lock=ADVISORY_LOCK_ID
        )
        self._clock = clock
        self._heads = heads or (self._database.path.with_suffix(".heads") if self._database.path else None)
        self._stored_heads = stored_heads

    def append(
        self,
        kind: str,
        model: str,
        version: str | None,
        details: Mapping[str, Any],
        *,
        actor: str,
        key: str | None = None,
    ) -> LedgerEntry:
        """Add one line, durable on return. A known ``key`` returns the line first written under it."""
        with self._database.transaction() as connection:
            if key is not None:
                for known in _read(connection, select(LEDGER).where(LEDGER.c.key == key)):
                    return parse_row(known)
            line = self._insert(connection, kind, model, version, details, actor, key)
        self._note_head(line)
        return line

    def entries(
        self, model: str | None = None, version: str | None = None, kind: str | None = None, *, after: int = 0
    ) -> list[LedgerEntry]:
        """Matching lines, oldest first. A damaged one is left out, so that a rollback never waits for a repair."""
        query = _ALL_LINES.where(LEDGER.c.number > after) if after else _ALL_LINES
        for column, value in ((LEDGER.c.model, model), (LEDGER.c.version, version), (LEDGER.c.kind, kind)):
            if value is not None:
                query = query.where(column == value)
        with self._database.connection() as connection:
            return _parse(_read(connection, query))

    def faults(self) -> list[str]:
        """Every altered, missing, inserted or reordered line that no seal covers, dropped guard, and lost head."""
        heads = self._known_heads()  # read before the lines, so that a line added meanwhile is no fault
        with self._database.connection() as connection:
            guards = [_trigger_fault(name) for name in schema.missing_triggers(connection)]
            if role := schema.replication_role(connection):
                guards.append(
                    f"the guards do not fire: session_replication_role is {role}; reset it on server and database"
                )
            examination = examine(_read(connection, _ALL_LINES), heads)
        return guards + [fault.text for fault in examination.faults]

    def repair(self, because: str, *, person: str) -> list[LedgerEntry]:
        """Seal what ``faults`` names, in lines of the kind ``ledger_repair``; create dropped guards again."""
        heads = self._known_heads()
        with self._database.transaction() as connection:
            details = seal_details(_read(connection, _ALL_LINES), heads, because)
            if triggers := schema.restore_triggers(connection):
                details = details or [{"because": because, "faults": []}]
                details[0]["triggers"] = triggers
                details[0]["faults"] += map(_trigger_fault, triggers)
            lines = [self._insert(connection, SEAL_KIND, SEAL_SUBJECT, None, seal, person, None) for seal in details]
        for line in lines:
            self._note_head(line)
        return lines

    def _insert(
        self,
        connection: Connection,
        kind: str,
        model: str,
        version: str | None,
        details: Mapping[str, Any],
        actor: str,
        key: str | None,
    ) -> LedgerEntry:
        """Add the next line in the caller's transaction; the line before need not be readable."""
        newest = select(LEDGER.c.number, LEDGER.c.digest).order_by(LEDGER.c.number.desc()).limit(1)
        line = next_line(
            connection.execute(newest).first(),
            at=self._clock(),
            kind=kind,
            model=model,
            version=version,
            actor=actor,
            details=details,
            key=key,
        )
        connection.execute(insert(LEDGER).values(to_row(line)))
        return line

    # ---- the heads -------------------------------------------------------------------------------------------------

    def _note_head(self, line: LedgerEntry) -> None:
        """Keep the head outside of the database. The line is already durable, so a failure is only logged."""
        if self._heads is not None:
            try:
                with self._heads.open("ab", buffering=0) as file:  # one atomic write
                    file.write(f"{line.number}:{line.digest}\n".encode())
            except OSError as error:
                log.warning("line %s is in the ledger, but its head could not be written: %s", line.number, error)
        if self._stored_heads is not None:
            self._stored_heads.note(line, self._digests_from)

    def _known_heads(self) -> list[str]:
        heads: list[str] = []
        if self._heads is not None and self._heads.exists():
            heads += self._heads.read_text(encoding="utf-8", errors="replace").splitlines()
        if self._stored_heads is not None:
            heads += self._stored_heads.read()
        return heads

    def _digests_from(self, number: int) -> Block:
        query = select(LEDGER.c.number, LEDGER.c.digest).where(LEDGER.c.number >= number).order_by(LEDGER.c.number)
        with self._database.connection() as connection:
            return [(row.number, row.digest) for row in connection.execute(query)]


def _read(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    return [row._asdict() for row in connection.execute(query)]


def _parse(rows: Iterable[Mapping[str, Any]]) -> list[LedgerEntry]:
    """The lines that can be read; ``faults`` names the others."""
    lines = []
    for row in rows:
        try:
            lines.append(parse_row(row))
        except Refused as error:
            log.warning("%s; see `airworthy ledger check`", error)
    return lines


def _trigger_fault(name: str) -> str:
    return f"trigger {name} is missing or disabled"
