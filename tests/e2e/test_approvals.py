"""People answer on a real Airflow: who is not asked is refused, and only different named people make a quorum."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pipelines.cli.components import passwords
from pipelines.cli.components import ports as stack_ports
from pipelines.ports import LedgerEntry
from pipelines.settings import REPOSITORY, Settings
from tests.e2e.installation import NOBODY_IS_KILLED, PARSED_ONCE, PATIENCE, Installation

pytestmark = pytest.mark.e2e

PATIENT, HASTY = "flight_delay", "arrival_delay_minutes"
PEOPLE = [
    {"role": "ml_lead", "users": ["ml_lead", "admin"]},
    {"role": "compliance", "users": ["compliance", "ml_lead"]},
]
LEAD, COMPLIANCE = 0, 1
PARTS = ("api-server", "scheduler", "dag-processor")
Answer = tuple[str, str, str]
"""Who, the choice, the comment."""


@dataclass
class ApprovalStack(Installation):
    """The stack without MLflow and gateway, on a DAG folder that holds nothing but approvals."""

    people: dict[str, httpx.Client] = field(default_factory=dict)

    def down(self) -> None:
        """Nothing is left to be saved: no part is waited for."""
        for client in self.people.values():
            client.close()
        for component in self.components():
            self.kill(component.name)
        self.airflow.close()

    def person(self, name: str) -> httpx.Client:
        """Logged in under that name."""
        if name in self.people:
            return self.people[name]
        base = f"http://127.0.0.1:{stack_ports(self.settings)['airflow']}"
        login = {"username": name, "password": passwords(self.settings)[name]}
        token = httpx.post(f"{base}/auth/token", json=login, timeout=PATIENCE).json()["access_token"]
        header = {"Authorization": f"Bearer {token}"}
        self.people[name] = httpx.Client(base_url=f"{base}/api/v2", headers=header, timeout=PATIENCE)
        return self.people[name]

    def deploy(self, model: str, by: str, run: str) -> None:
        order = {"dag_run_id": run, "logical_date": None}
        self.person(by).post(f"/dags/{model}__deploy/dagRuns", json=order).raise_for_status()

    def answer(self, who: str, run: str, slot: int, choice: str = "Approve", comment: str = "") -> int:
        """HTTP status of one answer."""
        path = f"/dags/{PATIENT}__deploy/dagRuns/{run}/taskInstances/request_approvals/{slot}/hitlDetails"
        answer = {"chosen_options": [choice], "params_input": {"comment": comment}}
        return self.person(who).patch(path, json=answer).status_code

    def states(self, model: str, run: str) -> dict[str, str]:
        path = f"/dags/{model}__deploy/dagRuns/{run}/taskInstances"
        found = self.person("admin").get(path).json()["task_instances"]
        return {f"{task['task_id']}.{task['map_index']}": task["state"] for task in found}

    def asked(self, run: str, *slots: int) -> None:
        wanted = [f"request_approvals.{slot}" for slot in slots or (LEAD, COMPLIANCE)]
        what = f"the requests of {run}"
        self.until(
            lambda: all(self.states(PATIENT, run).get(name) == "awaiting_input" for name in wanted),
            what,
            (f"{PATIENT}__deploy", run),
        )

    def ended(self, model: str, run: str, answers: Mapping[int, Answer] | None = None) -> dict[str, str]:
        """What became of the run's tasks once its requests were answered, again and again where a try was lost.

        Airflow takes a task for lost when it is answered before the end of its asking has been noticed.
        """
        path = f"/dags/{model}__deploy/dagRuns/{run}"

        def over() -> bool:
            states = self.states(model, run)
            for slot, (who, choice, comment) in (answers or {}).items():
                if states.get(f"request_approvals.{slot}") == "awaiting_input":
                    self.answer(who, run, slot, choice, comment)
            return self.person("admin").get(path).json()["state"] in ("success", "failed")

        self.until(over, f"the end of {run}", (f"{model}__deploy", run))
        return self.states(model, run)

    def lines(self, kind: str, run: str, model: str = PATIENT) -> list[LedgerEntry]:
        return [e for e in self.ports.ledger.entries(model=model, kind=kind) if e.details["rollout_id"] == run]


@pytest.fixture(scope="module")
def approval_stack(tmp_path_factory: pytest.TempPathFactory, migrated: Settings) -> Iterator[ApprovalStack]:
    home = tmp_path_factory.mktemp("approvals")
    shutil.copytree(REPOSITORY / "include", home / "include")
    for model, people, timeout in ((PATIENT, PEOPLE, 3600), (HASTY, PEOPLE[:1], 1)):
        path = home / "include" / "models" / f"{model}.yaml"
        declared: dict[str, Any] = yaml.safe_load(path.read_text())
        declared["deployment"] = {"approval": {"approvers": people, "timeout": timeout}}
        path.write_text(yaml.safe_dump(declared))
    found = {"AIRWORTHY_HOME": str(home), "AIRWORTHY_INCLUDE": str(home / "include")}
    dags = {"AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).with_name("approvals"))}
    nothing_to_load = {"AIRWORTHY_PRELOAD": ""}
    variables = dags | nothing_to_load | PARSED_ONCE | NOBODY_IS_KILLED
    made = ApprovalStack(Settings.from_environment(found), variables=variables, parts=PARTS)
    made.take_database(migrated)
    made.up()
    try:
        made.unpause(*(f"{model}__deploy" for model in (PATIENT, HASTY)))
        made.deploy(HASTY, "admin", "unanswered")
        made.deploy(PATIENT, "ml_lead", "agreed")
        made.deploy(PATIENT, "admin", "alone")
        made.deploy(PATIENT, "admin", "refused")
        yield made
    finally:
        made.down()


def test_who_is_not_asked_is_refused_and_two_others_let_the_candidate_on(approval_stack: ApprovalStack) -> None:
    approval_stack.asked("agreed")
    assert approval_stack.answer("viewer", "agreed", LEAD) == httpx.codes.FORBIDDEN
    assert approval_stack.answer("compliance", "agreed", LEAD) == httpx.codes.FORBIDDEN
    assert approval_stack.answer("ml_lead", "agreed", LEAD) == httpx.codes.FORBIDDEN, "who started the run approved it"
    assert approval_stack.answer("ml_lead", "agreed", COMPLIANCE) == httpx.codes.FORBIDDEN
    answers = {LEAD: ("admin", "Approve", "as measured"), COMPLIANCE: ("compliance", "Approve", "")}
    states = approval_stack.ended(PATIENT, "agreed", answers)
    assert set(states.values()) == {"success"}
    said = {
        (e.actor, e.details["role"], e.details["comment"]) for e in approval_stack.lines("approval_answer", "agreed")
    }
    assert said == {("admin", "ml_lead", "as measured"), ("compliance", "compliance", "")}
    [verdict] = approval_stack.lines("approval_quorum", "agreed")
    assert (verdict.details["outcome"], verdict.details["people"]) == ("pass", ["admin", "compliance"])
    assert verdict.details["model_digest"] == "a" * 64
    assert approval_stack.ports.ledger.faults() == []


def test_a_request_takes_one_answer(approval_stack: ApprovalStack) -> None:
    assert approval_stack.answer("admin", "agreed", LEAD) == httpx.codes.CONFLICT


def test_one_person_in_two_roles_is_one_person(approval_stack: ApprovalStack) -> None:
    both = dict.fromkeys((LEAD, COMPLIANCE), ("ml_lead", "Approve", ""))
    states = approval_stack.ended(PATIENT, "alone", both)
    assert (states["count_approvals.-1"], states["promote_candidate.-1"]) == ("skipped", "skipped")
    [verdict] = approval_stack.lines("approval_quorum", "alone")
    assert verdict.details["reasons"] == ["1 different people approved; 2 are needed"]


def test_a_no_skips_what_follows_and_a_cleared_request_asks_anew(approval_stack: ApprovalStack) -> None:
    answers = {LEAD: ("ml_lead", "Reject", "slices look odd"), COMPLIANCE: ("compliance", "Approve", "")}
    states = approval_stack.ended(PATIENT, "refused", answers)
    assert (states["count_approvals.-1"], states["promote_candidate.-1"]) == ("skipped", "skipped")
    [verdict] = approval_stack.lines("approval_quorum", "refused")
    assert verdict.details["reasons"][0] == "ml_lead rejected for ml_lead: slices look odd"

    again = {"dry_run": False, "dag_run_id": "refused", "task_ids": [["request_approvals", LEAD]]}
    again |= {"include_downstream": True, "only_failed": False}
    approval_stack.person("admin").post(f"/dags/{PATIENT}__deploy/clearTaskInstances", json=again).raise_for_status()
    states = approval_stack.ended(PATIENT, "refused", {LEAD: ("ml_lead", "Approve", "")})
    assert (states["count_approvals.-1"], states["promote_candidate.-1"]) == ("success", "success")
    outcomes = [line.details["outcome"] for line in approval_stack.lines("approval_quorum", "refused")]
    assert outcomes == ["fail", "pass"]


def test_silence_is_no_consent(approval_stack: ApprovalStack) -> None:
    states = approval_stack.ended(HASTY, "unanswered")
    assert (states["request_approvals.0"], states["promote_candidate.-1"]) == ("success", "skipped")
    [verdict] = approval_stack.lines("approval_quorum", "unanswered", HASTY)
    assert verdict.details["reasons"][0].startswith("nobody answered for ml_lead until ")
    assert {line.details["choice"] for line in approval_stack.lines("approval_answer", "unanswered", HASTY)} == {
        "expired"
    }


def test_triggers_that_come_at_the_same_time_all_succeed(approval_stack: ApprovalStack) -> None:
    approval_stack.airflow.pause(f"{HASTY}__deploy")
    client = approval_stack.person("admin")

    def trigger(number: int) -> int:
        order = {"dag_run_id": f"triggered-{number}", "logical_date": None}
        return client.post(f"/dags/{HASTY}__deploy/dagRuns", json=order).status_code

    with ThreadPoolExecutor(8) as callers:
        assert Counter(callers.map(trigger, range(40))) == {httpx.codes.OK: 40}
