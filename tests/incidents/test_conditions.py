"""What no ledger line says is an incident, too: who is silent, a broken ledger, a drill that did not come."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipelines.adapters.incidents.sql import SqlIncidents
from pipelines.incidents.conditions import overdue_drills, seen_by_airflow, seen_by_the_watch
from pipelines.incidents.look import look
from pipelines.testing.ports import FakePorts, MemoryLedger
from tests.incidents.test_delivery import KeptNotices

MODEL = "flight_delay"


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    made = FakePorts.make(tmp_path, incidents=SqlIncidents(f"sqlite:///{tmp_path}/ledger.db"))
    made.ledger = MemoryLedger(made.clock)
    made.notifiers = {"log": KeptNotices()}
    made.settings = made.settings.model_copy(update={"gateway": "http://127.0.0.1:9"})  # nobody listens there
    return made


def watch(ports: FakePorts, started: datetime, minutes: float) -> list[str]:
    """Let the watch look every minute; the titles of all messages so far."""
    for _ in range(int(minutes)):
        ports.clock.advance(timedelta(minutes=1))
        look(ports, observer="watch", findings=seen_by_the_watch(ports, started))
    return [notice.title for notice in ports.notifiers["log"].notices]


def test_when_airflow_is_dead_the_watch_tells_it_once_and_that_it_is_back(ports: FakePorts) -> None:
    started = ports.clock()
    look(ports, observer="airflow")
    assert watch(ports, started, 5) == []
    [title] = watch(ports, started, 3)
    assert title.startswith("[critical] airworthy: Airflow runs nothing: the last run of airworthy__incidents was at")
    look(ports, observer="airflow")
    titles = watch(ports, started, 2)
    assert len(titles) == 2
    assert titles[-1].startswith("[critical] resolved: airworthy: Airflow runs nothing")


def test_a_night_in_which_all_was_stopped_is_no_silence(ports: FakePorts) -> None:
    look(ports, observer="airflow", findings=seen_by_airflow(ports))
    look(ports, observer="watch")
    ports.clock.advance(timedelta(hours=9))
    look(ports, observer="airflow", findings=seen_by_airflow(ports))
    assert watch(ports, ports.clock(), 2) == []


def test_when_the_watch_is_dead_airflow_tells_it(ports: FakePorts) -> None:
    look(ports, observer="watch")
    for _ in range(4):
        look(ports, observer="airflow", findings=seen_by_airflow(ports))
        ports.clock.advance(timedelta(minutes=2))
    assert [notice.title.split(":")[0] for notice in ports.notifiers["log"].notices] == ["[warning] airworthy"]
    assert "`airworthy watch` looked last at" in ports.notifiers["log"].notices[0].title


def test_a_gateway_that_stays_away_is_told_after_minutes_and_explains_what_it_causes(ports: FakePorts) -> None:
    started = ports.clock()
    look(ports, observer="airflow")
    assert watch(ports, started, 1) == []
    ports.endpoint.down = True
    for _ in range(8):
        look(ports, observer="airflow")
        watch(ports, started, 1)
    titles = [notice.title for notice in ports.notifiers["log"].notices]
    assert len(titles) == 1
    assert titles[0].startswith("[critical] airworthy: FakeEndpoint does not answer")


def test_a_ledger_that_was_altered_is_told_with_its_faults(ports: FakePorts) -> None:
    for number in range(3):
        ports.ledger.append("restore", MODEL, None, {"to": number}, actor="ada")
    ports.ledger.lines[1] = ports.ledger.lines[1].model_copy(update={"actor": "eve"})
    look(ports, observer="airflow", findings=seen_by_airflow(ports))
    [notice] = ports.notifiers["log"].notices
    assert notice.incidents[0].kind == "ledger_fault"
    assert "To do: airworthy ledger check" in notice.body


@pytest.mark.parametrize(
    ("releases", "drilled_after", "days", "firing"),
    [(1, None, 100, []), (2, None, 34, [False]), (2, None, 36, [True]), (2, 30, 60, [False]), (2, 30, 66, [True])],
)
def test_a_model_with_a_way_back_is_drilled_in_time(
    ports: FakePorts, releases: int, drilled_after: int | None, days: int, firing: list[bool]
) -> None:
    for version in range(releases):
        ports.ledger.append("release", MODEL, str(version), {}, actor="a")
    if drilled_after is not None:
        ports.clock.advance(timedelta(days=drilled_after))
        ports.ledger.append("rollback_drill", MODEL, "1", {"outcome": "pass"}, actor="a")
    ports.clock.advance(timedelta(days=days - (drilled_after or 0)))
    assert [findings.firing for findings in overdue_drills(ports) if findings.model == MODEL] == firing
