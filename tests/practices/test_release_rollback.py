"""Two releases, or a release and a rollout, are taken back by a person, whatever is down and wherever a try is cut."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused, Unavailable
from pipelines.ledger.version_state import lines_about, read_versions
from pipelines.testing.rollout_target import FakeTarget
from practices.release_rollback import ReleaseRollback
from tests.practices.practice_harness import MODEL, PracticeHarness

PLAN = {"strategy": "canary", "lease_seconds": 60.0, "guard": {"max_error_rate": 0.01}}


def roll_back(harness: PracticeHarness, run: str = "manual__1", who: str | None = "oncall", **asked: Any) -> Any:
    context = harness.context("rollback", "restore_previous", run=run, triggering_user_name=who)
    task = ReleaseRollback(task_id="restore_previous", model=MODEL, reason="bad", **asked)
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


def statuses(harness: PracticeHarness) -> dict[str, str | None]:
    return {version: tags.get("airworthy.status") for version, tags in harness.registry.tags.items()}


def record_release(harness: PracticeHarness, version: str, previous: str | None) -> None:
    harness.ledger.append("release", MODEL, version, {"previous": previous, "uri": "b", "sha256": "s"}, actor="test")


@pytest.fixture
def recorded(harness: PracticeHarness, target: FakeTarget) -> FakeTarget:
    """The same, and the ledger knows it."""
    for version in ("4", "5", "6"):
        harness.ledger.append("approval", MODEL, version, {"semantic_version": f"1.0.{version}"}, actor="test")
    record_release(harness, "4", None)
    record_release(harness, "5", "4")
    return target


def test_status_tags_and_certificate_lines_tell_which_version_was_taken_back(
    harness: PracticeHarness, recorded: FakeTarget
) -> None:
    roll_back(harness)
    assert statuses(harness) == {"4": "live", "5": "rolled_back", "6": "approved"}
    lines = harness.ledger.entries(MODEL)
    about = {version: [line.kind for line in lines_about(version, lines)] for version in ("4", "5")}
    assert about["4"] == ["training", "approval", "release"]
    assert about["5"] == ["training", "approval", "release", "gate", "rollback"]
    taken = read_versions(lines)["5"]
    assert (taken.by, taken.reason, taken.rollbacks[0].to) == ("oncall", "bad", "4")


@pytest.mark.parametrize(
    ("share", "status", "line_traffic"), [(1000, "rolled_back", 1000), (0, "failed_before_traffic", 0)]
)
def test_a_candidate_that_a_person_takes_back_was_met_by_callers_or_was_not(
    harness: PracticeHarness, recorded: FakeTarget, share: int, status: str, line_traffic: int
) -> None:
    recorded.create_rollout(MODEL, "r1", PLAN, expect=2, key="c")
    recorded.prepare(MODEL, "r1", "6", "bundle", "sha", expect=3, key="p")
    if share:
        recorded.set_traffic(MODEL, "r1", {"5": 10_000 - share, "6": share}, expect=4, key="t")
    roll_back(harness)
    assert statuses(harness)["6"] == status
    assert [line["traffic"] for _, line in harness.lines("rollback")] == [line_traffic]


def test_the_log_says_before_and_after_who_answers_next_and_warns_of_a_version_that_was_itself_taken_back(
    harness: PracticeHarness, recorded: FakeTarget, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    roll_back(harness)
    recorded.release(MODEL, "5", "bundle", "sha", key="5 again")
    record_release(harness, "5", "4")
    recorded.release(MODEL, "6", "bundle", "sha", key="6")
    record_release(harness, "6", "5")
    caplog.clear()
    roll_back(harness, run="manual__2")
    told = caplog.text
    before = told.index("version 6 loses its traffic, version 5 answers next")
    warning = told.index("version 5 was itself taken back on 2013-03-01 06:00 UTC by oncall: bad")
    assert before < warning < told.index("version 6 was taken back, version 5 of flight_delay answers")


def test_a_dry_run_says_what_would_happen_and_changes_nothing(harness: PracticeHarness, recorded: FakeTarget) -> None:
    before, lines = recorded.rollout(MODEL), len(harness.ledger.lines)
    with pytest.raises(AirflowSkipException, match="version 5 loses its traffic, version 4 answers next"):
        roll_back(harness, report_only="True")
    with pytest.raises(Refused, match="version 4 is the one that a rollback would restore"):
        roll_back(harness, version="4", report_only="True")
    assert recorded.rollout(MODEL) == before
    assert (len(harness.ledger.lines), harness.registry.aliases) == (lines, {"champion": "5", "previous": "4"})


@pytest.mark.parametrize("aliases", [{}, {"champion": "3"}, {"champion": "4"}])
def test_a_rollback_made_elsewhere_is_recorded_whatever_the_aliases_say(
    harness: PracticeHarness, recorded: FakeTarget, aliases: dict[str, str]
) -> None:
    recorded.restore_previous(MODEL, key="by http", reason="fast")
    harness.registry.add("3")
    harness.registry.name(**aliases)
    roll_back(harness)
    [(version, line)] = harness.lines("rollback")
    assert (version, line["from"], line["to"]) == ("5", "5", "4")
    assert (statuses(harness)["5"], harness.registry.aliases) == ("rolled_back", {"champion": "4"})


def test_a_rollback_that_the_ledger_has_already_is_not_written_twice_when_the_registry_lags(
    harness: PracticeHarness, recorded: FakeTarget
) -> None:
    roll_back(harness)
    harness.registry.name(champion="5", previous="4")
    harness.registry.set_tags(MODEL, "5", {"airworthy.status": "live"})
    roll_back(harness, run="manual__2")
    assert len(harness.lines("rollback")) == 1
    assert (statuses(harness)["5"], harness.registry.aliases) == ("rolled_back", {"champion": "4"})


def test_a_version_that_was_deleted_from_the_registry_can_still_be_put_back(
    harness: PracticeHarness, recorded: FakeTarget
) -> None:
    del harness.registry._versions[MODEL]["4"]
    assert roll_back(harness)["version"] == "4"
    assert harness.registry.aliases == {}
    assert harness.registry.tags["5"]["airworthy.status"] == "rolled_back"


def test_an_active_rollout_loses_its_candidate_and_the_champion_stays(
    harness: PracticeHarness, canary: FakeTarget
) -> None:
    assert roll_back(harness)["version"] == "5"
    after = canary.rollout(MODEL)
    assert (after.phase, after.split, after.previous) == ("ROLLED_BACK", {"5": 10_000}, "4")
    assert after.reason.startswith("bad (version 6 taken back by ")
    assert harness.registry.aliases == {"champion": "5", "previous": "4"}
    [line] = harness.ledger.entries(kind="rollback")
    assert (line.version, line.details["from"], line.details["to"], line.details["rollout_id"]) == ("6", "6", "5", "r1")


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
