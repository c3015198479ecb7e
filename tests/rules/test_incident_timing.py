"""What time makes of an incident, by table: escalation, deadline, end by silence, inhibition, settling."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from pipelines.messages.incident import Incident
from pipelines.rules.incident_kinds import INSTALLATION, KINDS
from pipelines.rules.incident_text import since
from pipelines.rules.incident_timing import find_cause, judge_time
from pipelines.rules.incidents import IncidentChange
from pipelines.spec.alerts import INCIDENT_KINDS, AlertsSpec
from tests.rules.test_incidents import NOW, opened

POLICY = AlertsSpec()


def after(
    incident: Incident, *, newest: date | None = None, active: tuple[int, ...] = (), **delta: float
) -> IncidentChange | None:
    return judge_time(incident, POLICY, NOW + timedelta(**delta), active=active, newest_day=newest)


def test_every_kind_is_described_and_causes_known_kinds() -> None:
    assert set(KINDS) == set(INCIDENT_KINDS)
    assert {cause for kind in KINDS.values() for cause in kind.causes} <= set(KINDS)


@pytest.mark.parametrize(
    ("severity", "minutes", "event"),
    [
        ("critical", 14.9, None),
        ("critical", 15, "escalated"),
        ("warning", 15, None),
        ("warning", 24 * 60, "escalated"),
        ("info", 24 * 60, None),
    ],
)
def test_what_nobody_took_is_told_again_in_time(severity: str, minutes: float, event: str | None) -> None:
    change = after(opened(severity=severity), minutes=minutes)
    assert (change and change.event) == event


def test_the_wait_doubles_with_each_escalation() -> None:
    incident = opened(severity="critical", escalations=1)
    assert after(incident, minutes=29) is None
    change = after(incident, minutes=30)
    assert change is not None
    assert change.incident.escalations == 2


@pytest.mark.parametrize(
    "held", [{"status": "acknowledged"}, {"status": "resolved"}, {"told": False}, {"inhibited_by": 3}]
)
def test_what_is_taken_over_or_held_back_does_not_escalate(held: dict[str, Any]) -> None:
    assert after(opened(severity="critical", **held), active=(3,), days=3) is None


def test_a_deadline_is_told_when_a_quarter_of_the_time_is_left() -> None:
    incident = opened(kind="approval_waiting", severity="info", deadline=NOW + timedelta(hours=4))
    assert after(incident, hours=2.9) is None
    change = after(incident, hours=3)
    assert change is not None
    assert (change.event, change.incident.severity) == ("worse", "critical")
    assert after(change.incident, hours=3.1) is None


@pytest.mark.parametrize(
    ("held", "minutes"),
    [
        ({"inhibited_by": 3, "told": False}, 60),
        ({"day": date(2013, 3, 1), "told": False, "quiet_until": NOW + timedelta(minutes=60)}, 60),
        ({"kind": "approval_waiting", "severity": "warning", "deadline": NOW + timedelta(hours=1)}, 45),
    ],
)
def test_what_is_told_late_keeps_the_time_at_which_it_began_and_escalates_from_when_it_was_told(
    held: dict[str, Any], minutes: float
) -> None:
    incident = opened(**{"severity": "critical", **held})
    change = after(incident, newest=date(2013, 3, 1), minutes=minutes)
    assert change is not None
    told = change.incident
    assert (told.opened, told.announced) == (incident.opened, NOW + timedelta(minutes=minutes))
    assert since(told) == since(incident)
    assert after(told, minutes=minutes + 14) is None
    escalated = after(told, minutes=minutes + 15)
    assert escalated is not None
    assert escalated.event == "escalated"


def test_what_nothing_says_is_well_again_ends_after_a_silent_week() -> None:
    incident = opened(kind="rollback", severity="info")
    assert after(incident, days=6.9) is None
    change = after(incident, days=7)
    assert change is not None
    assert (change.event, change.incident.status) == ("resolved", "resolved")


def test_history_ends_at_once_and_nobody_hears_of_it() -> None:
    change = after(opened(is_history=True, told=False))
    assert change is not None
    assert (change.event, change.incident.status) == (None, "resolved")


def test_an_incident_speaks_once_its_cause_is_over() -> None:
    incident = opened(inhibited_by=3, told=False)
    assert after(incident, active=(3,), minutes=1) is None
    change = after(incident, minutes=1)
    assert change is not None
    assert (change.event, change.incident.inhibited_by, change.incident.told) == ("opened", None, True)


def test_the_newest_day_of_a_replay_is_told_when_it_has_settled_and_any_other_becomes_history() -> None:
    day = date(2013, 3, 1)
    incident = opened(day=day, told=False, quiet_until=NOW + timedelta(seconds=60))
    assert after(incident, newest=day, seconds=59) is None
    settled = after(incident, newest=day, seconds=60)
    assert settled is not None
    assert settled.event == "opened"
    passed = after(incident, newest=date(2013, 3, 2), seconds=10)
    assert passed is not None
    assert (passed.event, passed.incident.is_history) == (None, True)


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        ({"model": "shop", "kind": "data_refused"}, 1),
        ({"model": "churn", "kind": "data_refused"}, 1),
        ({"model": INSTALLATION, "kind": "airflow_silent"}, None),
        ({"model": INSTALLATION, "kind": "data_refused"}, 1),
        ({"model": "elsewhere", "kind": "data_refused"}, None),
        ({"model": "shop", "kind": "gate_no"}, None),
        ({"model": "shop", "kind": "data_refused", "status": "resolved"}, None),
        ({"model": "shop", "kind": "data_refused", "inhibited_by": 9}, None),
        ({"model": "shop", "kind": "data_refused", "is_history": True}, None),
    ],
)
def test_an_incident_of_the_model_its_dataset_or_the_installation_explains_what_it_causes(
    cause: dict[str, Any], expected: int | None
) -> None:
    assert find_cause(opened(), [opened(number=1, **cause)], {"churn": "shop"}) == expected


def test_a_cause_that_has_no_number_yet_is_not_named() -> None:
    causes = [opened(number=number, model="shop", kind="data_refused") for number in (None, 1)]
    assert find_cause(opened(), causes, {"churn": "shop"}) == 1


def test_an_incident_is_no_cause_of_itself() -> None:
    incident: Incident = opened()
    assert find_cause(incident, [incident], {}) is None
    assert isinstance(incident.opened, datetime)
