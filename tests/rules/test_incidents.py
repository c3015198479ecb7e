"""What a finding makes of an incident, by table: opened once, repeated silently, worse, over, flapping, history."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import Refused
from pipelines.messages.incident import Finding, Incident
from pipelines.rules.incidents import IncidentChange, acknowledge, is_flapping, judge_finding
from pipelines.spec.alerts import AlertsSpec

NOW = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)
POLICY = AlertsSpec()
YESTERDAY = date(2026, 11, 1)


def finding(**changes: Any) -> Finding:
    usual = {"model": "churn", "kind": "drift_fault", "subject": "price", "firing": True, "at": NOW}
    return Finding.model_validate({**usual, "severity": "warning", "what": "price broke", **changes})


def opened(**changes: Any) -> Incident:
    change = judge_finding(finding(), None, POLICY, None)
    assert change is not None
    return change.incident.model_copy(update={"number": 7, **changes})


def judged(incident: Incident | None, newest: date | None = None, **changes: Any) -> IncidentChange | None:
    return judge_finding(finding(**changes), incident, POLICY, newest)


def test_a_first_finding_opens_an_incident_and_is_told() -> None:
    change = judged(None)
    assert change is not None
    assert (change.event, change.incident.status, change.incident.count, change.incident.told) == (
        "opened",
        "open",
        1,
        True,
    )


def test_the_same_finding_again_is_counted_and_told_nobody() -> None:
    change = judged(opened(), at=NOW + timedelta(hours=1), what="price broke again")
    assert change is not None
    assert (change.event, change.incident.count, change.incident.number) == (None, 2, 7)
    assert change.incident.what == "price broke again"
    assert change.incident.opened == NOW


def test_a_worse_finding_is_told_and_takes_the_acknowledgement_back() -> None:
    change = judged(opened(status="acknowledged"), severity="critical")
    assert change is not None
    assert (change.event, change.incident.status, change.incident.severity) == ("worse", "open", "critical")


@pytest.mark.parametrize("held", [{"inhibited_by": 3}, {"quiet_until": NOW + timedelta(minutes=1)}])
def test_a_worse_finding_of_an_incident_that_is_held_back_is_not_told(held: dict[str, Any]) -> None:
    change = judged(opened(**held), severity="critical")
    assert change is not None
    assert (change.event, change.incident.severity) == (None, "critical")


def test_a_less_severe_finding_does_not_make_an_incident_harmless() -> None:
    change = judged(opened(severity="critical"), severity="info")
    assert change is not None
    assert (change.event, change.incident.severity) == (None, "critical")


def test_what_is_well_again_resolves_and_those_who_were_told_hear_it() -> None:
    change = judged(opened(), firing=False)
    assert change is not None
    assert (change.event, change.incident.status, change.incident.resolved) == ("resolved", "resolved", NOW)


def test_an_end_of_which_nobody_heard_the_beginning_is_not_told() -> None:
    change = judged(opened(told=False), firing=False)
    assert change is not None
    assert change.event is None


@pytest.mark.parametrize("incident", [None, opened(status="resolved", resolved=NOW)])
def test_what_is_well_changes_nothing_where_nothing_was_wrong(incident: Incident | None) -> None:
    assert judged(incident, firing=False) is None


def test_an_earlier_day_that_is_well_does_not_resolve_a_later_one_that_is_not() -> None:
    assert judged(opened(day=YESTERDAY), firing=False, day=YESTERDAY - timedelta(days=1)) is None
    assert judged(opened(day=YESTERDAY), firing=False, day=YESTERDAY) is not None


@pytest.mark.parametrize(("hours", "number"), [(23, 7), (25, None)])
def test_what_comes_back_within_a_day_is_the_same_incident(hours: int, number: int | None) -> None:
    incident = opened(status="resolved", resolved=NOW, acknowledged_by="ada", escalations=2)
    change = judged(incident, at=NOW + timedelta(hours=hours))
    assert change is not None
    assert (change.incident.number, change.event) == (number, "opened")
    assert (change.incident.acknowledged_by, change.incident.escalations) == (None, 0)


def test_an_incident_that_comes_and_goes_is_told_three_times_and_then_no_more_until_it_is_quiet() -> None:
    incident, events, at = None, [], NOW
    for _ in range(10):
        for firing in (True, False):
            at += timedelta(minutes=1)
            change = judged(incident, firing=firing, at=at)
            assert change is not None
            incident = change.incident.model_copy(update={"number": 7})
            events.append(change.event)
    assert [event for event in events if event] == ["opened", "resolved"] * 3
    later = judged(incident, at=at + timedelta(hours=2))
    assert later is not None
    assert later.event == "opened"


def test_a_day_of_long_ago_is_history_and_told_nobody() -> None:
    change = judged(None, newest=YESTERDAY, day=date(2026, 1, 5), severity="critical")
    assert change is not None
    assert (change.event, change.incident.is_history, change.incident.severity) == (None, True, "info")
    assert change.incident.quiet_until is None


def test_the_newest_day_of_old_data_is_told_once_it_stays_the_newest() -> None:
    change = judged(None, newest=date(2013, 3, 1), day=date(2013, 3, 1))
    assert change is not None
    assert (change.event, change.incident.quiet_until) == (None, NOW + timedelta(seconds=POLICY.settle_seconds))
    again = judged(change.incident, newest=date(2013, 3, 2), day=date(2013, 3, 2), at=NOW + timedelta(seconds=30))
    assert again is not None
    assert again.incident.quiet_until == NOW + timedelta(seconds=30 + POLICY.settle_seconds)


def test_a_day_of_the_last_two_weeks_is_told_at_once() -> None:
    change = judged(None, newest=YESTERDAY, day=YESTERDAY - timedelta(days=10))
    assert change is not None
    assert change.event == "opened"


def test_history_says_nothing_about_an_incident_of_today() -> None:
    incident = opened(day=YESTERDAY)
    change = judged(incident, newest=YESTERDAY, day=date(2026, 1, 5), severity="critical", what="long ago")
    assert change is not None
    assert (change.event, change.incident.what, change.incident.severity) == (None, "price broke", "warning")


def test_an_acknowledgement_names_the_person_and_the_reason() -> None:
    change = acknowledge(opened(), "ada", "asking the weather service")
    assert change.event == "acknowledged"
    assert (change.incident.acknowledged_by, change.incident.status) == ("ada", "acknowledged")


@pytest.mark.parametrize("status", ["resolved", "acknowledged"])
def test_what_is_over_or_taken_cannot_be_taken(status: str) -> None:
    taken = {"acknowledged_by": "ada", "acknowledged_because": "mine", "resolved": NOW}
    with pytest.raises(Refused, match="incident 7 is"):
        acknowledge(opened(status=status, **taken), "bob", "mine, too")


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 180)), max_size=40))
def test_however_it_comes_and_goes_nobody_hears_an_end_without_a_beginning(steps: list[tuple[bool, int]]) -> None:
    incident, at, told = None, NOW, False
    for firing, minutes in steps:
        at += timedelta(minutes=minutes)
        change = judged(incident, firing=firing, at=at)
        if change is None:
            continue
        incident = change.incident.model_copy(update={"number": 7})
        if change.event == "opened":
            assert not told
            told = True
        elif change.event == "resolved":
            assert told
        told = told and incident.is_active
        assert incident.is_active is firing
        if change.event == "opened":
            assert not is_flapping(incident, POLICY, at)
