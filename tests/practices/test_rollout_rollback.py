from __future__ import annotations

import pytest

from pipelines.errors import Refused
from pipelines.ledger.version_state import State, read_versions
from pipelines.spec.deployment import Deployment
from pipelines.spec.strategy import Shadow
from practices.rollout_rollback import RolloutRollback
from practices.shadow_comparison import ShadowComparison
from tests.practices import compared
from tests.practices.compared import Compared
from tests.practices.deploy_run import TICKET, DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness


@pytest.fixture
def run(harness: PracticeHarness) -> DeployRun:
    made = DeployRun(harness)
    made.play(until="shift_to_5")
    return made


def end(run: DeployRun, **states: str) -> str:
    run.states |= states
    return run.run("end_rollout", run.tasks()["end_rollout"])


def status(run: DeployRun) -> str:
    return run.field.registry.tags["5"]["airworthy.status"]


def test_a_candidate_whose_run_failed_loses_its_traffic_and_waits_for_nobody(run: DeployRun) -> None:
    assert end(run, judge_at_5="failed") == "success"
    assert (run.state.phase, run.state.split) == ("ROLLED_BACK", {"4": 10_000})
    assert run.state.reason == "judge_at_5 failed without a verdict; its log says why"
    [(version, line)] = run.field.lines("rollback")
    assert (version, line["from"], line["to"], line["by"]) == ("5", "5", "4", "run")
    assert line["traffic"] == 500
    assert status(run) == "rolled_back"


def test_a_candidate_that_failed_before_any_traffic_was_not_rolled_back(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    run.play(until="prepare_candidate")
    assert status(run) == "staged"
    assert end(run, compare_in_shadow="failed") == "success"
    assert status(run) == "failed_before_traffic"
    assert [(version, line["traffic"]) for version, line in run.field.lines("rollback")] == [("5", 0)]


def test_a_shadow_that_nobody_asked_is_the_reason_of_the_version_and_not_the_name_of_its_task(
    harness: PracticeHarness,
) -> None:
    shadow = Compared(harness, ShadowComparison, Deployment(strategy="shadow", shadow=Shadow(duration=60)))
    shadow.start()
    with pytest.raises(Refused):
        shadow.look(after=121)
    context = harness.context("deploy", "end_rollout")
    context["ti"].get_task_states = lambda dag_id, run_ids: {run_ids[0]: {"compare": "failed"}}
    RolloutRollback(task_id="end", model=MODEL, ticket=compared.TICKET.model_dump(mode="json")).execute(context)
    known = read_versions(harness.ledger.entries(MODEL))["5"]
    assert known.state is State.FAILED_BEFORE_TRAFFIC
    assert known.reason.startswith(
        "compare failed: nobody asked the gateway for flight_delay in the 121 s of its shadow"
    )
    assert shadow.state.reason == known.reason


def test_a_candidate_that_its_target_could_not_load_is_written_down_as_failed(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    run.target.refusal_reasons = ["golden row 0: answers 0.25"]
    run.play(until="prepare_candidate")
    run.states["prepare_candidate"] = "failed"
    for _ in range(2):
        assert end(run) == "success"
    assert status(run) == "failed_before_traffic"
    [(version, line)] = run.field.lines("rollback")
    assert (version, line["traffic"], "golden row 0" in line["reason"]) == ("5", 0, True)


@pytest.mark.parametrize("met", [0, 500])
def test_a_rollback_by_the_target_itself_is_written_down_with_the_traffic_that_it_counted(
    run: DeployRun, met: int
) -> None:
    if met:
        run.answer()
    else:
        run.target.add_counts(MODEL, "4", "champion", requests=200)
    run.target.roll_back(MODEL, "r5", "30 of 100 failed", key="guard")
    assert end(run, judge_at_5="failed") == "success"
    [(_, line)] = run.field.lines("rollback")
    assert (line["by"], line["reason"], line["traffic"]) == ("target", "30 of 100 failed", met)
    assert status(run) == ("rolled_back" if met else "failed_before_traffic")
    assert end(run) == "success"
    assert len(run.field.lines("rollback")) == 1


def test_a_rollout_that_is_held_for_a_person_stays(run: DeployRun) -> None:
    run.target.pause(MODEL, "r5", "not decided after 300 s", expect=run.state.generation, key="hold")
    assert end(run, judge_at_5="failed") == "success"
    assert (run.state.phase, run.state.split) == ("PAUSED", {"4": 9500, "5": 500})
    assert "for a person: not decided" in run.field.lines("rollout")[-1][1]["facts"]["why"]
    assert status(run) == "staged"


def test_a_candidate_that_people_did_not_let_through_ends_quietly(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    run.play(until="prepare_candidate")
    refused = {"outcome": "fail", "reasons": ["ada said no"]}
    for number, outcome in enumerate([refused, {"outcome": "pass", "reasons": []}, refused]):
        key = f"{MODEL}__deploy/r/count_approvals/-1/{number}/x"
        harness.ledger.append("approval_quorum", MODEL, "5", outcome, actor="test", key=key)
    assert end(run, count_approvals="skipped") == "success"
    why = "the candidate was not let through: ada said no"
    assert (run.state.phase, run.state.reason) == ("ROLLED_BACK", why)
    assert end(run, count_approvals="skipped") == "success"
    assert status(run) == "approved"
    assert run.field.lines("rollback") == []
    assert [line["from"] for _, line in run.field.lines("rollout_end")] == ["5"]


def test_a_promoted_candidate_stays_whatever_failed_after_it(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    run.play(until="promote_candidate")
    assert end(run, retire_former="failed") == "success"
    assert (run.state.champion, run.state.phase) == ("5", "FINALISING")
    assert run.field.lines("rollback") == []


def test_a_promotion_that_the_target_took_back_by_itself_is_written_down_and_the_registry_follows(
    harness: PracticeHarness,
) -> None:
    run = DeployRun(harness)
    run.play(until="promote_candidate")
    assert harness.registry.aliases == {"champion": "5", "previous": "4"}
    run.target.roll_back(MODEL, "r5", "60 of 200 failed", key="guard")
    assert end(run, retire_former="failed") == "success"
    [(version, line)] = run.field.lines("rollback")
    assert (version, line["from"], line["to"], line["reason"]) == ("5", "5", "4", "60 of 200 failed")
    statuses = {name: tags["airworthy.status"] for name, tags in harness.registry.tags.items()}
    assert (statuses["4"], statuses["5"], harness.registry.aliases) == ("live", "rolled_back", {"champion": "4"})


def test_a_rollout_of_somebody_else_is_left_alone(run: DeployRun) -> None:
    plan = {"strategy": "canary", "lease_seconds": 60, "guard": {"max_error_rate": 0.1}, "supersede": True}
    run.target.create_rollout(MODEL, "r6", plan, expect=run.state.generation, key="r6")
    before = run.state
    for _ in range(2):
        assert end(run, judge_at_5="skipped") == "success"
    assert run.state == before
    assert status(run) == "approved"
    assert [line["reason"] for _, line in run.field.lines("rollout_end")] == ["rollout r6 took its place"]


def test_a_promoted_version_was_not_ended_by_the_rollout_that_came_after_it(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    run.play(until="promote_candidate")
    plan = {"strategy": "canary", "lease_seconds": 60, "guard": {"max_error_rate": 0.1}}
    run.target.create_rollout(MODEL, "r6", plan, expect=run.state.generation, key="r6")
    assert end(run, retire_former="skipped") == "success"
    assert status(run) == "live"
    assert run.field.lines("rollout_end") == []


@pytest.mark.parametrize(
    ("champion", "note"), [(None, "this is the first version of flight_delay"), ("5", "version 5 is live already")]
)
def test_a_run_without_a_rollout_takes_nothing_back(harness: PracticeHarness, champion: str | None, note: str) -> None:
    run = DeployRun(harness, Deployment(), TICKET.model_copy(update={"champion": champion}))
    task = RolloutRollback(task_id="f", model=MODEL, ticket=run.ticket.model_dump(mode="json", by_alias=True))
    assert task.execute(run.context("end_rollout"))["facts"]["note"].startswith(note)
