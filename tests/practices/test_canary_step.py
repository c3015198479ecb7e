from __future__ import annotations

import pytest

from pipelines.spec.deployment import Approval, Approver
from tests.practices.deploy_run import CANARY, DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness


@pytest.fixture
def run(harness: PracticeHarness) -> DeployRun:
    made = DeployRun(harness)
    made.play(until="prepare_candidate")
    return made


def shift(run: DeployRun) -> str:
    return run.play(until="shift_to_5")["shift_to_5"]


def test_the_candidate_gets_its_share_under_the_declared_lease(run: DeployRun) -> None:
    assert shift(run) == "success"
    state = run.state
    assert (state.phase, state.split) == ("BAKING", {"4": 9500, "5": 500})
    assert state.lease_until
    assert (state.lease_until - run.clock()).total_seconds() == 90
    [line] = [d for _, d in run.field.lines("rollout") if d["practice"] == "canary_step"]
    assert (line["outcome"], line["share"], line["rollout_id"], line["sha256"]) == ("pass", 500, "r5", "s5")


def test_done_again_it_moves_nothing(run: DeployRun) -> None:
    shift(run)
    before = run.state
    assert run.clear("shift_to_5") == "success"
    assert run.state == before


def test_a_rollout_that_somebody_paused_is_reported_and_resumed_once_a_person_clears_the_task(run: DeployRun) -> None:
    run.target.pause(MODEL, "r5", "look at this first", expect=run.state.generation, key="person")
    assert shift(run) == "failed"
    assert "paused: look at this first" in run.reasons["shift_to_5"]
    assert (run.state.phase, run.state.split) == ("PAUSED", {"4": 10_000})
    assert run.clear("shift_to_5") == "success"
    assert (run.state.phase, run.state.split) == ("BAKING", {"4": 9500, "5": 500})


def test_a_rollout_that_the_target_took_back_is_refused_with_its_reason(run: DeployRun) -> None:
    run.target.roll_back(MODEL, "r5", "guard: 30 of 100 failed", key="guard")
    assert shift(run) == "failed"
    assert run.reasons["shift_to_5"][0] == "guard: 30 of 100 failed"
    assert run.state.split == {"4": 10_000}


def test_a_rollout_that_a_newer_one_took_over_ends_quietly(run: DeployRun) -> None:
    plan = {"strategy": "canary", "lease_seconds": 60, "guard": {"max_error_rate": 0.1}, "supersede": True}
    run.target.create_rollout(MODEL, "r6", plan, expect=run.state.generation, key="r6")
    assert shift(run) == "skipped"
    assert run.state.rollout_id == "r6"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, ""),
        ({"outcome": "fail"}, "approval_quorum said fail"),
        ({"sha256": "another bundle"}, "approval_quorum has no verdict on this bundle in this run"),
        ({"rollout_id": "another run"}, "approval_quorum has no verdict on this bundle in this run"),
        (None, "approval_quorum has no verdict on this bundle in this run"),
    ],
)
def test_a_task_before_it_that_somebody_marked_green_is_no_approval(
    harness: PracticeHarness, said: dict[str, str] | None, reason: str
) -> None:
    approval = Approval(approvers=[Approver(role="lead", users=["ada"])])
    run = DeployRun(harness, CANARY.model_copy(update={"approval": approval}))
    run.play(until="prepare_candidate")
    if said is not None:
        line = {"outcome": "pass", "rollout_id": "r5", "sha256": "s5", "model_digest": "d5"} | said
        harness.ledger.append("approval_quorum", MODEL, "5", line, actor="ada")
    assert shift(run) == ("failed" if reason else "success")
    assert run.state.split == ({"4": 10_000} if reason else {"4": 9500, "5": 500})
    assert reason in "".join(run.reasons.get("shift_to_5", []))


def test_the_next_share_needs_the_judgement_of_the_one_before(run: DeployRun) -> None:
    shift(run)
    run.states["judge_at_5"] = "success"  # marked by hand
    assert run.play(until="shift_to_50")["shift_to_50"] == "failed"
    assert "rollout_analysis at 5 % has no verdict" in run.reasons["shift_to_50"][0]
    assert run.state.split == {"4": 9500, "5": 500}
