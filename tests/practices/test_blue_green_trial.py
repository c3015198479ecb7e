from __future__ import annotations

from typing import Any

from pipelines.spec.deployment import Deployment
from pipelines.spec.strategy import Analysis, BlueGreen
from practices.blue_green_trial import BlueGreenTrial
from practices.rollout_analysis import RolloutAnalysis
from tests.practices.deploy_run import TICKET, DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness

DECLARED = Deployment(
    strategy="blue_green",
    blue_green=BlueGreen(test_traffic_percentage=10, validation_duration=120, error_threshold=0.05),
    analysis=Analysis(interval=30, minimum_units=50),
)


def trial(run: DeployRun) -> BlueGreenTrial:
    return BlueGreenTrial(task_id="try_green", model=MODEL, ticket=about(run))


def about(run: DeployRun) -> dict[str, Any]:
    return run.ticket.model_dump(mode="json", by_alias=True)


def test_green_gets_its_test_share_in_one_step_and_the_switch_is_the_promotion(harness: PracticeHarness) -> None:
    run = DeployRun(harness, DECLARED)
    run.play(until="prepare_candidate")
    assert run.run("try_green", trial(run)) == "success"
    assert (run.state.phase, run.state.split, run.state.step) == ("BAKING", {"4": 9000, "5": 1000}, 1)
    assert run.run("try_green", trial(run)) == "success"
    assert run.state.step == 1
    began = run.clock()
    judge = RolloutAnalysis(task_id="judge_green", share=1000, model=MODEL, ticket=about(run))
    assert run.run("judge_green", judge) == "success"
    assert (run.clock() - began).total_seconds() >= 120
    promote, retire = run.tasks()["promote_candidate"], run.tasks()["retire_former"]
    assert run.run("promote_candidate", promote) == "success", run.reasons
    assert (run.state.champion, run.state.previous, run.state.split) == ("5", "4", {"5": 10_000})
    assert run.run("retire_former", retire) == "success"


def test_green_is_not_switched_to_without_its_trial(harness: PracticeHarness) -> None:
    run = DeployRun(harness, DECLARED)
    run.play(until="prepare_candidate")
    assert run.run("promote_candidate", run.tasks()["promote_candidate"]) == "failed"
    assert "rollout_analysis at 10 % has no verdict" in run.reasons["promote_candidate"][0]
    assert run.state.champion == "4"


def test_the_first_version_is_tried_on_nobody(harness: PracticeHarness) -> None:
    run = DeployRun(harness, DECLARED)
    run.ticket = TICKET.model_copy(update={"champion": None})
    harness.pass_checklist(run.ticket, run="r")
    assert run.run("try_green", trial(run)) == "success"
    assert run.state.rollout_id is None
