"""A certificate names who approved, as what and with which comment, and finds a count that no answer bears."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.ledger.certificate import check_lines, collect_certificate
from pipelines.ledger.people import answer_texts, approver_names, quorum_faults
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.ports import LedgerEntry
from pipelines.testing.ports import MemoryLedger

IDS = {"rollout_id": "r", "model_digest": "a" * 64, "sha256": "b" * 64}
Lines = list[tuple[str, dict[str, Any]]]


def answer(person: str | None, role: str, choice: str = "approve", **more: Any) -> tuple[str, dict[str, Any]]:
    given = {"role": role, "choice": choice, "person": person, "name": person, "at": "2013-03-02T10:11:12Z"}
    return "approval_answer", {**IDS, **given, "comment": "", **more}


def count(*people: str, outcome: str = "pass") -> tuple[str, dict[str, Any]]:
    return "approval_quorum", {**IDS, "people": list(people), "outcome": outcome}


ASKED = ("approval_request", {**IDS, "role": "ml_lead", "slot": 0})
RELEASED = ("release", {**IDS})


def written(lines: Lines) -> list[LedgerEntry]:
    ledger = MemoryLedger()
    for kind, details in lines:
        ledger.append(kind, "m", "1", details, actor="airworthy")
    return ledger.entries()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (answer("ada", "ml_lead"), "ada approved as ml_lead on 2013-03-02 10:11 UTC (line 1)"),
        (
            answer("ada", "ml_lead", comment=" watch\n JFK "),
            'ada approved as ml_lead on 2013-03-02 10:11 UTC: "watch JFK" (line 1)',
        ),
        (answer("7", "ml_lead", name="Ada L."), "7 (Ada L.) approved as ml_lead on 2013-03-02 10:11 UTC (line 1)"),
        (answer(None, "ml_lead"), "an unnamed person approved as ml_lead on 2013-03-02 10:11 UTC (line 1)"),
        (answer("joe", "risk", "reject"), "joe rejected it as risk on 2013-03-02 10:11 UTC (line 1)"),
        (answer(None, "risk", "expired"), "nobody answered as risk in time (line 1)"),
        (answer("joe", "risk", "maybe", at="soon"), "joe answered 'maybe' as risk on soon (line 1)"),
    ],
)
def test_an_answer_names_person_role_time_and_comment(given: tuple[str, dict[str, Any]], text: str) -> None:
    assert answer_texts(written([given])) == [text]


def test_who_approved_is_listed_once_with_the_role() -> None:
    lines = written([answer("ada", "ml_lead"), answer("joe", "risk", "reject"), answer("ada", "ml_lead")])
    assert approver_names(lines) == ["ada (ml_lead)"]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([ASKED, answer("ada", "ml_lead"), count("ada"), RELEASED], None),
        ([RELEASED], None),
        ([ASKED, answer("ada", "ml_lead"), RELEASED], "line 3 released it before the answers were counted"),
        ([ASKED, answer("ada", "ml_lead", "reject"), count(outcome="fail"), RELEASED], "line 4 released it although"),
        ([ASKED, answer("ada", "ml_lead"), count("ada", "joe"), RELEASED], "line 3 counts joe, of whom the ledger has"),
        ([ASKED, answer("ada", "ml_lead", "reject"), count("ada"), RELEASED], "line 3 counts ada"),
        ([ASKED, answer("ada", "ml_lead", sha256="c" * 64), count("ada"), RELEASED], "line 3 counts ada"),
        ([ASKED, answer("ada", "ml_lead", model_digest="c" * 64), count("ada"), RELEASED], "line 3 counts ada"),
        ([ASKED, count("ada"), RELEASED, answer("ada", "ml_lead")], "line 2 counts ada"),
        ([ASKED, answer("ada", "ml_lead", rollout_id="q"), count("ada"), RELEASED], "line 3 counts ada"),
    ],
)
def test_a_release_is_borne_by_the_answers_that_were_counted(lines: Lines, fault: str | None) -> None:
    faults = quorum_faults(written(lines))
    assert len(faults) == (fault is not None)
    assert fault is None or fault in faults[0]


def whole() -> Lines:
    """What an approval rests on."""
    gates: Lines = [("gate", {"gate": name, "outcome": "pass", "model_digest": "a" * 64}) for name in REQUIRED_GATES]
    trained = ("training", {"model_digest": "a" * 64})
    return [trained, *gates, ("approval", {"semantic_version": "1.0.0", "model_digest": "a" * 64})]


def checks(lines: Lines) -> dict[str, tuple[str, str]]:
    certificate = collect_certificate("m", "1", written(lines))
    return {check.name: (check.state, check.detail) for check in check_lines(certificate)}


def test_the_certificate_names_the_people_and_not_the_program_that_wrote_the_line() -> None:
    answers = [answer("ada", "ml_lead", comment="watch JFK"), answer("mary", "compliance")]
    found = checks([ASKED, *answers, count("ada", "mary"), RELEASED])
    ada = 'ada approved as ml_lead on 2013-03-02 10:11 UTC: "watch JFK" (line 2)'
    assert found["people"] == ("ok", f"{ada}; mary approved as compliance on 2013-03-02 10:11 UTC (line 3)")
    assert "approved by ada (ml_lead), mary (compliance)" in checks([*whole(), ASKED, *answers])["approval"][1]


def test_a_request_without_an_answer_fails_and_a_version_that_nobody_was_asked_about_has_no_such_check() -> None:
    assert checks([ASKED])["people"] == ("FAIL", "nobody has answered yet")
    assert "people" not in checks([])
