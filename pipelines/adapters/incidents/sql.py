"""The ``Incidents`` port in the ledger's database: a transactional outbox, so that no message is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from pipelines.adapters.incidents.schema import (
    CHANNEL,
    INCIDENT,
    MESSAGE,
    NOTE,
    create_incident_tables,
    has_incident_tables,
    placed,
)
from pipelines.adapters.ledger.database import Database
from pipelines.messages.incident import Event, Incident, OutboxMessage

ADVISORY_LOCK_ID = 0x494E4349
"""Number of the PostgreSQL advisory lock of these tables."""
FIRST_REST, LONGEST_REST = timedelta(seconds=15), timedelta(minutes=15)
"""How long a channel rests after its first failure; each further one doubles it."""
MOST_IN_A_BATCH = 5000


class SqlIncidents:
    """Incidents at the ledger's ``url``. Tables are created at the first use."""

    def __init__(self, url: str) -> None:
        self._database = Database(url, create_incident_tables, is_complete=has_incident_tables, lock=ADVISORY_LOCK_ID)

    @contextmanager
    def change(self) -> Iterator[SqlChanges]:
        with self._database.transaction() as connection:
            yield SqlChanges(placed(connection))

    def read(self, *, active_only: bool = False) -> list[Incident]:
        query = select(INCIDENT.c.number, INCIDENT.c.record).order_by(INCIDENT.c.number)
        if active_only:
            query = query.where(INCIDENT.c.status != "resolved")
        with self._database.connection() as connection:
            return [_incident(row) for row in placed(connection).execute(query).mappings()]

    def note(self, name: str) -> str | None:
        with self._database.connection() as connection:
            return _note(placed(connection), name)

    def set_note(self, name: str, value: str) -> None:
        with self.change() as changes:
            changes.set_note(name, value)

    def claim(
        self, channel: str, holder: str, now: datetime, *, lease: timedelta, pause: timedelta
    ) -> list[OutboxMessage]:
        with self._database.transaction() as bare:
            connection = placed(bare)
            state = connection.execute(select(CHANNEL).where(CHANNEL.c.channel == channel)).mappings().first()
            if state is not None and not _may_take(state, holder, now):
                return []
            messages = _begun(connection, channel) or _next_batch(connection, channel, now, pause)
            if not messages:
                return []
            first = messages[0].batch or messages[0].number
            numbers = [message.number for message in messages]
            connection.execute(update(MESSAGE).where(MESSAGE.c.number.in_(numbers)).values(batch=first))
            _set_channel(connection, channel, holder=holder, lease_until=_text(now + lease))
            return [message.model_copy(update={"batch": first}) for message in messages]

    def sent(self, channel: str, batch: int, now: datetime) -> None:
        with self._database.transaction() as bare:
            connection = placed(bare)
            of_batch = and_(MESSAGE.c.channel == channel, MESSAGE.c.batch == batch, MESSAGE.c.sent.is_(None))
            connection.execute(update(MESSAGE).where(of_batch).values(sent=_text(now)))
            _set_channel(connection, channel, holder=None, lease_until=None, failures=0, rests_until=None, reason=None)

    def failed(self, channel: str, reason: str, *, now: datetime) -> int:
        with self._database.transaction() as bare:
            connection = placed(bare)
            earlier = connection.execute(select(CHANNEL.c.failures).where(CHANNEL.c.channel == channel)).scalar() or 0
            rest = min(FIRST_REST * 2 ** min(earlier, 10), LONGEST_REST)
            _set_channel(
                connection,
                channel,
                holder=None,
                lease_until=None,
                failures=earlier + 1,
                rests_until=_text(now + rest),
                reason=reason,
            )
            return int(earlier) + 1

    def waiting(self) -> dict[str, int]:
        query = select(MESSAGE.c.channel, func.count()).where(MESSAGE.c.sent.is_(None)).group_by(MESSAGE.c.channel)
        with self._database.connection() as connection:
            return {str(channel): int(count) for channel, count in placed(connection).execute(query)}

    def told(self, channel: str, since: datetime) -> list[Incident]:
        taken = select(MESSAGE.c.incident).where(MESSAGE.c.channel == channel, MESSAGE.c.sent.is_not(None))
        is_active = and_(INCIDENT.c.status != "resolved", INCIDENT.c.number.in_(taken))
        is_new = INCIDENT.c.number.in_(taken.where(MESSAGE.c.sent >= _text(since)))
        query = select(INCIDENT.c.number, INCIDENT.c.record).where(or_(is_active, is_new))
        with self._database.connection() as connection:
            rows = placed(connection).execute(query.order_by(INCIDENT.c.number)).mappings()
            return [_incident(row) for row in rows]


class SqlChanges:
    """The transaction that ``SqlIncidents.change`` opened."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def newest(self, model: str, kind: str, subject: str) -> Incident | None:
        key = and_(INCIDENT.c.model == model, INCIDENT.c.kind == kind, INCIDENT.c.subject == subject)
        rows = self._rows(key, newest_first=True)
        return rows[0] if rows else None

    def active(self) -> list[Incident]:
        return self._rows(INCIDENT.c.status != "resolved")

    def get(self, number: int) -> Incident | None:
        rows = self._rows(INCIDENT.c.number == number)
        return rows[0] if rows else None

    def save(self, incident: Incident) -> Incident:
        row = incident.model_dump(include={"model", "kind", "subject", "status", "severity"})
        row |= {"last_seen": _text(incident.last_seen), "record": incident.model_dump_json(exclude={"number"})}
        if incident.number is None:
            [number] = self._connection.execute(insert(INCIDENT).values(row)).inserted_primary_key or [None]
            return incident.model_copy(update={"number": number})
        self._connection.execute(update(INCIDENT).where(INCIDENT.c.number == incident.number).values(row))
        return incident

    def post(self, channel: str, incident: Incident, event: Event, *, created: datetime, due: datetime) -> None:
        row = {"channel": channel, "model": incident.model, "incident": incident.number, "event": event}
        self._connection.execute(insert(MESSAGE).values(row | {"created": _text(created), "due": _text(due)}))

    def note(self, name: str) -> str | None:
        return _note(self._connection, name)

    def set_note(self, name: str, value: str) -> None:
        named = NOTE.c.name == name
        if not self._connection.execute(update(NOTE).where(named).values(value=value)).rowcount:
            self._connection.execute(insert(NOTE).values(name=name, value=value))

    def _rows(self, condition: ColumnElement[bool], *, newest_first: bool = False) -> list[Incident]:
        order = INCIDENT.c.number.desc() if newest_first else INCIDENT.c.number
        query = select(INCIDENT.c.number, INCIDENT.c.record).where(condition).order_by(order)
        query = query.limit(1) if newest_first else query
        return [_incident(row) for row in self._connection.execute(query).mappings()]


def _may_take(state: Mapping[Any, Any], holder: str, now: datetime) -> bool:
    """Whether nobody else holds the channel and it does not rest."""
    if state["rests_until"] and _text(now) < state["rests_until"]:
        return False
    return state["holder"] in (None, holder) or not state["lease_until"] or _text(now) >= state["lease_until"]


def _begun(connection: Connection, channel: str) -> list[OutboxMessage]:
    """What a killed or refused sender has begun to send: the oldest batch, unchanged."""
    unsent = and_(MESSAGE.c.channel == channel, MESSAGE.c.sent.is_(None), MESSAGE.c.batch.is_not(None))
    first = connection.execute(select(func.min(MESSAGE.c.batch)).where(unsent)).scalar()
    return [] if first is None else _messages(connection, and_(unsent, MESSAGE.c.batch == first))


def _next_batch(connection: Connection, channel: str, now: datetime, pause: timedelta) -> list[OutboxMessage]:
    """All that is due about the model of the oldest due message, of models of which nothing was sent just now."""
    recent = select(MESSAGE.c.model).where(MESSAGE.c.channel == channel, MESSAGE.c.sent > _text(now - pause)).distinct()
    resting = set(connection.execute(recent).scalars())
    due = and_(MESSAGE.c.channel == channel, MESSAGE.c.sent.is_(None), MESSAGE.c.due <= _text(now))
    free = and_(due, or_(MESSAGE.c.model.not_in(resting))) if resting else due
    oldest = connection.execute(select(MESSAGE.c.model).where(free).order_by(MESSAGE.c.number).limit(1)).scalar()
    return [] if oldest is None else _messages(connection, and_(due, MESSAGE.c.model == oldest))


def _messages(connection: Connection, condition: ColumnElement[bool]) -> list[OutboxMessage]:
    query = select(MESSAGE).where(condition).order_by(MESSAGE.c.number).limit(MOST_IN_A_BATCH)
    rows = connection.execute(query).mappings()
    return [OutboxMessage.model_validate({k: v for k, v in row.items() if k != "sent"}) for row in rows]


def _set_channel(connection: Connection, channel: str, **values: Any) -> None:
    named = CHANNEL.c.channel == channel
    if not connection.execute(update(CHANNEL).where(named).values(**values)).rowcount:
        connection.execute(insert(CHANNEL).values(**{"channel": channel, "failures": 0, **values}))


def _note(connection: Connection, name: str) -> str | None:
    value = connection.execute(select(NOTE.c.value).where(NOTE.c.name == name)).scalar()
    return None if value is None else str(value)


def _incident(row: Mapping[Any, Any]) -> Incident:
    return Incident.model_validate_json(row["record"]).model_copy(update={"number": row["number"]})


def _text(moment: datetime) -> str:
    """UTC in a form that sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
