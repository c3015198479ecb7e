"""The outbox in SQLite and PostgreSQL: one sender a channel, in order, unchanged after a crash."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.adapters.incidents.sql import FIRST_REST, SqlIncidents
from pipelines.adapters.ledger import database
from pipelines.errors import Unavailable
from pipelines.messages.incident import Incident, OutboxMessage
from tests.adapters.ledger.test_sql import execute, postgresql

__all__ = ["postgresql"]

NOW = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)
LEASE, PAUSE = timedelta(seconds=90), timedelta(seconds=60)


@pytest.fixture(params=["sqlite", "postgresql"])
def incidents(request: pytest.FixtureRequest, tmp_path: Path) -> SqlIncidents:
    if request.param == "sqlite":
        return SqlIncidents(f"sqlite:///{tmp_path}/new/ledger.db")
    url: str = request.getfixturevalue("postgresql")
    execute(url, "DROP SCHEMA IF EXISTS incidents CASCADE")
    return SqlIncidents(url)


def opened(model: str = "churn", subject: str = "price") -> Incident:
    told = {"status": "open", "severity": "warning", "what": f"{subject} broke"}
    return Incident.model_validate(
        {"model": model, "kind": "drift_fault", "subject": subject, **told}
        | dict.fromkeys(("first_seen", "opened", "last_seen"), NOW)
    )


def post(incidents: SqlIncidents, *subjects: str, model: str = "churn", channel: str = "log") -> list[Incident]:
    saved = []
    with incidents.change() as changes:
        for subject in subjects:
            incident = changes.save(opened(model, subject))
            changes.post(channel, incident, "opened", created=NOW, due=NOW)
            saved.append(incident)
    return saved


def claim(incidents: SqlIncidents, holder: str = "a", channel: str = "log", **later: float) -> list[OutboxMessage]:
    return incidents.claim(channel, holder, NOW + timedelta(**later), lease=LEASE, pause=PAUSE)


def test_an_incident_is_read_as_it_was_written_and_changed_in_its_row(incidents: SqlIncidents) -> None:
    [first, second] = post(incidents, "price", "age")
    with incidents.change() as changes:
        changes.save(first.model_copy(update={"status": "resolved", "resolved": NOW}))
        assert changes.newest("churn", "drift_fault", "age") == second
        assert changes.newest("churn", "drift_fault", "nosuch") is None
        assert changes.active() == [second]
        assert changes.get(99) is None
    assert [incident.status for incident in incidents.read()] == ["resolved", "open"]
    assert incidents.read(active_only=True) == [second]


def test_a_transaction_that_fails_leaves_neither_incident_nor_message(incidents: SqlIncidents) -> None:
    def change_and_fail() -> None:
        with incidents.change() as changes:
            changes.post("log", changes.save(opened()), "opened", created=NOW, due=NOW)
            changes.set_note("cursor", "7")
            raise RuntimeError("killed here")

    with pytest.raises(RuntimeError):
        change_and_fail()
    assert (incidents.read(), incidents.waiting(), incidents.note("cursor")) == ([], {}, None)


def test_a_batch_is_all_that_waits_about_one_model_and_the_next_one_about_it_waits_for_the_pause(
    incidents: SqlIncidents,
) -> None:
    post(incidents, "price", "age")
    post(incidents, "mean", model="late")
    first = claim(incidents)
    assert [message.model for message in first] == ["churn", "churn"]
    assert {message.batch for message in first} == {first[0].number}
    incidents.sent("log", first[0].number, NOW)
    post(incidents, "sex")
    assert [message.model for message in claim(incidents, seconds=1)] == ["late"]
    incidents.sent("log", 3, NOW + timedelta(seconds=1))
    assert claim(incidents, seconds=59) == []
    assert [message.model for message in claim(incidents, seconds=61)] == ["churn"]
    assert incidents.waiting() == {"log": 1}


def test_one_sender_holds_a_channel_until_its_lease_ends_and_others_send_to_other_channels(
    incidents: SqlIncidents,
) -> None:
    post(incidents, "price")
    post(incidents, "price", channel="slack")
    assert claim(incidents, "a")
    assert claim(incidents, "b") == []
    assert claim(incidents, "b", "slack")
    assert claim(incidents, "b", seconds=91)


def test_what_a_killed_sender_began_is_sent_again_unchanged_before_anything_else(incidents: SqlIncidents) -> None:
    post(incidents, "price")
    begun = claim(incidents, "a")
    post(incidents, "age")
    again = claim(incidents, "b", seconds=91)
    assert again == begun
    incidents.sent("log", begun[0].number, NOW)
    assert [message.incident for message in claim(incidents, "b", seconds=200)] == [2]


def test_a_channel_that_fails_rests_ever_longer_and_loses_nothing(incidents: SqlIncidents) -> None:
    post(incidents, "price")
    at = NOW
    for failures in (1, 2, 3):
        assert incidents.claim("log", "a", at, lease=LEASE, pause=PAUSE)
        assert incidents.failed("log", "no answer", now=at) == failures
        rest = FIRST_REST * 2 ** (failures - 1)
        assert incidents.claim("log", "b", at + rest - timedelta(seconds=1), lease=LEASE, pause=PAUSE) == []
        at += rest
    [message] = incidents.claim("log", "b", at, lease=LEASE, pause=PAUSE)
    incidents.sent("log", int(message.batch or 0), at)
    assert incidents.failed("log", "no answer", now=at) == 1


def test_a_database_that_stays_locked_is_unavailable_and_nothing_is_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT_SECONDS", 0.1)
    incidents = SqlIncidents(f"sqlite:///{tmp_path}/ledger.db")
    post(incidents, "price")
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="does not answer: database is locked"):
        post(incidents, "age")
    assert [incident.subject for incident in incidents.read()] == ["price"]
    other.execute("ROLLBACK")
    other.close()
    post(incidents, "age")
    assert incidents.waiting() == {"log": 2}
