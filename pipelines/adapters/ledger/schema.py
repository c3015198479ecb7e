"""The ledger's table and its triggers, which make the database refuse everything but INSERTs at its end."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, UniqueConstraint, inspect, text
from sqlalchemy.schema import CreateTable

METADATA = MetaData()
LEDGER = Table(
    "ledger",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text),
    Column("actor", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("key", Text),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
    UniqueConstraint("key", name="ledger_key"),
    UniqueConstraint("digest", name="ledger_digest"),
)
APPEND_ONLY_TRIGGERS = ("ledger_no_update", "ledger_no_delete", "ledger_append_only")

# `INSERT OR REPLACE` deletes without firing delete triggers, so the insert trigger refuses every line that is not
# the next one, and every key or digest that is already there.
_SQLITE_TRIGGERS = {
    "ledger_no_update": """CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger
       BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: no line is ever changed'); END""",
    "ledger_no_delete": """CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger
       BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: no line is ever deleted'); END""",
    "ledger_append_only": """CREATE TRIGGER ledger_append_only BEFORE INSERT ON ledger
       WHEN NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM ledger)
         OR EXISTS (SELECT 1 FROM ledger WHERE key = NEW.key OR digest = NEW.digest)
       BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a line goes to its end, once'); END""",
}
_POSTGRESQL_FUNCTIONS = [
    """CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN RAISE EXCEPTION 'the ledger is append-only: no line is ever changed or deleted'; END $$""",
    """CREATE OR REPLACE FUNCTION ledger_at_end() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         IF NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM ledger) THEN
           RAISE EXCEPTION 'the ledger is append-only: a line goes to its end';
         END IF;
         RETURN NEW;
       END $$""",
]
_POSTGRESQL_TRIGGERS = {
    "ledger_no_update": """CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger
       FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()""",
    "ledger_no_delete": """CREATE TRIGGER ledger_no_delete BEFORE DELETE OR TRUNCATE ON ledger
       FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()""",
    "ledger_append_only": """CREATE TRIGGER ledger_append_only BEFORE INSERT ON ledger
       FOR EACH ROW EXECUTE FUNCTION ledger_at_end()""",
}


def create_ledger_table(connection: Connection) -> None:
    """Create table and guards unless the table exists; inside the caller's transaction, under its lock.

    Guards of an existing table are recreated by a repair alone, because ``faults`` must report a missing one.
    """
    if has_ledger_table(connection):
        return
    connection.execute(CreateTable(LEDGER))
    _create_triggers(connection, APPEND_ONLY_TRIGGERS)


def has_ledger_table(connection: Connection) -> bool:
    return inspect(connection).has_table(LEDGER.name)


def missing_triggers(connection: Connection) -> list[str]:
    """Names of the triggers that were dropped, disabled, or do not fire for an ordinary session."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'ledger'"
    else:
        query = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'ledger'::regclass AND tgenabled IN ('O', 'A')"
    active = set(connection.execute(text(query)).scalars())
    return [name for name in APPEND_ONLY_TRIGGERS if name not in active]


def replication_role(connection: Connection) -> str | None:
    """PostgreSQL's ``session_replication_role`` if it keeps the guards from firing, as a superuser may set it."""
    if connection.dialect.name == "sqlite":
        return None
    role = str(connection.execute(text("SELECT current_setting('session_replication_role')")).scalar_one())
    return None if role == "origin" else role


def restore_triggers(connection: Connection) -> list[str]:
    """Create the missing triggers again, inside the caller's transaction; returns their names."""
    missing = missing_triggers(connection)
    if connection.dialect.name != "sqlite":
        for name in missing:
            connection.execute(text(f"DROP TRIGGER IF EXISTS {name} ON ledger"))
    _create_triggers(connection, missing)
    return missing


def _create_triggers(connection: Connection, names: Sequence[str]) -> None:
    is_sqlite = connection.dialect.name == "sqlite"
    triggers = _SQLITE_TRIGGERS if is_sqlite else _POSTGRESQL_TRIGGERS
    for statement in [*([] if is_sqlite or not names else _POSTGRESQL_FUNCTIONS), *(triggers[name] for name in names)]:
        connection.execute(text(statement))
