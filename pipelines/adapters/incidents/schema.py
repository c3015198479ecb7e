"""The tables of incidents, of the messages that wait for their channels, and of what was read so far."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, MetaData, Table, Text, UniqueConstraint, inspect
from sqlalchemy.schema import CreateSchema

SCHEMA = "incidents"
"""On PostgreSQL the tables lie in a schema of their own, because who adds lines to the ledger may alter no table."""
METADATA = MetaData()
NUMBER = BigInteger().with_variant(Integer, "sqlite")
INCIDENT = Table(
    "incident",
    METADATA,
    Column("number", NUMBER, primary_key=True),
    Column("model", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("last_seen", Text, nullable=False),
    Column("record", Text, nullable=False),
    Index("incident_key", "model", "kind", "subject"),
    Index("incident_status", "status"),
)
MESSAGE = Table(
    "incident_message",
    METADATA,
    Column("number", NUMBER, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("incident", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("due", Text, nullable=False),
    Column("batch", BigInteger),
    Column("sent", Text),
    Index("incident_message_waiting", "channel", "sent"),
)
CHANNEL = Table(
    "incident_channel",
    METADATA,
    Column("channel", Text, primary_key=True),
    Column("holder", Text),
    Column("lease_until", Text),
    Column("failures", Integer, nullable=False),
    Column("rests_until", Text),
    Column("reason", Text),
)
NOTE = Table(
    "incident_note",
    METADATA,
    Column("name", Text, nullable=False),
    Column("value", Text, nullable=False),
    UniqueConstraint("name", name="incident_note_name"),
)


def has_incident_tables(connection: Connection) -> bool:
    return inspect(connection).has_table(NOTE.name, schema=schema_of(connection))  # it is created last


def create_incident_tables(connection: Connection) -> None:
    """Create what is missing, inside the caller's transaction."""
    if schema_of(connection) and not inspect(connection).has_schema(SCHEMA):
        connection.execute(CreateSchema(SCHEMA))
    METADATA.create_all(placed(connection), tables=[INCIDENT, MESSAGE, CHANNEL, NOTE])


def schema_of(connection: Connection) -> str | None:
    return None if connection.dialect.name == "sqlite" else SCHEMA


def placed(connection: Connection) -> Connection:
    """The connection, which finds these tables where they are."""
    schema = schema_of(connection)
    return connection if schema is None else connection.execution_options(schema_translate_map={None: schema})
