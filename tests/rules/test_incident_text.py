"""A message about one incident says everything; about several it lists the worst first and counts the rest."""

from __future__ import annotations

from datetime import timedelta

from pipelines.rules.incident_text import SHOWN_LINES, full_text, headline, notice, since
from pipelines.spec.alerts import AlertsSpec
from tests.rules.test_incidents import NOW, opened

POLICY = AlertsSpec()


def test_of_several_events_of_one_incident_the_last_one_is_told() -> None:
    told = [(opened(), "opened"), (opened(status="resolved", resolved=NOW), "resolved")]
    made = notice("log", 4, told, POLICY, "")  # type: ignore[arg-type]
    assert (made.id, made.title, made.events) == ("log-4", "[warning] resolved: churn: price broke", ("resolved",))


def test_a_digest_lists_the_worst_first_and_counts_the_others() -> None:
    incidents = [opened(number=number, severity="critical" if number == 30 else "info") for number in range(1, 31)]
    made = notice("log", 1, [(incident, "opened") for incident in incidents], POLICY, "")
    lines = made.body.splitlines()
    assert made.title == "[critical] churn: 30 incidents"
    assert lines[0].startswith("30  [critical]")
    assert lines[SHOWN_LINES] == "and 10 more"
    assert lines[-1] == "All of them: airworthy incidents --model churn"
    assert len(made.incidents) == 30


def test_a_headline_is_one_line() -> None:
    assert headline(opened(what="a\n  b"), "worse") == "[warning] worse: churn: a b"


def test_since_says_how_often_it_was_seen_and_came_back() -> None:
    assert since(opened()) == "2026-11-02 07:00 UTC"
    again = opened(count=3, last_seen=NOW + timedelta(hours=1), reopened=(NOW,))
    assert since(again) == "2026-11-02 07:00 UTC, seen 3 times, last 2026-11-02 08:00 UTC; it came back once"


def test_what_the_system_did_is_told_or_that_it_did_nothing() -> None:
    assert "Done already: version 2 answers" in full_text(opened(done="version 2 answers"), POLICY, "")
    assert "Done already: nothing was changed" in full_text(opened(done=""), POLICY, "")


def test_who_took_it_is_told_and_nobody_else_is_asked_to() -> None:
    taken = opened(status="acknowledged", acknowledged_by="ada", acknowledged_because="asking")
    text = full_text(taken, POLICY, "")
    assert "Acknowledged: by ada: asking" in text
    assert "Take it" not in text
    assert 'Take it: airworthy incidents ack 7 --why "…"' in full_text(opened(), POLICY, "")
