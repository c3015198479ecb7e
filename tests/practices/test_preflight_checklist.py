"""The first task of a deploy run refuses what must not fly, lists everything, and writes the run's ticket."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused, Unavailable
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.messages.release import (
    BundleColumn,
    BundleContract,
    BundleInspection,
    BundleRequest,
    BundleResult,
    InspectionRequest,
    LiveState,
)
from pipelines.messages.rollout import RolloutTicket
from pipelines.rollout.transitions import ROLLOUT_ID_PATTERN
from pipelines.spec.deployment import Deployment
from pipelines.testing.ports import MemoryLedger
from pipelines.testing.rollout_target import FakeTarget
from practices.preflight_checklist import PreflightChecklist
from tests.practices.practice_harness import MODEL, PracticeHarness, Registry

Answers = dict[str, Any]


def built(request: BundleRequest) -> BundleResult:
    return BundleResult(
        model=MODEL,
        version=request.version,
        uri=f"bundles/{MODEL}/{request.version}/",
        predictor="onnx",
        sha256=f"s{request.version}",
        model_digest=f"d{request.version}",
        parity_rows=2000,
        largest_difference=1e-7,
    )


def inspected(request: InspectionRequest, **changes: Any) -> BundleInspection:
    bundle = request.bundle
    contract = BundleContract(
        version=bundle.version, output="value", columns=[BundleColumn(name="hour", type="numeric")]
    )
    facts: dict[str, Any] = {
        "bundle_bytes": 1000,
        "model_digest": bundle.model_digest,
        "rows": 2000,
        "largest_difference": 1e-7,
        "edge_rows": 8,
        "latency_p50_ms": 0.02,
        "latency_p99_ms": 0.1,
        "contract": contract,
        "champion": contract if request.champion else None,
    }
    return BundleInspection(model=MODEL, version=bundle.version, predictor="onnx", **(facts | changes))


def approve(harness: PracticeHarness, version: str, outcome: str = "pass") -> None:
    digest = f"d{version}"
    harness.registry.add(version, status="approved", model_digest=digest, semantic_version=f"1.0.{version}")
    for gate in REQUIRED_GATES:
        details = {"gate": gate, "outcome": outcome, "model_digest": digest}
        harness.ledger.append("gate", MODEL, version, details, actor="test")
    harness.ledger.append("approval", MODEL, version, {"model_digest": digest}, actor="test")


@pytest.fixture(autouse=True)
def prepared(harness: PracticeHarness) -> None:
    harness.answers |= {"build_bundle": built, "inspect_release": inspected}
    harness.declare(deployment=Deployment.model_validate({"strategy": "canary"}))
    harness.rollouts = FakeTarget("4")
    approve(harness, "4")
    harness.ledger.append("release", MODEL, "4", {}, actor="test")
    harness.registry.name(champion="4")
    approve(harness, "5")


def check(harness: PracticeHarness, **context: Any) -> tuple[RolloutTicket, Answers]:
    made = harness.context("deploy", "check_release", **context)
    ticket = PreflightChecklist(task_id="check_release", model=MODEL).execute(made)
    return RolloutTicket.model_validate(ticket), made["pushed"]


def test_the_ticket_names_the_version_its_bundle_and_the_one_that_is_live(harness: PracticeHarness) -> None:
    ticket, pushed = check(harness, events=[(f"{MODEL}:approved", {"version": "5"})])
    assert ticket.model_dump(exclude={"rollout_id", "schema_"}) == {
        "model": MODEL,
        "version": "5",
        "champion": "4",
        "bundle": f"bundles/{MODEL}/5/",
        "sha256": "s5",
        "model_digest": "d5",
    }
    assert not ticket.first
    assert len(pushed["checklist"]) == 11
    assert {line["result"] for line in pushed["checklist"]} <= {"PASS", "WAIVED"}
    assert pushed["reasons"] == []


def test_a_version_that_waits_is_taken_where_the_run_names_none(harness: PracticeHarness) -> None:
    approve(harness, "6")
    assert check(harness)[0].version == "6"


def end_rollout(harness: PracticeHarness, version: str, traffic: int) -> None:
    """A deployment of this version failed after it had so much traffic."""
    line = {"from": version, "to": "4", "reason": "30 of 100 failed", "rollout_id": "r", "traffic": traffic}
    harness.ledger.append("rollback", MODEL, version, line, actor="test")


def test_a_deployment_that_failed_before_any_traffic_is_taken_up_by_hand_and_by_no_event(
    harness: PracticeHarness,
) -> None:
    approve(harness, "6")
    end_rollout(harness, "6", 0)
    assert check(harness)[0].version == "6"
    assert check(harness, events=[(f"{MODEL}:approved", {"version": "5"})])[0].version == "5"


def test_a_version_that_was_taken_back_from_callers_has_to_be_named(harness: PracticeHarness) -> None:
    end_rollout(harness, "5", 500)
    with pytest.raises(Refused, match=r"(?s)none waits.*version 5 is rolled back since .*: 30 of 100 failed"):
        check(harness)
    assert check(harness, version="5")[0].version == "5"


def test_a_version_that_is_or_was_live_does_not_wait(harness: PracticeHarness) -> None:
    harness.ledger.append("release", MODEL, "5", {"previous": "4"}, actor="test")
    with pytest.raises(Refused, match="none waits"):
        check(harness)


def test_a_version_that_was_deleted_from_the_registry_does_not_wait(harness: PracticeHarness) -> None:
    approve(harness, "6")
    del harness.registry._versions[MODEL]["6"]
    assert check(harness)[0].version == "5"


@pytest.mark.parametrize(
    ("aliases", "warning"),
    [
        ({}, "alias champion is missing, but the target serves version 4"),
        ({"champion": "5"}, "alias champion is 5, but the target serves version 4"),
        ({"champion": "4", "previous": "5"}, "alias previous is 5, but the target can restore nothing"),
    ],
)
def test_an_alias_that_disagrees_with_the_target_is_named_with_what_to_do(
    harness: PracticeHarness, aliases: dict[str, str], warning: str
) -> None:
    harness.registry.name(**aliases)
    ticket, pushed = check(harness, version="5")
    assert ticket.champion == "4"
    [item] = [line for line in pushed["checklist"] if line["item"] == "8 rollback"]
    assert (item["result"], item["why"][0]) == (
        "WARNING",
        f"{warning}: airworthy reconcile {MODEL} --apply puts it right",
    )


def test_the_first_version_has_nothing_to_be_compared_with(harness: PracticeHarness) -> None:
    harness.rollouts = FakeTarget(None)
    harness.ledger = MemoryLedger()
    harness.registry = Registry(harness.ledger)
    approve(harness, "5")
    ticket, pushed = check(harness, version="5")
    assert ticket.first
    waived = [line["item"] for line in pushed["checklist"] if line["result"] == "WAIVED"]
    assert {"3 contract", "8 rollback", "design"} <= set(waived)


def test_every_try_of_a_run_has_one_rollout_and_every_other_run_another(harness: PracticeHarness) -> None:
    first = check(harness, version="5", run="manual__1")[0].rollout_id
    assert check(harness, version="5", run="manual__1")[0].rollout_id == first
    others = {check(harness, version="5", run=run)[0].rollout_id for run in ("manual__2", "scheduled__1")}
    cleared = check(harness, version="5", run="manual__1", clear_number=1)[0].rollout_id
    assert len({first, cleared} | others) == 4
    assert re.fullmatch(ROLLOUT_ID_PATTERN, first)


def test_all_that_speaks_against_a_version_is_listed_at_once_and_on_the_ledger(harness: PracticeHarness) -> None:
    found = {"faults": ["model.onnx is missing"], "untyped": ["hour"], "edge_faults": ["row 0: no answer"]}
    harness.answers["inspect_release"] = lambda request: inspected(request, **found)
    context = harness.context("deploy", "check_release", version="5")
    with pytest.raises(Refused, match=r"(?s)column hour has no type.*row 0: no answer.*model.onnx is missing"):
        PreflightChecklist(task_id="check_release", model=MODEL).execute(context)
    assert len(context["pushed"]["checklist"]) == 11
    [details] = [told for version, told in harness.lines("gate") if told["gate"] == "preflight_checklist"]
    assert (details["outcome"], len(details["reasons"])) == ("fail", 3)
    assert details["facts"]["checklist"] == context["pushed"]["checklist"]


@pytest.mark.parametrize("outcome", ["fail", "unknown"])
def test_nothing_of_a_version_is_built_before_its_gates_and_its_approval_are_read(
    harness: PracticeHarness, outcome: str
) -> None:
    digest = {"model_digest": "d6"}
    harness.registry.add("6", status="approved", semantic_version="1.0.6", **digest)
    for gate in REQUIRED_GATES:
        harness.ledger.append("gate", MODEL, "6", {"gate": gate, "outcome": outcome, **digest}, actor="test")
    context = harness.context("deploy", "check_release", version="6")
    with pytest.raises(Refused, match=r"(?s)slice_gate .*version 6 has no approval") as refused:
        PreflightChecklist(task_id="check_release", model=MODEL).execute(context)
    assert len(refused.value.reasons) == len(REQUIRED_GATES) + 1
    assert harness.asked == []
    [details] = [told for version, told in harness.lines("gate") if told["gate"] == "preflight_checklist"]
    assert (details["outcome"], "ticket" in details) == ("unknown" if outcome == "unknown" else "fail", False)
    assert [line["item"] for line in context["pushed"]["checklist"]] == ["1 performance", "7 security"]


def test_the_ledger_has_the_ticket_that_passed(harness: PracticeHarness) -> None:
    ticket, _ = check(harness, version="5")
    [details] = [told for version, told in harness.lines("gate") if told["gate"] == "preflight_checklist"]
    assert RolloutTicket.model_validate(details["ticket"]) == ticket


def test_a_retry_that_builds_other_bytes_has_a_ticket_of_its_own_on_the_ledger(harness: PracticeHarness) -> None:
    check(harness, version="5")
    harness.answers["build_bundle"] = lambda request: built(request).model_copy(update={"sha256": "rebuilt"})
    ticket, _ = check(harness, version="5")
    told = [told["ticket"]["sha256"] for _, told in harness.lines("gate") if told["gate"] == "preflight_checklist"]
    assert told == ["s5", "rebuilt"]
    assert ticket.sha256 == "rebuilt"


def test_another_models_approval_is_no_approval(harness: PracticeHarness) -> None:
    harness.ledger.append("approval", MODEL, "5", {"model_digest": "other"}, actor="test")
    with pytest.raises(Refused, match="the approval is of model other"):
        check(harness, version="5")


def alter_line(harness: PracticeHarness, number: int) -> None:
    lines = harness.ledger.lines
    lines[number - 1] = lines[number - 1].model_copy(update={"actor": "somebody else"})


def test_a_ledger_that_was_tampered_with_lets_nothing_pass_and_says_what_to_do(harness: PracticeHarness) -> None:
    alter_line(harness, 1)
    with pytest.raises(Refused, match=r"(?s)7 security: the ledger.*airworthy ledger repair --because"):
        check(harness, version="5")


def test_once_a_damaged_line_is_sealed_its_own_version_is_refused_and_every_other_one_deploys(
    harness: PracticeHarness,
) -> None:
    approve(harness, "6")
    [of_six, *_] = [line.number for line in harness.ledger.lines if line.version == "6"]
    alter_line(harness, of_six)
    for version in ("5", "6"):
        with pytest.raises(Refused, match=f"line {of_six} was altered"):
            check(harness, version=version)
    harness.ledger.repair("a disk failed", person="ada")
    assert check(harness, version="5")[0].version == "5"
    with pytest.raises(
        Refused, match=rf"(?s)line {of_six} \(training\) proves nothing.*\(ada: a disk failed\)"
    ) as refusal:
        check(harness, version="6")
    assert "slice_gate has no verdict about this model file" in str(refusal.value)
    assert "train another version" in str(refusal.value)


@pytest.mark.parametrize(
    ("who", "kind", "passes"),
    [
        ("ann", "manual", True),
        ("eve", "manual", False),
        (None, "manual", False),
        (None, "asset_triggered", True),
        (None, "asset_materialization", False),
        ("eve", "operator_triggered", False),
    ],
)
def test_only_a_declared_deployer_starts_it_by_hand(
    harness: PracticeHarness, who: str | None, kind: str, passes: bool
) -> None:
    declared = {"strategy": "canary", "approval": {"requires_approval": False, "deployers": ["ann"]}}
    harness.declare(deployment=Deployment.model_validate(declared))
    run = {"triggering_user_name": who, "run_type": SimpleNamespace(value=kind), "version": "5"}
    if passes:
        assert check(harness, **run)[0].version == "5"
    else:
        with pytest.raises(Refused, match="is not among"):
            check(harness, **run)


def test_an_event_that_a_person_posted_starts_a_deployment_by_hand(harness: PracticeHarness) -> None:
    """Airflow marks the events that come by its API, and does not say whose they are."""
    declared = {"strategy": "canary", "approval": {"requires_approval": False, "deployers": ["ann"]}}
    harness.declare(deployment=Deployment.model_validate(declared))
    posted = (f"{MODEL}:approved", {"version": "5", "from_rest_api": True})
    with pytest.raises(Refused, match="an unnamed person is not among"):
        check(harness, run_type=SimpleNamespace(value="asset_triggered"), events=[posted])


@pytest.mark.parametrize("version", ["latest", "5/../6", "", None, [5]])
def test_an_event_that_names_no_number_is_refused(harness: PracticeHarness, version: object) -> None:
    with pytest.raises(Refused, match="a version is a number"):
        check(harness, events=[(f"{MODEL}:approved", {"version": version})])


@pytest.mark.parametrize(
    ("outcomes", "refused"), [([], "the ledger has no drill"), (["fail"], "has outcome fail"), (["fail", "pass"], "")]
)
def test_a_declared_drill_must_have_passed_last(harness: PracticeHarness, outcomes: list[str], refused: str) -> None:
    harness.declare(deployment=Deployment.model_validate({"strategy": "canary", "rollback": {"drill": "0 5 * * 1"}}))
    harness.ledger.append("release", MODEL, "3", {"uri": "bundles/3", "sha256": "s3"}, actor="test")
    for outcome in outcomes:
        harness.ledger.append("rollback_drill", MODEL, "4", {"outcome": outcome}, actor="test")
    if refused:
        with pytest.raises(Refused, match=refused):
            check(harness, version="5")
    else:
        assert check(harness, version="5")[0].version == "5"


def test_where_no_version_could_stand_in_for_a_drill_none_is_asked_for(harness: PracticeHarness) -> None:
    declared = {"strategy": "canary", "rollback": {"drill": "0 5 * * 1"}}
    harness.declare(deployment=Deployment.model_validate(declared))
    assert check(harness, version="5")[0].version == "5"


def live_already(harness: PracticeHarness, *, recorded: bool, strategy: str = "canary") -> None:
    harness.declare(deployment=Deployment.model_validate({"strategy": strategy}))
    harness.rollouts = None
    harness.endpoint.serve(LiveState(model=MODEL, version="5", bundle_sha256="s5"))
    if recorded:
        harness.ledger.append("release", MODEL, "5", {"sha256": "s5"}, actor="test")
        harness.registry.name(champion="5")


@pytest.mark.parametrize("strategy", ["canary", "all_at_once"])
def test_what_is_live_and_recorded_is_not_deployed_again(harness: PracticeHarness, strategy: str) -> None:
    live_already(harness, recorded=True, strategy=strategy)
    with pytest.raises(AirflowSkipException, match="live already"):
        check(harness, version="5")


@pytest.mark.parametrize("strategy", ["canary", "all_at_once"])
def test_what_is_live_is_not_deployed_again_whatever_the_alias_names(harness: PracticeHarness, strategy: str) -> None:
    live_already(harness, recorded=True, strategy=strategy)
    harness.registry.name(champion="4")
    with pytest.raises(
        AirflowSkipException, match=r"live already.*alias champion is 4, but the target serves version 5"
    ):
        check(harness, version="5")


def test_a_champion_is_not_its_own_candidate(harness: PracticeHarness) -> None:
    live_already(harness, recorded=False)
    with pytest.raises(Refused, match=r"(?s)cannot be its own candidate.*clear the task that switched traffic"):
        check(harness, version="5")


def test_a_switch_that_was_cut_off_before_it_was_recorded_can_be_finished(harness: PracticeHarness) -> None:
    live_already(harness, recorded=False, strategy="all_at_once")
    assert check(harness, version="5")[0].champion == "5"


def test_a_target_that_does_not_answer_is_asked_again(harness: PracticeHarness) -> None:
    harness.rollouts.down = True  # type: ignore[union-attr]
    with pytest.raises(Unavailable):
        check(harness, version="5")


APPROVED_BY_LEADS = {"strategy": "canary", "approval": {"approvers": [{"role": "ml_lead", "users": ["ada", "grace"]}]}}
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"


@pytest.mark.parametrize(
    ("users", "starter", "refused"),
    [
        ("ada:op,grace:user", None, ""),
        ("ada:op,grace:user", "grace", "without ada, grace, who trained or started it"),
        ("ada:op,grace:viewer", None, "grace has the role viewer and cannot answer"),
        ("ada:op,joe:op", None, "grace is not a user of Airflow"),
        ("ada:op,grace:op:red_team", None, ""),
    ],
)
def test_a_version_that_nobody_could_approve_is_refused_before_anything_is_tested(
    harness: PracticeHarness, monkeypatch: pytest.MonkeyPatch, users: str, starter: str | None, refused: str
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", SIMPLE)
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", users)
    harness.declare(deployment=Deployment.model_validate(APPROVED_BY_LEADS))
    harness.registry.add("5", status="approved", model_digest="d5", semantic_version="1.0.5", requested_by="ada")
    if not refused:
        assert check(harness, version="5", triggering_user_name=starter)[0].version == "5"
        return
    with pytest.raises(Refused) as error:
        check(harness, version="5", triggering_user_name=starter)
    assert "who may approve: ml_lead needs 1 and has nobody" in error.value.reasons
    assert any(refused in reason for reason in error.value.reasons)
    assert harness.rollouts is not None
    assert harness.rollouts.rollout(MODEL).rollout_id is None


@pytest.mark.parametrize(
    ("manager", "users"), [("airflow.providers.fab.auth_manager.FabAuthManager", "joe:op"), (SIMPLE, "admin:admin")]
)
def test_where_a_task_cannot_read_airflows_users_nobody_is_left_out_for_it(
    harness: PracticeHarness, monkeypatch: pytest.MonkeyPatch, manager: str, users: str
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", manager)
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", users)
    harness.declare(deployment=Deployment.model_validate(APPROVED_BY_LEADS))
    checklist = check(harness, version="5")[1]["checklist"]
    item = next(line for line in checklist if line["item"] == "who may approve")
    assert item["result"] == "PASS"
    assert item["why"][-1] == "this task cannot read whether they are users of Airflow"
