from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from pipelines.errors import Unavailable
from pipelines.spec.deployment import Deployment, HttpRoute, RollbackSpec
from practices.retirement import Retirement
from tests.practices.deploy_run import CANARY, TICKET, DeployRun
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


HTTP_ROUTE = HttpRoute(kind="http_route", gateway="public", image="image")


def watching(harness: PracticeHarness, **rollback: Any) -> DeployRun:
    """Version 5 is promoted on a target that does not watch by itself."""
    declared = CANARY.model_copy(update={"target": HTTP_ROUTE, "rollback": RollbackSpec(**rollback)})
    run = DeployRun(harness, declared)
    run.play(until="promote_candidate")
    return run


def test_where_the_target_does_not_watch_the_task_looks_at_each_interval_and_takes_a_bad_version_back(
    harness: PracticeHarness,
) -> None:
    run = watching(harness)
    run.target.add_counts(MODEL, "5", "champion", requests=500, failed=1)
    assert wait(run).trigger.until == (run.clock() + timedelta(seconds=30)).isoformat()
    run.target.add_counts(MODEL, "5", "champion", requests=500, failed=200)
    assert run.play()["retire_former"] == "failed"
    assert run.reasons["retire_former"][0].startswith("promoted version 5: 201 of 1000 failed, the limit is 0.05")
    assert (run.state.champion, run.state.phase) == ("4", "ROLLED_BACK")
    assert run.state.reason == run.reasons["retire_former"][0]
    assert run.states["end_rollout"] == "success"
    assert run.field.registry.aliases == {"champion": "4"}


def test_a_version_that_a_person_shall_take_back_is_only_waited_for(harness: PracticeHarness) -> None:
    run = watching(harness, automatic=False)
    run.target.add_counts(MODEL, "5", "champion", requests=500, failed=400)
    assert wait(run).trigger.until == (run.clock() + timedelta(seconds=3600)).isoformat()
    assert run.play()["retire_former"] == "success"
    assert run.state.champion == "5"


def test_counts_that_cannot_be_read_are_looked_for_again(
    harness: PracticeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = watching(harness)

    def no_answer(*_: Any) -> Any:
        raise Unavailable("no pod answers")

    with monkeypatch.context() as broken:
        broken.setattr(run.target, "counts", no_answer)
        assert wait(run).trigger.until == (run.clock() + timedelta(seconds=30)).isoformat()
    assert run.state.phase == "FINALISING"


def test_a_newer_rollout_ends_the_wait_quietly(run: DeployRun) -> None:
    plan = {"strategy": "canary", "lease_seconds": 60, "guard": {"max_error_rate": 0.1}}
    run.target.create_rollout(MODEL, "r6", plan, expect=run.state.generation, key="r6")
    assert run.play()["retire_former"] == "skipped"
    assert (run.state.champion, run.state.rollout_id) == ("5", "r6")


@pytest.mark.parametrize(
    ("champion", "note"), [(None, "this is the first version of flight_delay"), ("5", "version 5 is live already")]
)
def test_a_run_without_a_rollout_has_nothing_to_retire(
    harness: PracticeHarness, champion: str | None, note: str
) -> None:
    run = DeployRun(harness, Deployment(), TICKET.model_copy(update={"champion": champion}))
    task = Retirement(task_id="e", model=MODEL, ticket=run.ticket.model_dump(mode="json", by_alias=True))
    assert task.execute(run.context("retire_former"))["facts"]["note"].startswith(note)
