"""The operator opens incidents from the ledger's lines, tells people, and takes one for whoever started the run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.adapters.incidents.sql import SqlIncidents
from pipelines.errors import Refused
from pipelines.incidents.record import take
from pipelines.messages.incident import Incident
from pipelines.testing.ports import FakePorts, MemoryLedger
from practices._connections import installation
from practices._operators.failed_task import report_failure
from practices.incidents import Incidents
from tests.incidents.test_delivery import KeptNotices, finding

DRIFT = {"check": "drift_check", "day": "2013-02-28", "outcome": "fail", "reasons": ["humid broke: mean 0.7"]}


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePorts:
    made = FakePorts.make(tmp_path, incidents=SqlIncidents(f"sqlite:///{tmp_path}/ledger.db"))
    made.ledger = MemoryLedger(made.clock)
    made.notifiers = {"log": KeptNotices()}
    monkeypatch.setattr(installation, "open_ports", lambda: made)
    return made


class Runs:
    """Airflow, as far as the operator asks it: how many runs are in a state."""

    successes: tuple[str, ...] = ()

    def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        return len({f"{dag_id}/{run_id}" for run_id in run_ids} & set(self.successes)) if states == ["success"] else 0


def run(user: str | None = None, runs: Runs | None = None, **fields: Any) -> dict[str, int]:
    started = SimpleNamespace(dag_id="airworthy__incidents", run_id="r", triggering_user_name=user)
    context: Any = {"dag_run": started, "ti": runs or Runs(), "params": {}}
    return Incidents(task_id="look", **fields).execute(context)


def only(ports: FakePorts) -> Incident:
    [incident] = ports.incidents.read()
    return incident


def test_a_line_about_a_broken_column_is_one_message_and_its_end_another(ports: FakePorts) -> None:
    run()
    facts = {"facts": {"faults": ["humid"], "act": ["humid"], "report": "reports/d.html"}}
    ports.ledger.append(
        "monitoring_verdict",
        "flight_delay",
        "3",
        {**DRIFT, **facts},
        actor="a",
        key="flight_delay__monitor/r/check_drift/1",
    )
    assert run() == {"lines": 1, "messages": 1}
    assert run() == {"lines": 0, "messages": 0}
    incident = only(ports)
    assert (incident.subject, incident.severity, incident.run) == ("humid", "critical", "flight_delay__monitor/r")
    ports.clock.advance(timedelta(minutes=2))
    ports.ledger.append(
        "monitoring_verdict", "flight_delay", "3", {**DRIFT, "outcome": "pass", "reasons": []}, actor="a"
    )
    assert run() == {"lines": 1, "messages": 1}
    titles = [notice.title for notice in ports.notifiers["log"].notices]
    assert titles == [
        "[critical] flight_delay: humid broke: mean 0.7",
        "[critical] resolved: flight_delay: humid broke: mean 0.7",
    ]


def test_a_year_that_is_judged_at_once_is_history_but_for_its_newest_day(ports: FakePorts) -> None:
    run()
    for number in range(300):
        day = f"2012-{number // 28 + 1:02d}-{number % 28 + 1:02d}"
        details = {**DRIFT, "day": day, "facts": {"faults": [f"c{number % 7}"]}}
        ports.ledger.append("monitoring_verdict", "flight_delay", "3", details, actor="a")
        verdict = {"check": "quarantine", "day": day, "outcome": "fail", "reasons": ["bad"]}
        ports.ledger.append("data_verdict", "orders", None, verdict, actor="a")
    run()
    assert ports.notifiers["log"].notices == []
    ports.clock.advance(timedelta(minutes=2))
    run()
    told = sorted(incident.model for notice in ports.notifiers["log"].notices for incident in notice.incidents)
    assert told == ["flight_delay", "orders"]
    history = [incident for incident in ports.incidents.read() if incident.is_history]
    assert len(history) >= 300
    assert {incident.severity for incident in history} == {"info"}
    assert not [incident for incident in history if incident.is_active]


def test_lines_from_before_the_first_look_open_nothing(ports: FakePorts) -> None:
    ports.ledger.append("rollback_drill", "flight_delay", "1", {"outcome": "fail", "reasons": ["slow"]}, actor="a")
    ports.clock.advance(timedelta(days=3))
    assert run()["messages"] == 0
    assert ports.incidents.read() == []


def test_the_person_who_started_the_run_takes_the_incident(ports: FakePorts) -> None:
    take(ports, [finding(ports)])
    run("ada", number="1", why="asking the  weather service")
    incident = only(ports)
    assert (incident.status, incident.acknowledged_by) == ("acknowledged", "ada")
    assert incident.acknowledged_because == "asking the weather service"


@pytest.mark.parametrize(("user", "why", "fault"), [(None, "mine", "no user"), ("ada", " ", "why is empty")])
def test_nobody_takes_an_incident_without_a_name_or_a_reason(
    ports: FakePorts, user: str | None, why: str, fault: str
) -> None:
    take(ports, [finding(ports)])
    with pytest.raises(Refused, match=fault):
        run(user, number="1", why=why)
    assert only(ports).status == "open"


def test_an_unknown_incident_is_refused_with_those_that_there_are(ports: FakePorts) -> None:
    take(ports, [finding(ports)])
    with pytest.raises(Refused, match="no incident 9; there is 1"):
        run("ada", number="9", why="mine")


def failed(task_id: str = "train_model", error: str = "out of memory") -> dict[str, Any]:
    task = SimpleNamespace(dag_id="flight_delay__train", task_id=task_id, try_number=9)
    return {"ti": task, "dag_run": SimpleNamespace(dag_id=task.dag_id, run_id="r"), "exception": RuntimeError(error)}


def test_a_task_that_failed_without_a_verdict_is_an_incident_until_its_run_succeeds(ports: FakePorts) -> None:
    report_failure(failed())
    incident = only(ports)
    assert (incident.kind, incident.subject) == ("task_failed", "train.train_model")
    assert incident.what == "train_model of flight_delay__train failed: out of memory"
    run()
    assert only(ports).is_active
    runs = Runs()
    runs.successes = ("flight_delay__train/r",)
    run(runs=runs)
    assert not only(ports).is_active


def test_a_task_whose_verdict_is_on_the_ledger_opens_no_second_incident(ports: FakePorts) -> None:
    details = {"outcome": "fail", "reasons": ["no"]}
    ports.ledger.append(
        "training", "flight_delay", "1", details, actor="a", key="flight_delay__train/r/train_model/-1/0/x"
    )
    report_failure(failed())
    assert ports.incidents.read() == []


def test_a_failure_that_cannot_be_reported_leaves_the_task_as_it_is(ports: FakePorts) -> None:
    ports.ledger.down = True
    report_failure(failed())
    ports.ledger.down = False
    assert ports.incidents.read() == []
