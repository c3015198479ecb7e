"""A database for the ledger and what lies beside it: SQLite or PostgreSQL, one writer at a time, durable on return."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from pipelines.errors import Refused, Unavailable
from pipelines.settings import make_private_folder

LOCK_TIMEOUT_SECONDS = 30


class Database:
    """A database at ``url``. Folder and tables are created at the first use.

    ``create(connection)`` creates what is missing; it is called under the lock if ``is_complete(connection)`` is False.
    ``lock`` is the number of the PostgreSQL advisory lock that serialises writers.
    """

    def __init__(
        self, url: str, create: Callable[[Connection], None], *, is_complete: Callable[[Connection], bool], lock: int
    ) -> None:
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
        self._create, self._is_complete, self._lock = create, is_complete, lock
        self._engine: Engine | None = None

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database; None: it is on a server."""
        return Path(self._url.database or "") if self._sqlite else None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
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
    def connection(self) -> Iterator[Connection]:
        with self._translated_errors(), self._open().connect() as connection:
            yield connection

    def _begin_exclusive(self, connection: Connection) -> None:
        # Python's sqlite3 begins deferred transactions, in which two writers could read the same head.
        statement = "BEGIN IMMEDIATE" if self._sqlite else f"SELECT pg_advisory_xact_lock({self._lock})"
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
                if not self._is_complete(connection):
                    connection.rollback()
                    self._begin_exclusive(connection)
                    self._create(connection)
                    self._end_transaction(connection, "COMMIT")
            self._engine = engine
        return self._engine

    def _sqlite_engine(self) -> Engine:
        make_private_folder(Path(self._url.database or "").absolute().parent)
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
