from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from pipelines.errors import Refused, Unavailable
from practices.rollout_analysis import RolloutAnalysis
from tests.practices.deploy_run import DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness


@pytest.fixture
def run(harness: PracticeHarness) -> DeployRun:
    """Version 5 has 5 % of the callers."""
    made = DeployRun(harness)
    made.play(until="shift_to_5")
    return made


def judge(run: DeployRun) -> str:
    return run.play(until="judge_at_5")["judge_at_5"]


def look(run: DeployRun, errors: int = 0, **run_fields: Any) -> Any:
    """One look: what it returned, or the deferral until the next."""
    task = run.tasks()["judge_at_5"]
    assert isinstance(task, RolloutAnalysis)
    context = run.contexts["look"] = run.field.context("deploy", "judge_at_5", run="r", **run_fields)
    try:
        return task.resume(context, {"moved": False}, errors)
    except TaskDeferred as deferred:
        return deferred


def age(run: DeployRun) -> float:
    started = run.state.step_started
    assert started
    return (run.clock() - started).total_seconds()


def test_a_good_candidate_goes_on_after_its_bake_time_and_not_before(run: DeployRun) -> None:
    run.answer()
    run.answer()
    assert isinstance(look(run), TaskDeferred)
    assert judge(run) == "success"
    assert 60 <= age(run) < 120
    [line] = [d for _, d in run.field.lines("rollout") if d["practice"] == "rollout_analysis"]
    assert (line["outcome"], line["share"], line["facts"]["action"]) == ("pass", 500, "go_on")
    assert line["facts"]["metrics"]["error_rate"]["outcome"] == "pass"


def test_between_two_looks_no_worker_waits_and_the_lease_is_kept_alive(run: DeployRun) -> None:
    run.clock.advance(timedelta(seconds=50))
    deferred = look(run)
    assert run.state.lease_until == run.clock() + timedelta(seconds=90)
    trigger = deferred.trigger
    assert (trigger.until, trigger.lease, trigger.generation) == (
        (run.clock() + timedelta(seconds=30)).isoformat(),
        90,
        run.state.generation,
    )


def test_a_bad_candidate_loses_its_traffic_before_anything_is_written_down(run: DeployRun) -> None:
    run.bad = 60
    run.answer()
    run.field.ledger.down = True
    with pytest.raises(Unavailable):
        look(run)
    assert (run.state.phase, run.state.split) == ("ROLLED_BACK", {"4": 10_000})
    run.field.ledger.down = False
    assert judge(run) == "failed"
    assert "60 of 200" in run.reasons["judge_at_5"][0]


def test_a_failed_analysis_shows_its_reasons_and_numbers_on_the_tasks_page(run: DeployRun) -> None:
    run.bad = 60
    run.answer()
    with pytest.raises(Refused, match="60 of 200 requests of the candidate"):
        look(run)
    pushed = run.contexts["look"]["pushed"]
    assert "60 of 200" in pushed["reasons"][0]
    assert (pushed["facts"]["candidate_units"], pushed["facts"]["candidate_events"]["bad"]) == (200, 60)


def test_without_requests_the_step_is_held_for_a_person_who_clears_it_to_go_on(run: DeployRun) -> None:
    run.requests = 0
    assert judge(run) == "failed"
    assert 300 <= age(run) < 360
    assert (run.state.phase, run.state.split) == ("PAUSED", {"4": 9500, "5": 500})
    assert any("clear judge_at_5 to continue the stage" in reason for reason in run.reasons["judge_at_5"])
    until = run.state.lease_until
    assert until
    assert (until - run.clock()).total_seconds() == 86400
    held = run.clock()
    assert run.clear("prepare_candidate") == "success"  # Airflow clears the setup of a cleared task, too
    assert run.state.phase == "PAUSED"
    assert run.clear("judge_at_5") == "failed"
    assert 300 <= (run.clock() - held).total_seconds() < 360
    run.requests = 200
    assert run.clear("judge_at_5") == "success"


def test_a_worker_killed_between_the_pause_and_its_record_does_not_let_the_step_go_on(run: DeployRun) -> None:
    run.requests = 0
    pause = run.target.pause

    def pause_and_break(*arguments: Any, **named: Any) -> Any:
        pause(*arguments, **named)
        run.field.ledger.down = True
        raise Unavailable("killed")

    run.clock.advance(timedelta(seconds=301))
    run.target.pause = pause_and_break  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        look(run)
    run.target.pause, run.field.ledger.down = pause, False  # type: ignore[method-assign]
    assert judge(run) == "failed"
    assert run.state.phase == "PAUSED"
    assert "paused: not decided after" in run.reasons["judge_at_5"][0]


def test_an_unmeasurable_step_is_held_after_so_many_looks(run: DeployRun) -> None:
    def silent(*_: Any) -> Any:
        raise Unavailable("no counts")

    run.target.counts = silent  # type: ignore[method-assign]
    assert judge(run) == "failed"
    assert "4 of 4 in a row" in run.reasons["judge_at_5"][0]
    assert (run.state.phase, run.state.split) == ("PAUSED", {"4": 9500, "5": 500})


def test_a_target_that_does_not_answer_is_waited_for_and_then_left_to_its_own_guard(run: DeployRun) -> None:
    run.target.down = True
    deferred = look(run, errors=2)
    assert (deferred.kwargs, deferred.trigger.lease) == ({"blind": 3}, None)
    with pytest.raises(Unavailable):
        look(run, errors=3)
    run.target.down = False
    assert isinstance(look(run, errors=3), TaskDeferred)


def test_a_measurement_that_works_again_starts_the_count_anew(run: DeployRun) -> None:
    assert look(run, errors=3).kwargs == {"blind": 0}


def test_a_rollback_by_the_guard_fails_the_task_with_the_guards_reason(run: DeployRun) -> None:
    run.target.roll_back(MODEL, "r5", "candidate version 5: 30 of 100 failed", key="guard")
    with pytest.raises(Refused, match="30 of 100 failed"):
        look(run)


def test_a_pause_by_a_person_is_reported_at_the_next_look(run: DeployRun) -> None:
    run.target.pause(MODEL, "r5", "wait for the weekend", expect=run.state.generation, key="person")
    with pytest.raises(Refused, match=r"(?s)wait for the weekend.*clear judge_at_5"):
        look(run)
    assert run.state.phase == "PAUSED"


def test_a_candidate_whose_traffic_is_gone_is_not_judged_by_what_it_did_before(run: DeployRun) -> None:
    run.play(until="shift_to_50")
    task = run.tasks()["judge_at_5"]
    assert run.run("judge_at_5", task) == "failed"
    assert "the candidate has 5000 basis points, this stage requires 500" in run.reasons["judge_at_5"][0]


def test_each_step_needs_units_of_its_own(run: DeployRun) -> None:
    run.play(until="shift_to_50")
    run.requests = 10
    for _ in range(3):
        run.answer()
    run.clock.advance(timedelta(seconds=100))
    task = run.tasks()["judge_at_50"]
    with pytest.raises(TaskDeferred):
        task.execute(run.context("judge_at_50"))
    run.answer()
    run.answer()
    assert task.execute(run.context("judge_at_50"))["outcome"] == "pass"
