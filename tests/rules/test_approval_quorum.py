"""Who agreed to what decides; the edges first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.messages.approval import ApprovalAnswer
from pipelines.messages.rollout import RolloutTicket
from pipelines.rules.approval_quorum import judge_quorum, missing_approvers
from pipelines.spec.deployment import Approval
from pipelines.verdict import Outcome

NOW = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)
TICKET = RolloutTicket(
    model="flight_delay",
    version="3",
    rollout_id="r3",
    champion="2",
    bundle="memory://bundles/3",
    sha256="b" * 64,
    model_digest="a" * 64,
)
TWO_ROLES = {
    "approvers": [{"role": "ml_lead", "users": ["ada", "grace"]}, {"role": "compliance", "users": ["mary", "ada"]}]
}
TWO_OF_ONE = {"approvers": [{"role": "ml_lead", "users": ["ada", "grace", "mary"], "count": 2}]}


def answer(role: str, person: str | None, **changes: Any) -> ApprovalAnswer:
    given = {
        "role": role,
        "slot": 0,
        "choice": "approve",
        "person": person,
        "name": person,
        "at": NOW,
        "until": NOW + timedelta(hours=1),
        "rollout_id": "r3",
        "model_digest": "a" * 64,
        "sha256": "b" * 64,
        "form": "f" * 64,
        "request": "c" * 64,
    }
    return ApprovalAnswer.model_validate(given | changes)


MARY = answer("compliance", "mary")
ADA = answer("ml_lead", "ada")


@pytest.mark.parametrize(
    ("declared", "answers", "authors", "reasons"),
    [
        pytest.param(TWO_ROLES, [ADA, MARY], [], [], id="one of each role"),
        pytest.param(TWO_ROLES, [ADA, MARY], ["joe"], [], id="a stranger trained it"),
        pytest.param(TWO_OF_ONE, [ADA, answer("ml_lead", "mary")], [], [], id="two of one role"),
        pytest.param(
            TWO_ROLES | {"approval_count": 1}, [ADA, answer("compliance", "ada")], [], [], id="one may stand for both"
        ),
        pytest.param(
            TWO_ROLES,
            [ADA, answer("compliance", "ada")],
            [],
            ["1 different people approved; 2 are needed"],
            id="one person in two roles",
        ),
        pytest.param(
            TWO_OF_ONE,
            [ADA, ADA],
            [],
            ["ada answered for ml_lead more than once", "ml_lead: 1 of 2", "1 different people"],
            id="one person twice",
        ),
        pytest.param(
            TWO_ROLES,
            [answer("ml_lead", "ada", choice="reject", comment="slices look odd"), MARY],
            [],
            ["ada rejected for ml_lead: slices look odd", "ml_lead: 0 of 1", "1 different people"],
            id="a no",
        ),
        pytest.param(
            TWO_ROLES,
            [answer("ml_lead", None, choice="expired"), MARY],
            [],
            ["nobody answered for ml_lead until 2026-11-02 08:00 UTC", "ml_lead: 0 of 1", "1 different"],
            id="silence",
        ),
        pytest.param(
            TWO_ROLES,
            [answer("ml_lead", "ada", at=NOW + timedelta(hours=2)), MARY],
            [],
            ["ada for ml_lead: answered at 2026-11-02 09:00, after", "ml_lead: 0 of 1", "1 different"],
            id="too late",
        ),
        pytest.param(
            TWO_ROLES,
            [ADA, MARY],
            ["ada"],
            ["ada for ml_lead: a person who trained or started it", "ml_lead: 0 of 1", "1 different"],
            id="the author",
        ),
        pytest.param(
            TWO_ROLES,
            [answer("ml_lead", "ada", name="Ada L."), MARY],
            ["Ada L."],
            ["a person who trained or started it", "ml_lead: 0 of 1", "1 different"],
            id="the author by another name",
        ),
        pytest.param(
            TWO_ROLES,
            [answer("ml_lead", "mallory"), MARY],
            [],
            ["mallory for ml_lead: only ada, grace may answer", "ml_lead: 0 of 1", "1 different"],
            id="somebody who is not named",
        ),
        pytest.param(
            TWO_ROLES,
            [answer("ml_lead", None), MARY],
            [],
            ["an unnamed person for ml_lead: only ada, grace", "ml_lead: 0 of 1", "1 different"],
            id="an answer without a person",
        ),
        pytest.param(
            TWO_ROLES,
            [answer("owner", "ada"), MARY],
            [],
            ["ada for owner: no such role", "ml_lead: 0 of 1", "1 different"],
            id="a role that is not declared",
        ),
        pytest.param(
            TWO_ROLES,
            [answer("ml_lead", "ada", model_digest="9" * 64), MARY],
            [],
            ["the answer is about model 9999999999999999, not aaaaaaaaaaaaaaaa", "ml_lead: 0 of 1", "1 different"],
            id="another model file",
        ),
        pytest.param(
            TWO_ROLES,
            [answer("ml_lead", "ada", sha256="9" * 64, rollout_id="r2"), MARY],
            [],
            [
                "the answer is about bundle 9999",
                "the answer is about rollout r2, not r3",
                "ml_lead: 0 of 1",
                "1 different",
            ],
            id="another bundle of another rollout",
        ),
        pytest.param(
            TWO_ROLES,
            [],
            [],
            ["ml_lead: 0 of 1", "compliance: 0 of 1", "0 different people approved; 2 are needed"],
            id="no answers at all",
        ),
    ],
)
def test_the_quorum_lists_every_reason(
    declared: dict[str, Any], answers: list[ApprovalAnswer], authors: list[str], reasons: list[str]
) -> None:
    verdict = judge_quorum(TICKET, Approval.model_validate(declared), answers, authors=authors)
    assert verdict.outcome is (Outcome.FAIL if reasons else Outcome.PASS)
    assert len(verdict.reasons) == len(reasons), verdict.reasons
    assert all(wanted in told for wanted, told in zip(reasons, verdict.reasons, strict=True)), verdict.reasons


def test_a_full_count_of_answers_that_are_not_as_recorded_is_no_quorum() -> None:
    declared = Approval.model_validate(TWO_ROLES)
    verdict = judge_quorum(TICKET, declared, [ADA, MARY], authors=[], faults=["an answer is not on the ledger"])
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reasons == ("an answer is not on the ledger",)


def test_the_facts_name_the_people() -> None:
    facts = judge_quorum(TICKET, Approval.model_validate(TWO_ROLES), [ADA, MARY], authors=["joe"]).facts
    assert facts["people"] == ["ada", "mary"]
    assert facts["agreed"] == {"ml_lead": ["ada"], "compliance": ["mary"]}


@pytest.mark.parametrize(
    ("declared", "authors", "reasons"),
    [
        (TWO_ROLES, [], []),
        (TWO_ROLES, ["grace"], []),
        (TWO_OF_ONE, ["grace", "mary"], ["ml_lead needs 2 and has ada", "without grace, mary, who trained"]),
        (TWO_ROLES, ["ada", "grace"], ["ml_lead needs 1 and has nobody", "without ada, grace, who trained"]),
        (TWO_ROLES, ["mary", "grace"], ["2 different people must approve, but only 1 may", "without grace, mary"]),
    ],
)
def test_nobody_is_asked_where_too_few_could_answer(
    declared: dict[str, Any], authors: list[str], reasons: list[str]
) -> None:
    found = missing_approvers(Approval.model_validate(declared), authors)
    assert len(found) == len(reasons), found
    assert all(told.startswith(wanted) for wanted, told in zip(reasons, found, strict=True)), found


def test_who_cannot_answer_is_left_out_with_the_reason() -> None:
    unable = {"grace": "is not a user of Airflow", "joe": "is not named by any role"}
    declared = Approval.model_validate(TWO_ROLES)
    assert missing_approvers(declared, [], unable) == []
    reasons = missing_approvers(declared, ["ada"], unable)
    assert reasons[0] == "ml_lead needs 1 and has nobody"
    assert reasons[1] == "grace is not a user of Airflow"
    assert reasons[2].startswith("without ada, who trained or started it; name more people")
    assert len(reasons) == 3


CROSSED = {
    "approvers": [
        {"role": "ml_lead", "users": ["ada", "grace"]},
        {"role": "compliance", "users": ["ada", "grace"]},
        {"role": "owner", "users": ["joe", "mary", "max"]},
    ]
}
"""Five people are named, and three are needed; without grace ada is the only one of two roles."""


def test_one_person_who_alone_is_left_for_two_roles_is_not_counted_twice() -> None:
    declared = Approval.model_validate(CROSSED)
    assert missing_approvers(declared, []) == []
    assert missing_approvers(declared, ["grace"])[0] == "3 different people must approve, but only 2 may"


def test_an_answer_at_the_last_moment_counts() -> None:
    late = answer("ml_lead", "ada", at=NOW + timedelta(hours=1))
    assert judge_quorum(TICKET, Approval.model_validate(TWO_ROLES), [late, MARY], authors=[]).passed
