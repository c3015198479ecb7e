"""Requests and their count, on a screen that keeps what it was given as Airflow's does; Airflow itself is in
``tests/e2e/test_approvals.py``."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import HITLDetailRequestResult

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.rollout import RolloutTicket
from pipelines.spec.deployment import Deployment
from pipelines.testing.rollout_target import FakeTarget
from practices._approvals.request import ApprovalRequest
from practices._deploy.approvals import ask_approvers
from practices.approval_quorum import ApprovalQuorum
from tests.practices.practice_harness import MODEL, PracticeHarness

TICKET = RolloutTicket(
    model=MODEL,
    version="3",
    rollout_id="r3",
    champion="2",
    bundle="memory://bundles/3",
    sha256="b" * 64,
    model_digest="a" * 64,
)
APPROVAL = {
    "approvers": [{"role": "ml_lead", "users": ["ada", "grace"]}, {"role": "compliance", "users": ["mary"]}],
    "timeout": 3600,
}
PLAN = {"strategy": "canary", "lease_seconds": 900.0, "guard": {"max_error_rate": 0.01}}


class Screen:
    """Keeps the first request of each task instance, whatever comes later, as Airflow does."""

    def __init__(self) -> None:
        self.requests: dict[uuid.UUID, Any] = {}

    def send(self, asked: Any) -> HITLDetailRequestResult:
        kept = self.requests.setdefault(asked.ti_id, asked)
        return HITLDetailRequestResult.model_validate(kept.model_dump(exclude={"type"}))


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    made = Screen()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", made, raising=False)
    return made


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PracticeHarness:
    made = PracticeHarness.open(tmp_path, monkeypatch)
    made.declare(deployment=Deployment.model_validate({"strategy": "canary", "approval": APPROVAL}))
    made.registry.add("2", model_digest="9" * 64, semantic_version="1.0.0")
    made.registry.add("3", model_digest="a" * 64, semantic_version="1.1.0", requested_by="joe", snapshot="5" * 64)
    for version, seed in (("2", 2013), ("3", 7)):
        made.ledger.append("training", MODEL, version, {"seed": seed, "snapshot": "5" * 64}, actor="airworthy")
    made.rollouts = FakeTarget("2")
    state = made.rollouts.rollout(MODEL)
    state = made.rollouts.create_rollout(MODEL, "r3", PLAN, expect=state.generation, key="1")
    made.rollouts.prepare(MODEL, "r3", "3", TICKET.bundle, TICKET.sha256, expect=state.generation, key="2")
    floor = {"gate": "minimum_metrics_gate", "model_digest": "a" * 64, "outcome": "pass", "reasons": []}
    made.ledger.append("gate", MODEL, "3", floor | {"facts": {"roc_auc": 0.70123}}, actor="airworthy")
    made.ledger.append("approval", MODEL, "2", {"semantic_version": "1.0.0"}, actor="airworthy")
    approval = {"semantic_version": "1.1.0", "follows": "1.0.0", "changes": ["minor: max_depth 6 to 7"]}
    made.ledger.append("approval", MODEL, "3", approval | {"model_digest": "a" * 64}, actor="airworthy")
    loaded = {"rule": "load_test", "outcome": "pass", "reasons": [], "facts": {"p95_ms": 12.5}}
    key = f"{MODEL}__deploy/manual__1/test_under_load/-1/0/x"
    made.ledger.append("rollout", MODEL, "3", loaded | {"model_digest": "a" * 64}, actor="airworthy", key=key)
    return made


class Request:
    """One request of a run, on its way from being asked to being answered."""

    def __init__(
        self, harness: PracticeHarness, slot: int, role: str, *, ticket: RolloutTicket = TICKET, **run: Any
    ) -> None:
        harness.pass_checklist(ticket, **{name: value for name, value in run.items() if name == "run"})
        self.operator = ApprovalRequest(
            task_id="request_approvals",
            model=MODEL,
            ticket=ticket.model_dump(mode="json", by_alias=True),
            role=role,
            response_timeout=timedelta(hours=1),
        )
        self.field, self.context = harness, harness.context("deploy", "request_approvals", **run)
        self.context["ti"].map_index, self.context["ti"].id = slot, uuid.uuid4()

    def ask(self) -> TaskAwaitingInput:
        with pytest.raises(TaskAwaitingInput) as parked:
            self.operator.execute(self.context)
        self.request = (parked.value.kwargs or {})["request"]
        return parked.value

    def answer(self, person: str | None, choice: str = "Approve", *, after: float = 60, comment: str = "") -> Any:
        event = {
            "chosen_options": [choice],
            "params_input": {"comment": comment},
            "responded_at": self.field.clock() + timedelta(seconds=after),
            "responded_by_user": {"id": person, "name": person} if person else None,
        }
        return self.operator.execute_complete(self.context, event, self.request)

    def expire(self) -> Any:
        event = {"error": "The time has passed without a response.", "error_type": "timeout"}
        return self.operator.execute_complete(self.context, event, self.request)


def asked(harness: PracticeHarness, slot: int, role: str, **run: Any) -> Request:
    made = Request(harness, slot, role, **run)
    made.ask()
    return made


def both(harness: PracticeHarness, **run: Any) -> list[Any]:
    return [asked(harness, 0, "ml_lead", **run).answer("ada"), asked(harness, 1, "compliance", **run).answer("mary")]


def count(harness: PracticeHarness, answers: Any, *, ticket: RolloutTicket = TICKET, **run: Any) -> Any:
    harness.pass_checklist(ticket, **{name: value for name, value in run.items() if name == "run"})
    quorum = ApprovalQuorum(
        task_id="count", model=MODEL, ticket=ticket.model_dump(mode="json", by_alias=True), answers=answers
    )
    context = harness.context("deploy", "count_approvals", **run)
    try:
        return quorum.execute(context)
    finally:
        harness.reasons = context["pushed"].get("reasons")  # type: ignore[attr-defined]


def test_two_named_people_let_the_candidate_on_and_the_ledger_says_who(
    harness: PracticeHarness, screen: Screen
) -> None:
    assert count(harness, both(harness))["outcome"] == "pass"
    [(version, verdict)] = harness.lines("approval_quorum")
    assert version == "3"
    assert verdict["people"] == ["ada", "mary"]
    assert (verdict["model_digest"], verdict["sha256"], verdict["outcome"]) == ("a" * 64, "b" * 64, "pass")
    said = [
        (line.actor, line.details["role"], line.details["choice"])
        for line in harness.ledger.entries(kind="approval_answer")
    ]
    assert said == [("ada", "ml_lead", "approve"), ("mary", "compliance", "approve")]


def test_a_person_whom_airflow_numbers_counts_by_the_log_in_name(harness: PracticeHarness, screen: Screen) -> None:
    """As FAB does."""
    requests = [asked(harness, 0, "ml_lead"), asked(harness, 1, "compliance")]
    answers = []
    for number, (request, name) in enumerate(zip(requests, ("ada", "mary"), strict=True)):
        event = {
            "chosen_options": ["Approve"],
            "params_input": {},
            "responded_at": harness.clock(),
            "responded_by_user": {"id": f"{number}", "name": name},
        }
        answers.append(request.operator.execute_complete(request.context, event, request.request))
    assert count(harness, answers)["outcome"] == "pass"
    assert harness.lines("approval_quorum")[-1][1]["people"] == ["ada", "mary"]


def test_a_number_that_is_declared_as_a_name_is_not_taken_for_it(harness: PracticeHarness, screen: Screen) -> None:
    request = asked(harness, 0, "ml_lead")
    event = {
        "chosen_options": ["Approve"],
        "params_input": {},
        "responded_at": harness.clock(),
        "responded_by_user": {"id": "7", "name": "mallory"},
    }
    answers = [request.operator.execute_complete(request.context, event, request.request)]
    answers.append(asked(harness, 1, "compliance").answer("mary"))
    with pytest.raises(AirflowSkipException, match="7 for ml_lead: only ada, grace may answer"):
        count(harness, answers)


def test_each_role_is_asked_by_as_many_requests_as_it_has_answers_to_give(harness: PracticeHarness) -> None:
    approval = {"approvers": [{"role": "ml_lead", "users": ["ada", "grace"], "count": 2}], "timeout": 60}
    spec = harness.declare(deployment=Deployment.model_validate({"approval": approval}))
    requests = ask_approvers(spec, TICKET.model_dump(mode="json", by_alias=True))
    assert requests.task_id == "request_approvals"
    assert requests.expand_input.value == {"role": ["ml_lead", "ml_lead"]}
    assert requests.partial_kwargs["response_timeout"] == timedelta(seconds=60)


def test_the_form_shows_the_metrics_of_both_evaluations_whatever_the_registry_says(
    harness: PracticeHarness, screen: Screen
) -> None:
    for version, digest, measured in (("2", "9", 0.68), ("3", "a", 0.7)):
        evaluated = {"gate": "candidate_evaluation", "outcome": "pass", "model_digest": digest * 64}
        evaluated |= {"facts": {"metrics": {"roc_auc": measured}}}
        harness.ledger.append("gate", MODEL, version, evaluated, actor="airworthy")
        edited = harness.registry.get(MODEL, version).model_copy(update={"metrics": {"test_roc_auc": 0.99}})
        harness.registry._versions[MODEL][version] = edited
    asked(harness, 0, "ml_lead")
    [request] = screen.requests.values()
    assert "| roc_auc | 0.7 | 0.68 |" in request.body
    assert "0.99" not in request.body


def test_the_form_shows_digests_changes_gates_and_what_was_tried(harness: PracticeHarness, screen: Screen) -> None:
    asked(harness, 0, "ml_lead")
    [request] = screen.requests.values()
    assert request.subject == "ml_lead: release flight_delay 3 (1.1.0) in place of 2 (1.0.0)?"
    shown = ["a" * 64, "b" * 64, "seed 7 instead of 2013", "0.7012", "p95 ms 12.5", "`" + "5" * 64]
    assert [text for text in shown if text not in request.body] == []
    assert request.defaults is None


def test_the_text_that_was_shown_is_kept_under_the_digest_that_the_answer_names(
    harness: PracticeHarness, screen: Screen
) -> None:
    asked(harness, 0, "ml_lead").answer("ada", comment="as agreed on Monday")
    [(_, answer)] = harness.lines("approval_answer")
    [request] = screen.requests.values()
    assert harness.store.get(store_paths.approval_form(MODEL, answer["form"])).decode() == request.body
    assert answer["comment"] == "as agreed on Monday"


@pytest.mark.parametrize("run", [{"triggering_user_name": "grace"}, {}])
def test_whoever_trained_it_or_started_the_run_is_not_asked(
    harness: PracticeHarness, screen: Screen, run: dict[str, Any]
) -> None:
    author = run.get("triggering_user_name", "ada")
    if not run:
        harness.registry.set_tags(MODEL, "3", {"airworthy.requested_by": "ada"})
    asked(harness, 0, "ml_lead", **run)
    [request] = screen.requests.values()
    assert [user.id for user in request.assigned_users] == [name for name in ("ada", "grace") if name != author]


def test_an_author_who_answers_all_the_same_does_not_count(harness: PracticeHarness, screen: Screen) -> None:
    answers = both(harness)
    harness.ledger.append("training", MODEL, "3", {"requested_by": "ada"}, actor="airworthy")
    with pytest.raises(AirflowSkipException, match="ada for ml_lead: a person who trained or started it"):
        count(harness, answers)


def test_nobody_waits_for_a_day_where_only_the_author_could_answer(harness: PracticeHarness, screen: Screen) -> None:
    request = Request(harness, 1, "ml_lead", triggering_user_name="mary")
    with pytest.raises(Refused, match="compliance needs 1 and has nobody"):
        request.operator.execute(request.context)
    assert not screen.requests


@pytest.mark.parametrize(
    ("role", "person", "reason"),
    [("ml_lead", "mallory", "only ada, grace may answer"), ("ml_lead", None, "an unnamed person")],
)
def test_an_answer_of_somebody_else_does_not_count(
    harness: PracticeHarness, screen: Screen, role: str, person: str | None, reason: str
) -> None:
    answers = [asked(harness, 0, role).answer(person), asked(harness, 1, "compliance").answer("mary")]
    with pytest.raises(AirflowSkipException, match=reason):
        count(harness, answers)


def test_a_no_skips_what_follows_and_is_told_with_its_comment(harness: PracticeHarness, screen: Screen) -> None:
    answers = [
        asked(harness, 0, "ml_lead").answer("ada", "Reject", comment="slices look odd"),
        asked(harness, 1, "compliance").answer("mary"),
    ]
    with pytest.raises(AirflowSkipException, match="ada rejected for ml_lead: slices look odd"):
        count(harness, answers)
    [(_, verdict)] = harness.lines("approval_quorum")
    assert verdict["outcome"] == "fail"
    assert harness.reasons == verdict["reasons"]  # type: ignore[attr-defined]


def test_silence_skips_what_follows_and_is_on_the_ledger(harness: PracticeHarness, screen: Screen) -> None:
    answers = [asked(harness, 0, "ml_lead").answer("ada"), asked(harness, 1, "compliance").expire()]
    with pytest.raises(AirflowSkipException, match="nobody answered for compliance"):
        count(harness, answers)
    assert [details["choice"] for _, details in harness.lines("approval_answer")] == ["approve", "expired"]


def test_an_answer_after_the_time_is_over_does_not_count(harness: PracticeHarness, screen: Screen) -> None:
    answers = [asked(harness, 0, "ml_lead").answer("ada", after=3601), asked(harness, 1, "compliance").answer("mary")]
    with pytest.raises(AirflowSkipException, match=r"answered at .*, after"):
        count(harness, answers)


def test_answers_about_other_bytes_do_not_count(harness: PracticeHarness, screen: Screen) -> None:
    answers = both(harness)
    changed = TICKET.model_copy(update={"sha256": "e" * 64})
    with pytest.raises(AirflowSkipException, match=r"ada for ml_lead: the answer is about bundle b+, not e+"):
        count(harness, answers, ticket=changed)


@pytest.mark.parametrize("altered", [{"line": "0" * 64}, None])
def test_an_answer_that_was_put_in_between_fails_the_task(
    harness: PracticeHarness, screen: Screen, altered: dict[str, str] | None
) -> None:
    """Who may edit XComs may not approve by them: a receipt only points to the ledger."""
    answers = both(harness)
    answers = [answers[0] | altered, answers[1]] if altered else answers[:1]
    with pytest.raises(Refused, match="the approval of flight_delay version 3 is unknown"):
        count(harness, answers)


def test_an_answer_turned_from_no_to_yes_in_between_is_still_a_no(harness: PracticeHarness, screen: Screen) -> None:
    no = asked(harness, 0, "ml_lead").answer("ada", "Reject")
    with pytest.raises(AirflowSkipException, match="ada rejected"):
        count(harness, [no | {"choice": "approve"}, asked(harness, 1, "compliance").answer("mary")])


def test_a_request_that_is_asked_again_voids_its_former_answer(harness: PracticeHarness, screen: Screen) -> None:
    old = both(harness)
    again = Request(harness, 0, "ml_lead")
    again.context["ti"].try_number = 2
    again.ask()
    with pytest.raises(Refused):
        count(harness, old)
    with pytest.raises(AirflowSkipException, match="grace rejected"):
        count(harness, [again.answer("grace", "Reject"), old[1]])


def test_answers_of_an_earlier_run_are_not_counted_in_a_later_one(harness: PracticeHarness, screen: Screen) -> None:
    earlier = both(harness)
    with pytest.raises(Refused, match="not the newest on the ledger"):
        count(harness, earlier, run="manual__2")


def test_a_form_that_airflow_kept_from_an_earlier_try_is_refused_if_it_says_something_else(
    harness: PracticeHarness, screen: Screen
) -> None:
    request = asked(harness, 0, "ml_lead")
    request.ask()
    worse = {"rule": "load_test", "outcome": "pass", "reasons": [], "facts": {"p95_ms": 99.0}}
    key = f"{MODEL}__deploy/manual__1/test_under_load/-1/1/y"
    harness.ledger.append("rollout", MODEL, "3", worse | {"model_digest": "a" * 64}, actor="airworthy", key=key)
    with pytest.raises(Refused, match="trigger flight_delay__deploy anew"):
        request.operator.execute(request.context)


def test_the_candidate_is_kept_prepared_while_people_think(harness: PracticeHarness, screen: Screen) -> None:
    asked(harness, 0, "ml_lead")
    assert harness.rollouts is not None
    left = harness.rollouts.rollout(MODEL).lease_until - harness.clock()  # type: ignore[operator]
    assert left >= timedelta(hours=1)


def test_nobody_is_asked_about_a_rollout_that_was_taken_back(harness: PracticeHarness, screen: Screen) -> None:
    assert harness.rollouts is not None
    harness.rollouts.roll_back(MODEL, "r3", "the guard found errors", key="9")
    request = Request(harness, 0, "ml_lead")
    with pytest.raises(Refused, match="the guard found errors"):
        request.operator.execute(request.context)
    assert not screen.requests


def test_a_first_version_is_approved_too(harness: PracticeHarness, screen: Screen) -> None:
    harness.rollouts = FakeTarget(None)
    asked(harness, 0, "ml_lead", ticket=TICKET.model_copy(update={"champion": None}))
    [request] = screen.requests.values()
    assert request.subject.endswith("as its first version?")


def test_a_name_that_airflow_does_not_know_is_told_in_the_log(
    harness: PracticeHarness, screen: Screen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manager = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", manager)
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "grace:viewer")
    with caplog.at_level(logging.WARNING):
        asked(harness, 0, "ml_lead")
    assert "ada is not a user of Airflow" in caplog.text
    assert "grace has the role viewer" in caplog.text
