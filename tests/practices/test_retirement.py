from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from pipelines.spec.deployment import Deployment
from practices.retirement import Retirement
from tests.practices.deploy_run import DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness


@pytest.fixture
def run(harness: PracticeHarness) -> DeployRun:
    made = DeployRun(harness)
    assert made.play(until="promote_candidate")["promote_candidate"] == "success", made.reasons
    return made


def wait(run: DeployRun) -> Any:
    """The deferral of the task, from now on."""
    with pytest.raises(TaskDeferred) as deferred:
        run.tasks()["retire_former"].execute(run.context("retire_former"))
    return deferred.value


def test_the_former_version_can_be_put_back_for_the_whole_window_and_stays_after_it(run: DeployRun) -> None:
    promoted = run.clock()
    assert wait(run).trigger.until == (promoted + timedelta(seconds=3600)).isoformat()
    run.clock.advance(timedelta(seconds=1000))
    assert wait(run).trigger.until == (promoted + timedelta(seconds=3600)).isoformat()
    assert run.state.phase == "FINALISING"
    assert run.play()["retire_former"] == "success"
    assert (run.state.phase, run.state.previous) == ("SUCCEEDED", "4")


def test_a_promotion_that_was_taken_back_fails_with_the_reason(run: DeployRun) -> None:
    wait(run)
    run.target.roll_back(MODEL, "r5", "complaints", key="person")
    assert run.play()["retire_former"] == "failed"
    assert "version 5 was rolled back: complaints" in run.reasons["retire_former"][0]
    assert (run.state.champion, run.states["end_rollout"]) == ("4", "success")


def test_a_newer_rollout_ends_the_wait_quietly(run: DeployRun) -> None:
    plan = {"strategy": "canary", "lease_seconds": 60, "guard": {"max_error_rate": 0.1}}
    run.target.create_rollout(MODEL, "r6", plan, expect=run.state.generation, key="r6")
    assert run.play()["retire_former"] == "skipped"
    assert (run.state.champion, run.state.rollout_id) == ("5", "r6")


def test_where_nothing_was_staged_there_is_nothing_to_retire(harness: PracticeHarness) -> None:
    run = DeployRun(harness, Deployment())
    task = Retirement(task_id="e", model=MODEL, ticket=run.ticket.model_dump(mode="json", by_alias=True))
    assert "nothing to retire" in task.execute(run.context("retire_former"))["facts"]["note"]
