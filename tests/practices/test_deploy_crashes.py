"""Killed between any two acts, a deploy run ends as if it had not been: the crash table, row by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.practices.deploy_run import DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness


def kill_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, bad: int) -> list[DeployRun]:
    """The same run, killed once before and once after each of its outside acts, in turn."""
    whole = run_deploy(tmp_path, monkeypatch, bad=bad)
    return [
        run_deploy(tmp_path, monkeypatch, bad=bad, kill_at=(number, moment))
        for number in range(1, whole.acts + 1)
        for moment in ("before", "after")
    ]


def run_deploy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    bad: int,
    requests: int = 200,
    kill_at: tuple[int, str] | None = None,
) -> DeployRun:
    run = DeployRun(PracticeHarness.open(tmp_path, monkeypatch))
    run.bad, run.requests, run.kill_at = bad, requests, kill_at
    run.acts = 0
    run.play()
    return run


def test_a_good_candidate_is_promoted_once_wherever_a_worker_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = kill_everywhere(tmp_path, monkeypatch, bad=0)
    assert len(runs) > 40
    for run in runs:
        harness = run.field
        assert set(run.states.values()) == {"success"}, (run.kill_at, run.states, run.reasons)
        assert (run.state.champion, run.state.previous, run.state.phase) == ("5", "4", "SUCCEEDED"), run.kill_at
        assert run.state.step == 3, run.kill_at
        assert harness.registry.aliases == {"champion": "5", "previous": "4"}, run.kill_at
        assert [version for version, _ in harness.lines("release")] == ["5"], run.kill_at
        assert harness.registry.tags["5"]["airworthy.status"] == "live", run.kill_at
        assert harness.registry.tags["4"]["airworthy.status"] == "superseded", run.kill_at
        assert harness.lines("rollback") == [], run.kill_at
        assert harness.ledger.faults() == []


def test_a_bad_candidate_is_rolled_back_once_wherever_a_worker_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = kill_everywhere(tmp_path, monkeypatch, bad=60)
    assert len(runs) > 20
    for run in runs:
        harness = run.field
        assert run.states["judge_at_5"] == "failed", (run.kill_at, run.states)
        assert run.states["promote_candidate"] == "upstream_failed"
        assert run.states["end_rollout"] == "success", (run.kill_at, run.reasons)
        assert (run.state.champion, run.state.phase, run.state.split) == ("4", "ROLLED_BACK", {"4": 10_000})
        assert "60 of 200" in run.state.reason or "of the candidate" in run.state.reason, run.state.reason
        [(version, line)] = harness.lines("rollback")
        assert (version, line["from"], line["to"]) == ("5", "5", "4"), run.kill_at
        assert harness.registry.tags["5"]["airworthy.status"] == "rolled_back", run.kill_at
        assert harness.registry.aliases == {"champion": "4"}
        assert harness.lines("release") == []


def test_an_undecided_step_is_held_wherever_a_worker_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_deploy(tmp_path, monkeypatch, bad=0, requests=0)
    for number in range(whole.acts - 6, whole.acts + 1):  # from the last renewal of the lease on
        for moment in ("before", "after"):
            run = run_deploy(tmp_path, monkeypatch, bad=0, requests=0, kill_at=(number, moment))
            at = (number, moment, run.states)
            assert (run.states["judge_at_5"], run.states["end_rollout"]) == ("failed", "success"), at
            assert (run.state.phase, run.state.split) == ("PAUSED", {"4": 9500, "5": 500}), at
            assert run.field.lines("rollback") == [], at
            assert run.field.registry.tags["5"]["airworthy.status"] == "staged", at


def test_a_run_that_nobody_goes_on_with_ends_by_the_targets_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = DeployRun(PracticeHarness.open(tmp_path, monkeypatch))
    run.play(until="shift_to_5")
    run.target.expire_lease(MODEL)
    run.play()
    assert (run.states["judge_at_5"], run.states["end_rollout"]) == ("failed", "success")
    assert "its lease ended" in run.reasons["judge_at_5"]
    [(_, line)] = run.field.lines("rollback")
    assert (line["by"], line["reason"]) == ("target", "its lease ended")
