"""Two releases, or a release and a rollout, are taken back by a person, whatever is down and wherever a try is cut."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.errors import Refused, Unavailable
from pipelines.testing.rollout_target import FakeTarget
from practices.release_rollback import ReleaseRollback
from tests.practices.practice_harness import MODEL, PracticeHarness

PLAN = {"strategy": "canary", "lease_seconds": 60.0, "guard": {"max_error_rate": 0.01}}


def roll_back(harness: PracticeHarness, run: str = "manual__1", who: str | None = "oncall", version: str = "") -> Any:
    context = harness.context("rollback", "restore_previous", run=run, triggering_user_name=who)
    task = ReleaseRollback(task_id="restore_previous", model=MODEL, reason="bad", version=version)
    return task.execute(context)


@pytest.fixture
def target(harness: PracticeHarness) -> FakeTarget:
    """Version 5 is live, 4 was before."""
    harness.rollouts = FakeTarget("4")
    harness.rollouts.release(MODEL, "5", "bundle", "sha", key="5")
    for version in ("4", "5", "6"):
        harness.registry.add(version, status="approved")
    harness.registry.name(champion="5", previous="4")
    return harness.rollouts


@pytest.fixture
def canary(target: FakeTarget) -> FakeTarget:
    """Version 6 has a tenth of the traffic."""
    target.create_rollout(MODEL, "r1", PLAN, expect=2, key="c")
    target.prepare(MODEL, "r1", "6", "bundle", "sha", expect=3, key="p")
    target.set_traffic(MODEL, "r1", {"5": 9000, "6": 1000}, expect=4, key="t")
    return target


def test_the_version_before_is_live_again_and_the_records_follow(harness: PracticeHarness, target: FakeTarget) -> None:
    assert roll_back(harness)["version"] == "4"
    assert target.state(MODEL).version == "4"
    assert harness.registry.aliases == {"champion": "4"}
    [line] = harness.ledger.entries(kind="rollback")
    assert (line.actor, line.details["from"], line.details["to"], line.details["reason"]) == ("oncall", "5", "4", "bad")


def test_an_active_rollout_loses_its_candidate_and_the_champion_stays(
    harness: PracticeHarness, canary: FakeTarget
) -> None:
    assert roll_back(harness)["version"] == "5"
    after = canary.rollout(MODEL)
    assert (after.phase, after.split, after.previous) == ("ROLLED_BACK", {"5": 10_000}, "4")
    assert after.reason.startswith("bad (version 6 taken back by ")
    assert harness.registry.aliases == {"champion": "5", "previous": "4"}
    [line] = harness.ledger.entries(kind="rollback")
    assert (line.version, line.details["from"], line.details["rollout_id"]) == ("5", "6", "r1")


def test_a_promotion_that_is_being_finished_is_taken_back(harness: PracticeHarness, canary: FakeTarget) -> None:
    canary.promote(MODEL, "r1", "6", expect=5, key="promote")
    harness.registry.name(champion="6", previous="5")
    assert roll_back(harness)["version"] == "5"
    assert canary.rollout(MODEL).phase == "ROLLED_BACK"
    assert harness.registry.aliases == {"champion": "5"}
    assert harness.lines("rollback")[0][1]["from"] == "6"


def test_there_is_no_second_step_back(harness: PracticeHarness, target: FakeTarget) -> None:
    roll_back(harness)
    with pytest.raises(Refused, match="no version before 4"):
        roll_back(harness, run="manual__2")
    assert target.state(MODEL).version == "4"


def test_a_version_that_is_not_the_newest_is_not_taken_back(harness: PracticeHarness, canary: FakeTarget) -> None:
    with pytest.raises(Refused, match="would restore"):
        roll_back(harness, version="5")
    roll_back(harness, version="6")
    with pytest.raises(Refused, match="version 6 has no traffic"):
        roll_back(harness, run="manual__2", version="6")
    assert canary.state(MODEL).version == "5"


def test_a_model_that_is_not_live_is_refused(harness: PracticeHarness) -> None:
    harness.rollouts = FakeTarget(None)
    with pytest.raises(Refused, match="no champion"):
        roll_back(harness)


@pytest.mark.parametrize("moment", ["traffic", "previous", "champion", "after everything"])
def test_a_rollback_cut_off_half_way_is_finished_and_not_repeated(
    harness: PracticeHarness, target: FakeTarget, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def die(*_: Any) -> Any:
        raise Unavailable("killed")

    with monkeypatch.context() as broken:
        if moment == "traffic":
            whole = target.restore_previous
            broken.setattr(target, "restore_previous", lambda *a, **n: die(whole(*a, **n)))
        elif moment == "after everything":
            broken.setattr("practices.release_rollback.asset", die)
        else:
            harness.registry.break_on = moment
        with pytest.raises(Unavailable):
            roll_back(harness)
    roll_back(harness)
    assert target.state(MODEL).generation == 3
    assert harness.registry.aliases == {"champion": "4"}
    [line] = harness.ledger.entries(kind="rollback")
    assert line.details["from"] == "5"


@pytest.mark.parametrize("down", ["ledger", "registry"])
def test_traffic_goes_back_with_ledger_or_registry_down_and_the_next_try_tells_them(
    harness: PracticeHarness, canary: FakeTarget, down: str
) -> None:
    getattr(harness, down).down = True
    with pytest.raises(Unavailable):
        roll_back(harness)
    assert canary.rollout(MODEL).split == {"5": 10_000}
    getattr(harness, down).down = False
    roll_back(harness)
    assert canary.state(MODEL).version == "5", "the version before the champion must not come back too"
    assert [line["from"] for _, line in harness.lines("rollback")] == ["6"]


def test_a_rollback_made_elsewhere_is_only_recorded(harness: PracticeHarness, target: FakeTarget) -> None:
    target.restore_previous(MODEL, key="cli", reason="fast")
    roll_back(harness)
    assert target.state(MODEL).generation == 3
    assert harness.registry.aliases == {"champion": "4"}
    assert len(harness.lines("rollback")) == 1


def test_a_release_whose_records_lag_behind_is_still_rolled_back(harness: PracticeHarness, target: FakeTarget) -> None:
    harness.registry.name(champion="4")
    roll_back(harness)
    assert target.state(MODEL).version == "4"


def test_a_try_that_finds_its_rollback_undone_by_a_release_takes_nothing_back(
    harness: PracticeHarness, target: FakeTarget
) -> None:
    harness.ledger.down = True
    with pytest.raises(Unavailable):
        roll_back(harness)
    harness.ledger.down = False
    target.release(MODEL, "6", "bundle", "sha", key="6")
    with pytest.raises(Refused, match="6 of flight_delay is live again"):
        roll_back(harness)
    assert target.state(MODEL).version == "6"
