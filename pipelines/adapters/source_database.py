"""Reads tables of PostgreSQL and SQLite in a transaction that cannot write; values are bound, not written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import quoted_name

from pipelines.adapters.connection import ConnectionFields
from pipelines.errors import Refused, Unavailable
from pipelines.spec.column import ColumnSpec
from pipelines.spec.sql_table import SqlTable, TableColumns, Window

CONNECT_SECONDS = 10
PORTION_ROWS = 10_000
POSTGRES_OPTIONS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "application_name")
"""Fields of a connection's extra that the driver is given."""
KINDS = {"postgres": "postgresql", "postgresql": "postgresql", "sqlite": "sqlite"}
"""Type of an Airflow connection to the dialect of its database."""
RETRIED_STATES = ("08", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE that a later try may not meet: connection, conflict, resources, lock, shutdown, system."""
TOLD_STATES = ("08", "28", "3D", "3F", "42", "53", "55", "57")
"""Those whose messages speak of tables, columns and users; those of the others (22, 23) may hold values of rows."""
SQLITE_TOLD = ("no such ", "near ", "unable to open database file", "file is not a database", "incomplete input")
SQLITE_RETRIED = ("database is locked", "database table is locked", "disk I/O error", "database schema has changed")
UNREADABLE = (
    "a value cannot be read, whose text may hold values of rows: it may be a date or time that is infinite or outside "
    "of the years 1 to 9999; leave such rows out or cast the column in a `query`"
)
"""What the driver of PostgreSQL says itself quotes the value."""
ISO_DATE_GLOB = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*"
"""SQLite would take `now`, `12:00` and many a number for times, too."""
DAY = timedelta(days=1)
MARGIN = timedelta(seconds=1)
"""SQLite's days as fractions are not exact; rows beside the window are left out by whoever reads them."""


class SqlDatabase:
    """The database that an Airflow connection reaches; opened for each call."""

    def __init__(self, connection: ConnectionFields) -> None:
        self._connection = connection
        kind = KINDS.get(connection.kind)
        if kind is None:
            raise Refused(
                f"connection {connection.connection!r} is of type {connection.kind!r}; "
                f"tables are read from {' and '.join(sorted(set(KINDS.values())))}",
                ["have the source deliver files instead, or name another connection"],
            )
        self._is_sqlite = kind == "sqlite"

    def columns(self, table: SqlTable) -> list[str]:
        with self._transaction() as transaction:
            return self._columns(transaction, table)

    def read(self, table: SqlTable, columns: TableColumns, window: Window | None) -> Iterator[Sequence[Sequence[Any]]]:
        with self._transaction() as transaction:
            relation = self._relation(table, self._columns(transaction, table) if table.query else [])
            bounds = None
            if window is not None:
                bounds = self._bounds(transaction, relation, columns[window.column], window)
                if bounds is None:  # no row at all
                    return
                self._check_times(transaction, relation, window)
            result = transaction.execution_options(yield_per=PORTION_ROWS).execute(
                self._select(relation, columns, window), bounds or {}
            )
            yield from result.partitions()

    def statement(self, table: SqlTable, columns: TableColumns, window: Window | None) -> str:
        select = self._select(self._relation(table, list(columns)), columns, window)
        return str(select.compile(dialect=self._engine().dialect))

    def _columns(self, transaction: sa.Connection, table: SqlTable) -> list[str]:
        relation = self._relation(table, [])
        return list(transaction.execute(sa.select(sa.text("*")).select_from(relation).limit(0)).keys())

    @staticmethod
    def _relation(table: SqlTable, columns: Sequence[str]) -> sa.FromClause:
        """``columns``: of a query, so that they can be named."""
        if table.query is not None:
            query = sa.text(table.query.strip().replace(":", "\\:"))  # no bind parameter
            return query.columns(*[sa.column(_quoted(name)) for name in columns]).subquery("source")
        schema, _, name = (table.table or "").rpartition(".")
        return sa.table(_quoted(name), schema=_quoted(schema) if schema else None)

    def _select(self, relation: sa.FromClause, columns: TableColumns, window: Window | None) -> sa.Select[Any]:
        select = sa.Select[Any](*[sa.column(_quoted(name)) for name in columns]).select_from(relation)
        if window is None:
            return select
        time = self._time(window)
        return select.where(time >= sa.bindparam("begin"), time < sa.bindparam("end"))

    def _time(self, window: Window) -> sa.ColumnElement[Any]:
        """SQLite has no times: those that it stores as ISO text are read by its own function, with their offsets."""
        column: sa.ColumnElement[Any] = sa.column(_quoted(window.column))
        if not self._is_sqlite:
            return column
        is_time = sa.and_(sa.func.typeof(column) == "text", column.op("GLOB")(ISO_DATE_GLOB))
        return sa.case((is_time, sa.func.julianday(column)))

    def _check_times(self, transaction: sa.Connection, relation: sa.FromClause, window: Window) -> None:
        """A row without a time, or with one that is infinite, would be read by no partition, and lost."""
        time = self._time(window)
        is_no_time = time.is_(None) if self._is_sqlite else sa.or_(time.is_(None), sa.not_(sa.func.isfinite(time)))
        without = transaction.execute(sa.select(sa.func.count()).select_from(relation).where(is_no_time)).scalar_one()
        if without:
            raise Refused(
                f"{without} rows of {_name(relation)} have no {window.column} that is a time, so they are in no "
                f"{window.partition.noun}; correct them, or write them as times or leave them out by a `query`"
            )

    def _bounds(
        self, transaction: sa.Connection, relation: sa.FromClause, column: ColumnSpec, window: Window
    ) -> dict[str, Any] | None:
        """``begin`` and ``end`` in the type that the database has for the column; None if it has no row.

        Between them lies every row of the partition, and maybe rows beside it, which whoever reads them leaves out. A
        time whose contract says date is that of its own clock.
        """
        partition, zone = window.partition, ZoneInfo(column.timezone or window.timezone)
        time: sa.ColumnElement[Any] = sa.column(_quoted(window.column))
        kind = sa.func.typeof(time) if self._is_sqlite else sa.cast(sa.func.pg_typeof(time), sa.Text)
        stored = transaction.execute(sa.select(kind).select_from(relation).limit(1)).scalar()
        if stored is None:
            return None
        days = partition.begin.astimezone(zone).date(), (partition.end.astimezone(zone) - MARGIN).date() + DAY
        if self._is_sqlite:
            if column.type == "date" or column.timezone is not None:
                first, last = (datetime.combine(day, datetime.min.time(), UTC) for day in days)
                return {"begin": _julian_day(first - DAY), "end": _julian_day(last + DAY)}
            return {"begin": _julian_day(partition.begin - MARGIN), "end": _julian_day(partition.end + MARGIN)}
        is_date = column.type == "date"
        if stored == "timestamp with time zone" and not is_date:
            return {"begin": partition.begin, "end": partition.end}
        if stored == "timestamp without time zone" and not is_date and column.timezone is None:
            raise Refused(f"{window.column} of {_name(relation)} is a time without a zone; declare its `timezone`")
        if stored == "date":
            return {"begin": days[0], "end": days[1]}
        if stored in ("timestamp with time zone", "timestamp without time zone"):
            clock = UTC if stored == "timestamp with time zone" else None
            first, last = (datetime.combine(day, datetime.min.time(), clock) for day in days)
            return {"begin": first, "end": last}
        raise Refused(f"{window.column} of {_name(relation)} is {stored}, which is no time; cast it in a `query`")

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """One consistent moment of the database."""
        engine = self._engine()
        with self._translated_errors(), engine.connect() as connection:
            if not self._is_sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                if self._is_sqlite:
                    connection.exec_driver_sql("BEGIN")
                yield connection
                connection.rollback()

    def _engine(self) -> sa.Engine:
        fields = self._connection
        if self._is_sqlite:
            path = Path(fields.host or fields.schema_)
            if not path.is_file():
                raise Refused(f"connection {fields.connection!r}: there is no file {path}; correct its host")
            return sa.create_engine(f"sqlite:///{path.resolve().as_uri()}?mode=ro&uri=true", poolclass=NullPool)
        options = {name: str(fields.extra[name]) for name in POSTGRES_OPTIONS if fields.extra.get(name)}
        url = sa.URL.create(
            "postgresql+psycopg",
            username=fields.login or None,
            password=fields.password.get_secret_value() or None,
            database=fields.schema_ or None,
        )
        address: dict[str, Any] = {"host": fields.host or None, "port": fields.port}
        return sa.create_engine(
            url,
            poolclass=NullPool,
            connect_args={
                **{name: value for name, value in address.items() if value},
                **options,
                "connect_timeout": CONNECT_SECONDS,
                "options": "-c timezone=UTC -c default_transaction_read_only=on",
            },
        )

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """The driver's errors without statement, parameters, values of rows or the password."""
        try:
            yield
        except DBAPIError as error:
            raise self._translated(error.orig) from None
        except SQLAlchemyError as error:
            raise Refused(
                f"connection {self._connection.connection!r} cannot be read ({type(error).__name__})"
            ) from None

    def _translated(self, error: BaseException | None) -> Refused | Unavailable:
        text = str(error).partition("\n")[0].strip()
        password = self._connection.password.get_secret_value()
        text = text.replace(password, "***") if password else text
        subject = f"the database of connection {self._connection.connection!r}"
        if self._is_sqlite:
            if text.startswith(SQLITE_RETRIED):
                return Unavailable(f"{subject} does not answer: {text}")
            shown = text if text.startswith(SQLITE_TOLD) else f"{type(error).__name__}, whose text may hold values"
            return Refused(f"{subject} refuses the query: {shown}")
        state = getattr(error, "sqlstate", None)
        if state is None:  # the driver's own: it does not reach the server, or cannot read a value
            is_access = "authentication failed" in text or "does not exist" in text
            if type(error).__name__ in ("OperationalError", "ConnectionTimeout") and not is_access:
                return Unavailable(f"{subject} does not answer: {text}")
            shown = text if is_access else UNREADABLE
            return Refused(f"{subject} refuses the query: {shown}")
        shown = f"{text} ({state})" if state[:2] in TOLD_STATES else f"SQLSTATE {state}, whose text may hold values"
        if state[:2] in RETRIED_STATES:
            return Unavailable(f"{subject} does not answer: {shown}")
        return Refused(f"{subject} refuses the query: {shown}")


def _quoted(name: str) -> quoted_name:
    return quoted_name(name, quote=True)


def _name(relation: sa.FromClause) -> str:
    return relation.fullname if isinstance(relation, sa.TableClause) else "the query"


def _julian_day(instant: datetime) -> float:
    """Days since noon of the first day of the Julian period, as SQLite counts them."""
    return 2440587.5 + instant.timestamp() / 86400
