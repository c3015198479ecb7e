"""What each kind of ledger line opens and ends, by table."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pipelines.ledger.line_findings import READERS, day_of, findings, run_of
from pipelines.rules.incident_kinds import KINDS
from pipelines.testing.ports import MemoryLedger

NO = {"outcome": "fail", "reasons": ["no"]}
YES: dict[str, Any] = {"outcome": "pass", "reasons": []}
ENDED = {"rollout_undecided", "approval_waiting"}
OF_FORMER_VERSIONS = {"performance", "estimated_performance"}
OPEN = {"outcome": "unknown", "reasons": ["held"]}


def read(kind: str, **details: Any) -> tuple[set[tuple[str, str | None]], set[str]]:
    """What the line opens, as kind and subject, and the kinds that it ends."""
    line = MemoryLedger().append(kind, "churn", "3", details, actor="a", key="churn__deploy/r/t/x")
    made = findings(line)
    assert {finding.run for finding in made} <= {"churn__deploy/r"}
    return {(f.kind, f.subject) for f in made if f.firing}, {f.kind for f in made if not f.firing}


@pytest.mark.parametrize(
    ("kind", "details", "opens", "ends"),
    [
        (
            "data_verdict",
            {"check": "quarantine", "day": "2013-01-05", **NO},
            {("data_refused", "quarantine 2013-01-05")},
            set(),
        ),
        ("data_verdict", {"check": "quarantine", "day": "2013-01-05", **YES}, set(), {"data_refused"}),
        ("gate", {"gate": "slice_gate", **NO}, {("gate_no", "slice_gate")}, {"gate_unmeasured"}),
        ("gate", {"gate": "slice_gate", **OPEN}, {("gate_unmeasured", "slice_gate")}, {"gate_no"}),
        ("gate", {"gate": "slice_gate", **YES}, set(), {"gate_no", "gate_unmeasured"}),
        ("gate", {"gate": "release_rollback", **NO}, set(), set()),
        ("rollout", {"practice": "canary_step", **OPEN}, {("rollout_undecided", "version 3")}, set()),
        ("rollout", {"practice": "canary_step", **NO}, {("rollout_failed", "version 3")}, set()),
        ("rollout", {"practice": "canary_step", "resumed": 2}, set(), {"rollout_undecided"}),
        (
            "rollback",
            {"from": "3", "to": "2", "reason": "errors", "by": "target"},
            {("rollback", "version 3")},
            ENDED | OF_FORMER_VERSIONS,
        ),
        ("rollback", {"from": "3", "to": None, "reason": "errors"}, {("rollback", "version 3")}, ENDED),
        ("lease_expired", {"rollout_id": "r", "to": "2"}, {("lease_expired", "version 3")}, ENDED | OF_FORMER_VERSIONS),
        (
            "approval_request",
            {"role": "lead", "slot": 0, "users": ["ada"], "until": "2013-03-02T00:00:00+00:00"},
            {("approval_waiting", "version 3 lead 0")},
            set(),
        ),
        ("approval_answer", {"role": "lead", "slot": 0}, set(), {"approval_waiting"}),
        ("approval_quorum", NO, {("approval_no", "version 3")}, set()),
        (
            "monitoring_verdict",
            {"check": "performance_check", **NO},
            {("performance", "3")},
            {"monitoring_gap", "registry_disagreement"},
        ),
        ("monitoring_verdict", {"check": "drift_check", **OPEN}, set(), {"registry_disagreement"}),
        (
            "monitoring_verdict",
            {"check": "drift_check", "outcome": "unknown", "reasons": ["not measured since x"]},
            {("monitoring_gap", "drift_check")},
            {"registry_disagreement"},
        ),
        (
            "monitoring_verdict",
            {"check": "drift_check", "facts": {"faults": ["age"]}, "disagreements": ["alias"], **NO},
            {("drift_fault", "age"), ("registry_disagreement", "registry")},
            {"drift_fault", "monitoring_gap"},
        ),
        (
            "monitoring_verdict",
            {"check": "live_input_check", "facts": {"faults": ["age"]}, **NO},
            {("live_input_fault", "age")},
            {"live_input_fault", "monitoring_gap", "registry_disagreement"},
        ),
        ("retrain_request", {"reasons": ["worse"]}, {("retrain_requested", "training")}, set()),
        ("training", NO, {("training_failed", "training")}, set()),
        ("rollback_drill", NO, {("drill_failed", "drill")}, set()),
        ("rollback_drill", YES, set(), {"drill_failed", "drill_overdue"}),
        ("orphaned_pod", {"pod": "p", "reason": "its task ended"}, {("orphaned_pod", "pods")}, set()),
        ("reconciliation", {"reason": "x"}, set(), {"registry_disagreement"}),
        (
            "reconciliation",
            {"reason": "x", "remaining": ["version 3 in the registry is missing"]},
            {("registry_disagreement", "registry")},
            set(),
        ),
        ("handed_on", {"day": "2013-01-05"}, set(), set()),
    ],
)
def test_a_line_opens_and_ends(kind: str, details: dict[str, Any], opens: set[tuple[str, str]], ends: set[str]) -> None:
    assert read(kind, **details) == (opens, ends)
    assert {name for name, _ in opens} | ends <= set(KINDS)


@pytest.mark.parametrize(("by", "severity"), [("target", "warning"), ("ann", "info"), (None, "info")])
def test_a_version_that_its_target_took_back_is_a_warning_and_one_that_a_person_took_back_is_news(
    by: str | None, severity: str
) -> None:
    line = MemoryLedger().append("rollback", "churn", "3", {"from": "3", "to": "2", "by": by}, actor="a")
    [taken_back] = [finding for finding in findings(line) if finding.kind == "rollback" and finding.firing]
    assert (taken_back.severity, taken_back.done) == (severity, "version 2 answers")


@pytest.mark.parametrize(
    ("details", "answers"),
    [
        ({"champion": "2"}, "version 2 answers all callers"),
        ({"champion": None}, "no version answers callers yet"),
        ({}, "the version that was live answers all callers"),
    ],
)
def test_of_a_candidate_that_failed_it_is_said_who_answers_and_of_a_first_one_that_nobody_does(
    details: dict[str, Any], answers: str
) -> None:
    line = MemoryLedger().append("rollout", "churn", "3", {"practice": "load_test", **NO, **details}, actor="a")
    [failed] = findings(line)
    assert (failed.done, failed.affects) == (answers, f"the candidate; {answers}")


def test_a_release_ends_what_was_wrong_with_the_versions_before() -> None:
    opens, ends = read("release", semantic_version="1.2.0")
    assert opens == set()
    assert {"rollback", "rollout_failed", "lease_expired", "rollout_undecided", "approval_waiting"} <= ends


@pytest.mark.parametrize("kind", ["release", "rollback"])
def test_once_another_version_answers_only_its_own_performance_stays_open(kind: str) -> None:
    details = {"from": "4", "to": "3"} if kind == "rollback" else {}
    line = MemoryLedger().append(kind, "churn", "3", details, actor="a")
    ended = {f.kind: f.except_for for f in findings(line) if f.kind in OF_FORMER_VERSIONS}
    assert ended == dict.fromkeys(OF_FORMER_VERSIONS, ("3",))


def test_a_column_that_stays_broken_is_left_out_of_those_that_are_well_again() -> None:
    facts = {"faults": ["age"], "act": ["age"], "report": "r.html", "weights": {"age": 0.02}}
    line = MemoryLedger().append(
        "monitoring_verdict", "churn", "3", {"check": "drift_check", "facts": facts, **NO}, actor="a"
    )
    [ended] = [finding for finding in findings(line) if finding.kind == "drift_fault" and not finding.firing]
    [broken] = [finding for finding in findings(line) if finding.kind == "drift_fault" and finding.firing]
    assert (ended.subject, ended.except_for) == (None, ("age",))
    assert (broken.severity, broken.report, broken.numbers) == ("critical", "r.html", {"weight": 0.02})


@pytest.mark.parametrize("kind", sorted(READERS))
def test_a_line_that_lacks_its_details_breaks_nothing(kind: str) -> None:
    read(kind)


@pytest.mark.parametrize(
    ("key", "run"),
    [
        ("churn__deploy/manual__1/canary/2", "churn__deploy/manual__1"),
        ("churn__deploy/manual__1", None),
        ("churn/manual__1/canary", None),
        ("seal/2/3", None),
        (None, None),
    ],
)
def test_a_line_names_the_run_of_the_task_that_wrote_it(key: str | None, run: str | None) -> None:
    assert run_of(MemoryLedger().append("gate", "churn", "3", {}, actor="a", key=key)) == run


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2013-01-05", date(2013, 1, 5)), ("2013-01-05T06", date(2013, 1, 5)), ("once", None), (None, None)],
)
def test_a_line_names_the_day_of_its_data(day: str | None, expected: date | None) -> None:
    assert day_of(MemoryLedger().append("data_verdict", "churn", None, {"day": day}, actor="a")) == expected
