from __future__ import annotations

from pipelines.spec.deployment import Approval, Approver, Deployment
from pipelines.spec.strategy import Analysis, Canary, MetricSpec
from tests.practices.deploy_run import CANARY, TICKET, DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness

PLAN = {"strategy": "canary", "lease_seconds": 600, "guard": {"max_error_rate": 0.05}}
FIRST = TICKET.model_copy(update={"champion": None})


def prepare(run: DeployRun) -> str:
    return run.play(until="prepare_candidate")["prepare_candidate"]


def begun(run: DeployRun, version: str) -> None:
    """Another rollout is on its way."""
    state = run.target.create_rollout(MODEL, "other", PLAN, expect=run.state.generation, key="other")
    run.target.prepare(MODEL, "other", version, f"bundles/{version}", "s", expect=state.generation, key="other prepare")


def test_the_candidate_is_loaded_beside_the_champion_and_nobody_meets_it(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    assert prepare(run) == "success"
    state = run.state
    assert (state.rollout_id, state.phase, state.candidate, state.split) == ("r5", "READY", "5", {"4": 10_000})
    [(verb, _, plan), *_] = run.target.calls
    assert (verb, plan["guard"]["max_error_rate"], plan["lease_seconds"]) == ("create_rollout", 0.05, 90)


def test_where_people_are_asked_the_candidate_waits_as_long_as_they_may(harness: PracticeHarness) -> None:
    approval = Approval(approvers=[Approver(role="lead", users=["ada"])], timeout=7200)
    run = DeployRun(harness, CANARY.model_copy(update={"approval": approval}))
    prepare(run)
    until = run.state.lease_until
    assert until
    assert (until - run.clock()).total_seconds() == 7200 + 90


def test_an_older_rollout_is_superseded(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    begun(run, "3")
    assert prepare(run) == "success"
    assert (run.state.rollout_id, run.state.candidate) == ("r5", "5")


def test_a_newer_rollout_is_never_superseded(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    begun(run, "6")
    assert prepare(run) == "failed"
    assert "the newer version 6" in run.reasons["prepare_candidate"][0]
    assert (run.state.rollout_id, run.state.candidate) == ("other", "6")


def test_a_champion_that_changed_since_the_run_began_is_not_rolled_over(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    run.target.release(MODEL, "6", "bundles/6", "s", key="somebody")
    assert prepare(run) == "failed"
    assert "version 6 is live, but this run expected 4" in run.reasons["prepare_candidate"][0]
    assert run.state.rollout_id is None


def test_a_plan_that_cannot_be_decided_is_refused_with_every_reason(harness: PracticeHarness) -> None:
    hopeless = MetricSpec(name="worse", max_ratio=1.5, fail_ratio=2.0)
    declared = Deployment(strategy="canary", canary=Canary(), analysis=Analysis(metrics=[hopeless]))
    run = DeployRun(harness, declared)
    assert prepare(run) == "failed"
    assert "fail_ratio 2.0 is beyond max_ratio 1.5" in run.reasons["prepare_candidate"][0]
    assert run.state.rollout_id is None


def test_a_candidate_that_the_target_refuses_leaves_no_rollout_behind(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    run.target.refusal_reasons = ["bundle.json was altered"]
    assert prepare(run) == "failed"
    altered, answering = run.reasons["prepare_candidate"]
    assert altered == "bundle.json was altered"
    assert "answers" not in run.state.reason
    assert answering.startswith("version 4 answers; trigger flight_delay__deploy with version 5")
    assert (run.state.phase, run.state.split) == ("FAILED", {"4": 10_000})


def test_a_cleared_preparation_finds_the_running_rollout_and_leaves_it_alone(harness: PracticeHarness) -> None:
    run = DeployRun(harness)
    run.play(until="shift_to_5")
    before = run.state
    assert run.clear("prepare_candidate") == "success"
    assert run.state == before


def test_the_first_version_has_nothing_to_be_prepared_beside(harness: PracticeHarness) -> None:
    run = DeployRun(harness, ticket=FIRST)
    assert run.play() == dict.fromkeys(run.tasks(), "success")
    assert run.target.state(MODEL).version == "5"
    assert [verb for verb, *_ in run.target.calls] == ["release"]
    assert harness.registry.aliases == {"champion": "5"}
