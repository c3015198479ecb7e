"""The ``Ledger`` port over SQLite or PostgreSQL: a line is chained to the last one and durable on return.

SQLite (a file, for one machine) and PostgreSQL (by URL) behave alike: writers of many processes queue for one lock,
so that the chain never forks. The heads file, one ``<number>:<digest>`` per line written, lies outside the database
(by default beside a SQLite ledger; PostgreSQL has none): it exposes a ledger that was shortened or rewritten. Not
detectable: such changes without a heads file, the newest line removed together with its head, or both places rewritten.
A copy of a head elsewhere (``airworthy verify`` prints it) exposes those, too.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, create_engine, event, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pipelines.adapters.ledger import schema
from pipelines.adapters.ledger.schema import LEDGER
from pipelines.errors import Refused, Unavailable
from pipelines.ledger.hash_chain import canonical_json, chain_faults, head_faults, next_line, utc_text
from pipelines.ports import Clock, LedgerEntry

ADVISORY_LOCK_ID = 0x4C454447
"""Number of the PostgreSQL advisory lock that serialises appends."""
LOCK_TIMEOUT_SECONDS = 30
log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class SqlLedger:
    """A ``Ledger`` in a database. Folder and table are created at the first use.

    ``heads``: path of the heads file; None: beside a SQLite database (``ledger.heads``), none for PostgreSQL.
    """

    def __init__(self, url: str, *, clock: Clock = _now, heads: Path | None = None) -> None:
        try:
            self._url = make_url(url)
        except ArgumentError as error:
            raise Refused(f"{url!r} is not a database URL; use sqlite:////…/ledger.db or postgresql://…") from error
        if self._url.drivername in ("postgresql", "postgres"):
            self._url = self._url.set(drivername="postgresql+psycopg")
        if self._url.get_backend_name() not in ("sqlite", "postgresql") or not self._url.database:
            shown = self._url.render_as_string(hide_password=True)
            raise Refused(f"the ledger cannot lie in {shown}; name a SQLite file or a PostgreSQL database")
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._clock = clock
        self._heads = heads or (Path(self._url.database or "").with_suffix(".heads") if self._sqlite else None)
        self._engine: Engine | None = None

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
        with self._transaction() as connection:
            if key is not None:
                known = connection.execute(select(LEDGER).where(LEDGER.c.key == key)).mappings().first()
                if known is not None:
                    return _entry(known)
            newest = connection.execute(select(LEDGER).order_by(LEDGER.c.number.desc()).limit(1)).mappings().first()
            line = next_line(
                _entry(newest) if newest else None,
                at=self._clock(),
                kind=kind,
                model=model,
                version=version,
                actor=actor,
                details=details,
                key=key,
            )
            connection.execute(insert(LEDGER).values(_row(line)))
        self._append_to_heads_file(line)
        return line

    def entries(
        self, model: str | None = None, version: str | None = None, kind: str | None = None
    ) -> list[LedgerEntry]:
        """Matching lines, oldest first. ``Refused`` if a damaged line cannot be read."""
        query = select(LEDGER).order_by(LEDGER.c.number)
        for column, value in ((LEDGER.c.model, model), (LEDGER.c.version, version), (LEDGER.c.kind, kind)):
            if value is not None:
                query = query.where(column == value)
        with self._connection() as connection:
            return [_entry(row) for row in connection.execute(query).mappings()]

    def faults(self) -> list[str]:
        """Every altered, missing, inserted or reordered line, dropped guard, and head without its line."""
        faults, readable = [], []
        heads = self._read_heads_file()  # read before the lines, so that a line added meanwhile is no fault
        with self._connection() as connection:
            faults += [f"trigger {name} is missing or disabled" for name in schema.missing_triggers(connection)]
            for row in connection.execute(select(LEDGER).order_by(LEDGER.c.number)).mappings():
                try:
                    entry = _entry(row)
                except Refused as error:
                    faults.append(str(error))
                    continue
                readable.append(entry)
                if _row(entry) != dict(row):
                    faults.append(f"line {entry.number} was altered: it is not written in canonical form")
        return faults + chain_faults(readable) + head_faults(readable, heads)

    # ---- the heads file --------------------------------------------------------------------------------------------

    def _append_to_heads_file(self, line: LedgerEntry) -> None:
        """Append the head in one atomic write. The line is already durable, so a failure is only logged."""
        if self._heads is None:
            return
        try:
            with self._heads.open("ab", buffering=0) as file:
                file.write(f"{line.number}:{line.digest}\n".encode())
        except OSError as error:
            log.warning("line %s is in the ledger, but its head could not be written: %s", line.number, error)

    def _read_heads_file(self) -> list[str]:
        if self._heads is None or not self._heads.exists():
            return []
        return self._heads.read_text(encoding="utf-8", errors="replace").splitlines()

    # ---- the database ----------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """One exclusive transaction: read the head, add the line, commit."""
        with self._translated_errors(), self._open().connect() as connection:
            self._begin_exclusive(connection)
            try:
                yield connection
            except BaseException:
                self._end_transaction(connection, "ROLLBACK")
                raise
            self._end_transaction(connection, "COMMIT")

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._translated_errors(), self._open().connect() as connection:
            yield connection

    def _begin_exclusive(self, connection: Connection) -> None:
        # Python's sqlite3 begins deferred transactions, in which two writers could read the same head.
        statement = "BEGIN IMMEDIATE" if self._sqlite else f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK_ID})"
        connection.exec_driver_sql(statement)

    def _end_transaction(self, connection: Connection, command: str) -> None:
        if self._sqlite:
            connection.exec_driver_sql(command)
        elif command == "COMMIT":
            connection.commit()
        else:
            connection.rollback()

    def _open(self) -> Engine:
        """The engine; the first call creates the folder, the journal mode and the table."""
        if self._engine is None:
            engine = self._sqlite_engine() if self._sqlite else self._postgresql_engine()
            with engine.connect() as connection:
                if self._sqlite:
                    _enable_wal(connection)
                if not inspect(connection).has_table(LEDGER.name):
                    connection.rollback()
                    self._begin_exclusive(connection)
                    schema.create_ledger_table(connection)
                    self._end_transaction(connection, "COMMIT")
            self._engine = engine
        return self._engine

    def _sqlite_engine(self) -> Engine:
        Path(self._url.database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"timeout": LOCK_TIMEOUT_SECONDS}
        )

        @event.listens_for(engine, "connect")
        def durable(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA synchronous=FULL")

        return engine

    def _postgresql_engine(self) -> Engine:
        return create_engine(self._url, poolclass=NullPool, connect_args={"connect_timeout": LOCK_TIMEOUT_SECONDS})

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Raise ``Unavailable`` when the database does not answer, ``Refused`` for its other errors."""
        place = self._url.render_as_string(hide_password=True)
        try:
            yield
        except (OperationalError, InterfaceError, OSError) as error:
            raise Unavailable(f"the ledger at {place} does not answer: {_first_line(error)}") from error
        except SQLAlchemyError as error:
            raise Refused(f"the ledger at {place} refused the statement", [_first_line(error)]) from error


def _enable_wal(connection: Connection) -> None:
    """Enable write-ahead logging, so that readers never wait; SQLite does not queue for it, so it is retried."""
    _retry_while_locked(lambda: connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar())


def _retry_while_locked(attempt: Callable[[], object]) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            attempt()
            return
        except OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _first_line(error: Exception) -> str:
    origin = error.orig if isinstance(error, DBAPIError) else error
    return str(origin).strip().split("\n")[0]


def _row(entry: LedgerEntry) -> dict[str, Any]:
    return {**entry.model_dump(), "at": utc_text(entry.at), "details": canonical_json(entry.details)}


def _entry(row: RowMapping) -> LedgerEntry:
    try:
        return LedgerEntry.model_validate({**row, "details": json.loads(row["details"])})
    except ValueError as error:
        raise Refused(f"line {row['number']} was altered: it cannot be parsed") from error
