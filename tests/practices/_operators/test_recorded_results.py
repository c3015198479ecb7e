"""Whoever may edit XComs decides nothing by them: each task compares what it gets with the run's ledger lines."""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from pipelines.errors import Refused
from pipelines.messages.evaluation import EvaluateRequest
from pipelines.messages.rollout import RolloutTicket
from pipelines.messages.training import SnapshotRequest
from pipelines.spec.deployment import Approval, Approver, Deployment
from pipelines.testing.rollout_target import FakeTarget
from practices._operators.model import CandidatePractice
from practices._operators.recorded_results import checked_evaluation, checked_ticket, recorded_ticket, result_digest
from practices.champion_release import ChampionRelease
from practices.reproducible_training import ReproducibleTraining
from practices.rollout_rollback import RolloutRollback
from tests.house.test_every_practice import STEMS, operator_of
from tests.practices.deploy_run import TICKET, DeployRun
from tests.practices.practice_harness import MODEL, NOW, PracticeHarness
from tests.practices.test_candidate_evaluation import evaluated
from tests.practices.test_training_snapshot import snapshot

OTHER_VALUES = {
    "model": "other",
    "version": "6",
    "rollout_id": "r6",
    "champion": "3",
    "bundle": "bundles/6",
    "sha256": "e" * 64,
    "model_digest": "d6",
}
ARGUMENTS: dict[str, Any] = {"role": "lead", "response_timeout": timedelta(hours=1), "answers": [], "share": 500}
XCOM = TICKET.model_dump(mode="json", by_alias=True)


def practices_that_read(field: str) -> list[type[BaseOperator]]:
    """Every operator of the product with this argument."""
    operators = [operator_of(stem) for stem in STEMS]
    operators.append(importlib.import_module("practices._approvals.request").ApprovalRequest)
    return [operator for operator in operators if field in operator.template_fields]


ACTING = [operator for operator in practices_that_read("ticket") if operator is not RolloutRollback]


def task(operator: type[BaseOperator], **values: Any) -> Any:
    known = {name for each in operator.__mro__ for name in inspect.signature(each.__init__).parameters}  # type: ignore[misc]
    arguments = {name: value for name, value in ARGUMENTS.items() if name in known}
    return operator(task_id="acts", model=MODEL, **(arguments | values))


@pytest.fixture
def run(harness: PracticeHarness) -> DeployRun:
    """Version 5 is prepared beside version 4."""
    approval = Approval(approvers=[Approver(role="lead", users=["ada"])])
    made = DeployRun(harness, Deployment(strategy="canary", approval=approval))
    made.play(until="prepare_candidate")
    return made


def refusal(run: DeployRun, operator: type[BaseOperator], value: Any, method: str = "execute") -> str:
    """Why a task refuses this XCom; target and ledger must be as they were."""
    before, lines = copy.deepcopy(run.state), len(run.field.ledger.entries())
    arguments = {} if method == "execute" else {"event": {"moved": True}}
    with pytest.raises(Refused) as refused:
        getattr(task(operator, ticket=value), method)(run.context("acts"), **arguments)
    assert (run.state, len(run.field.ledger.entries())) == (before, lines)
    assert run.field.asked == []
    return str(refused.value)


def test_every_task_after_the_checklist_is_among_those_tried() -> None:
    assert {operator.__name__ for operator in ACTING} >= {
        *("CandidatePreparation", "LoadTest", "ShadowComparison", "ApprovalRequest", "ApprovalQuorum", "CanaryStep"),
        *("RolloutAnalysis", "BlueGreenTrial", "AbTest", "ChampionRelease", "Retirement"),
    }


@pytest.mark.parametrize("field", OTHER_VALUES)
@pytest.mark.parametrize("operator", ACTING, ids=lambda operator: operator.__name__)
def test_no_task_acts_on_a_ticket_that_was_edited_in_any_field(
    run: DeployRun, operator: type[BaseOperator], field: str
) -> None:
    said = refusal(run, operator, XCOM | {field: OTHER_VALUES[field]})
    assert f"{field} is {OTHER_VALUES[field]}, checked was {XCOM[field]}" in said
    assert f"trigger {MODEL}__deploy again" in said


@pytest.mark.parametrize(
    "operator", [each for each in ACTING if hasattr(each, "resume")], ids=lambda each: each.__name__
)
def test_a_ticket_edited_while_its_task_was_deferred_is_noticed_as_well(
    run: DeployRun, operator: type[BaseOperator]
) -> None:
    assert "sha256 is " in refusal(run, operator, XCOM | {"sha256": "e" * 64}, "resume")


@pytest.mark.parametrize("value", [None, "a text", [], {**XCOM, "more": 1}, {"model": MODEL}])
@pytest.mark.parametrize("operator", ACTING, ids=lambda operator: operator.__name__)
def test_what_is_no_ticket_is_refused_and_never_retried(
    run: DeployRun, operator: type[BaseOperator], value: Any
) -> None:
    assert "RolloutTicket" in refusal(run, operator, value)


def test_a_ticket_of_another_run_is_refused(run: DeployRun) -> None:
    other = TICKET.model_copy(update={"rollout_id": "r9"})
    run.field.pass_checklist(other, run="r9")
    assert "rollout_id is r9" in refusal(run, ACTING[0], other.model_dump(mode="json", by_alias=True))


@pytest.mark.parametrize("operator", ACTING, ids=lambda operator: operator.__name__)
def test_a_checklist_marked_as_success_by_hand_lets_nothing_pass(run: DeployRun, operator: type[BaseOperator]) -> None:
    context = run.field.context("deploy", "acts", run="another")
    with pytest.raises(Refused, match="no preflight checklist of run flight_delay__deploy/another is on it"):
        task(operator, ticket=XCOM).execute(context)


def checklist(run: DeployRun, outcome: str, *, ticket: RolloutTicket | None = TICKET, key: str = "2/x") -> None:
    details: dict[str, Any] = {"gate": "preflight_checklist", "outcome": outcome, "bundle": "s5", "model_digest": "d5"}
    details["facts"] = {"champion": "4"}
    if ticket is not None:
        details["ticket"] = ticket.model_dump(mode="json", exclude={"schema_"})
    key = f"{MODEL}__deploy/r/check_release/-1/{key}"
    run.field.ledger.append("gate", MODEL, "5", details, actor="test", key=key)


@pytest.mark.parametrize("outcome", ["fail", "unknown"])
def test_the_last_word_of_the_checklist_counts(run: DeployRun, outcome: str) -> None:
    checklist(run, outcome)
    assert f"the preflight checklist of this run said {outcome}" in refusal(run, ACTING[0], XCOM)


def test_after_the_checklist_was_cleared_its_former_ticket_is_refused(run: DeployRun) -> None:
    checklist(run, "pass", ticket=TICKET.model_copy(update={"sha256": "n" * 64}))
    assert f"sha256 is s5, checked was {'n' * 64}" in refusal(run, ACTING[0], XCOM)


def test_the_end_of_a_run_takes_its_own_candidate_back_whatever_the_ticket_says(run: DeployRun) -> None:
    run.states["judge_at_5"] = "failed"
    task(RolloutRollback, ticket=XCOM | {"champion": "5", "rollout_id": "other"}).execute(run.context("end_rollout"))
    assert (run.state.rollout_id, run.state.phase) == ("r5", "ROLLED_BACK")


def test_a_run_that_began_before_tickets_were_recorded_goes_on_with_exactly_its_bundle(run: DeployRun) -> None:
    checklist(run, "pass", ticket=None)
    context = run.context("acts")
    ticket = recorded_ticket(MODEL, run.field, context)
    assert ticket.model_dump(exclude={"rollout_id", "bundle"}) == TICKET.model_dump(exclude={"rollout_id", "bundle"})
    known = ticket.model_copy(update={"bundle": "bundles/5"})
    assert checked_ticket(known.model_dump(mode="json", by_alias=True), MODEL, run.field, context) == known
    for field in OTHER_VALUES.keys() - {"bundle"}:
        edited = known.model_copy(update={field: OTHER_VALUES[field]}).model_dump(mode="json", by_alias=True)
        with pytest.raises(Refused, match=f"{field} is "):
            checked_ticket(edited, MODEL, run.field, context)


def test_a_line_in_a_sealed_stretch_of_the_ledger_proves_no_ticket(run: DeployRun) -> None:
    lines = run.field.ledger.lines
    [index] = [place for place, line in enumerate(lines) if line.details.get("gate") == "preflight_checklist"]
    lines[index] = lines[index].model_copy(update={"actor": "somebody else"})
    run.field.ledger.repair("a disk failed", person="ada")
    with pytest.raises(Refused, match="the preflight checklist of this run proves nothing"):
        checked_ticket(XCOM, MODEL, run.field, run.context("acts"))


GATES = practices_that_read("evaluation")


@pytest.mark.parametrize(
    "edit",
    [
        lambda result: result["metrics"].update(roc_auc=0.99),
        lambda result: result.update(version="7"),
        lambda result: result.update(champion=None),
        lambda result: result.update(rows=10**6),
        lambda result: result["slices"].clear(),
        lambda result: result.clear(),
    ],
)
@pytest.mark.parametrize("operator", GATES, ids=lambda operator: operator.__name__)
def test_no_gate_judges_numbers_that_nobody_measured(
    harness: PracticeHarness, operator: type[CandidatePractice], edit: Callable[[dict[str, Any]], Any]
) -> None:
    for version in ("4", "7"):
        harness.registry.add(version, status="candidate")
    value = harness.record_evaluation(measured(harness))
    edit(value)
    before = len(harness.ledger.entries())
    with pytest.raises(Refused, match="clear the task that returned it"):
        operator(task_id="judges", model=MODEL, evaluation=value).execute(harness.context("evaluate", "judges"))
    assert len(harness.ledger.entries()) == before
    assert harness.registry.tags["4"]["airworthy.status"] == "candidate"


def measured(_: PracticeHarness) -> Any:
    loss = {"column": "carrier", "value": "UA", "rows": 500, "metric": "roc_auc", "candidate": 0.7, "champion": 0.7}
    return evaluated(EvaluateRequest(model=MODEL, version="4"), champion="3", slices=[{**loss, "gain": 0.0}])


def test_there_are_gates_that_read_an_evaluation() -> None:
    assert len(GATES) == 4


def test_numbers_of_another_run_are_refused(harness: PracticeHarness) -> None:
    value = harness.record_evaluation(measured(harness), run="asset__1")
    with pytest.raises(Refused, match="no candidate evaluation of run flight_delay__evaluate/manual__1"):
        checked_evaluation(value, MODEL, harness, harness.context("evaluate", "judges"))


def test_an_evaluation_from_before_its_numbers_were_recorded_is_measured_again(harness: PracticeHarness) -> None:
    key = f"{MODEL}__evaluate/manual__1/measure_candidate/-1/0/x"
    line = {"gate": "candidate_evaluation", "outcome": "pass"}
    harness.ledger.append("gate", MODEL, "4", line, actor="test", key=key)
    value = measured(harness).model_dump(mode="json", by_alias=True)
    with pytest.raises(Refused, match="an earlier version wrote it, clear the task that returned it"):
        checked_evaluation(value, MODEL, harness, harness.context("evaluate", "judges"))


def test_a_digest_is_the_same_after_the_way_through_an_xcom(harness: PracticeHarness) -> None:
    result = measured(harness)
    again = type(result).model_validate(result.model_dump(mode="json", by_alias=True))
    assert result_digest(again) == result_digest(result)


@pytest.mark.parametrize("edit", [{"digest": "e" * 64}, {"rows": -1, "digest": 5}])
def test_no_training_uses_a_snapshot_that_nobody_judged(harness: PracticeHarness, edit: dict[str, Any]) -> None:
    value = harness.record_snapshot(snapshot(SnapshotRequest(model=MODEL, as_of=NOW)))
    context = harness.context("train", "train_model")
    with pytest.raises(Refused, match="clear the task that returned it"):
        ReproducibleTraining(task_id="train_model", model=MODEL, snapshot=value | edit).execute(context)
    assert (harness.asked, harness.lines("training")) == ([], [])


def test_where_nothing_is_live_a_ticket_to_release_other_bytes_releases_nothing(harness: PracticeHarness) -> None:
    harness.rollouts = FakeTarget(None)
    first = TICKET.model_copy(update={"champion": None})
    run = DeployRun(harness, Deployment(), first)
    value = first.model_dump(mode="json", by_alias=True) | {"bundle": "bundles/evil", "sha256": "e" * 64}
    with pytest.raises(Refused, match="bundle is bundles/evil, checked was bundles/5"):
        ChampionRelease(task_id="release", model=MODEL, ticket=value).execute(run.context("release"))
    assert (run.target.state(MODEL).version, run.target.calls) == (None, [])
