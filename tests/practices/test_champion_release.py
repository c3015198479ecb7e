from __future__ import annotations

from typing import Any

import pytest

from pipelines.errors import Refused, Unavailable
from pipelines.ledger.required_evidence import REQUIRED_GATES
from pipelines.messages.release import LiveState
from pipelines.rollout.from_spec import target_plan
from pipelines.spec.deployment import Approval, Approver, Deployment
from pipelines.testing.rollout_target import FakeTarget
from practices.champion_release import ChampionRelease
from tests.practices.practice_harness import MODEL, PracticeHarness, emitted


def approve(
    harness: PracticeHarness, version: str, *, gates: tuple[str, ...] = REQUIRED_GATES, outcome: str = "pass"
) -> None:
    """A version as ``evaluate`` leaves it."""
    digest = f"d{version}"
    harness.registry.add(version, status="approved", model_digest=digest, semantic_version=f"1.0.{version}")
    for gate in gates:
        details = {"gate": gate, "outcome": outcome, "model_digest": digest}
        harness.ledger.append("gate", MODEL, version, details, actor="test")
    details = {"semantic_version": f"1.0.{version}", "model_digest": digest}
    harness.ledger.append("approval", MODEL, version, details, actor="test")


@pytest.fixture(autouse=True)
def target(harness: PracticeHarness) -> FakeTarget:
    """Serves nothing yet."""
    harness.rollouts = FakeTarget(None)
    return harness.rollouts


def ticket_for(harness: PracticeHarness, version: str, **changes: Any) -> dict[str, Any]:
    """What the first task of a run that begins now would write."""
    ticket = {
        "model": MODEL,
        "version": version,
        "rollout_id": f"r{version}",
        "champion": harness.target(MODEL).state(MODEL).version,
        "bundle": f"bundles/{MODEL}/{version}/",
        "sha256": f"s{version}",
        "model_digest": f"d{version}",
    }
    return ticket | changes


def release(harness: PracticeHarness, version: str, *, ticket: dict[str, Any] | None = None, clears: int = 0) -> Any:
    made = harness.context("deploy", "release_champion", run=f"asset__{version}", clear_number=clears)
    asked = ticket or ticket_for(harness, version)
    harness.pass_checklist(asked, run=f"asset__{version}")
    if asked["champion"] and asked["champion"] != version:
        stage(harness, asked)
    ChampionRelease(task_id="release_champion", model=MODEL, ticket=asked).execute(made)
    return made


def stage(harness: PracticeHarness, ticket: dict[str, Any]) -> None:
    """The candidate stands beside the champion, as the tasks before leave it."""
    target, rollout_id = harness.target(MODEL), ticket["rollout_id"]
    if target.rollout(MODEL).rollout_id == rollout_id:
        return
    generation = target.rollout(MODEL).generation
    plan = target_plan(harness.catalog.model(MODEL))
    state = target.create_rollout(MODEL, rollout_id, plan, expect=generation, key=f"{rollout_id}/create")
    bundle = (ticket["version"], ticket["bundle"], ticket["sha256"])
    target.prepare(MODEL, rollout_id, *bundle, expect=state.generation, key=f"{rollout_id}/prepare")


def live(harness: PracticeHarness) -> tuple[str | None, dict[str, str]]:
    return harness.target(MODEL).state(MODEL).version, harness.registry.aliases


def test_the_first_release_makes_the_version_live_and_the_champion(harness: PracticeHarness) -> None:
    approve(harness, "4")
    context = release(harness, "4")
    assert live(harness) == ("4", {"champion": "4"})
    assert emitted(context, "released")["version"] == "4"
    [(version, details)] = harness.lines("release")
    assert (version, details["from"], details["semantic_version"], details["sha256"]) == ("4", None, "1.0.4", "s4")


def test_the_next_release_keeps_the_former_version_as_previous(harness: PracticeHarness) -> None:
    for version in ("4", "5"):
        approve(harness, version)
        release(harness, version)
    assert live(harness) == ("5", {"champion": "5", "previous": "4"})


@pytest.mark.parametrize(
    ("gates", "outcome", "reason"),
    [
        (REQUIRED_GATES[:2], "pass", "slice_gate has no verdict"),
        (REQUIRED_GATES, "fail", "minimum_metrics_gate said fail"),
        (REQUIRED_GATES, "unknown", "was not measured"),
    ],
)
def test_without_every_gate_passed_nothing_goes_live(
    harness: PracticeHarness, gates: tuple[str, ...], outcome: str, reason: str
) -> None:
    approve(harness, "4", gates=gates, outcome=outcome)
    with pytest.raises(Refused, match=reason):
        release(harness, "4")
    assert live(harness) == (None, {})
    assert harness.lines("release") == []


def test_a_gate_passed_by_another_model_file_does_not_count(harness: PracticeHarness) -> None:
    approve(harness, "4")
    with pytest.raises(Refused, match="has no verdict about this model"):
        release(harness, "4", ticket=ticket_for(harness, "4", model_digest="tampered"))
    assert live(harness) == (None, {})


def test_the_last_word_of_a_gate_counts(harness: PracticeHarness) -> None:
    approve(harness, "4")
    details = {"gate": "slice_gate", "outcome": "fail", "model_digest": "d4"}
    harness.ledger.append("gate", MODEL, "4", details, actor="test")
    with pytest.raises(Refused, match="slice_gate said fail"):
        release(harness, "4")


def test_a_release_that_is_cleared_while_its_version_is_live_is_one_release_on_record(
    harness: PracticeHarness, target: FakeTarget
) -> None:
    for version in ("4", "5"):
        approve(harness, version)
    release(harness, "4")
    ticket = ticket_for(harness, "5")
    for clears in range(3):
        context = release(harness, "5", ticket=ticket, clears=clears)
    assert [verb for verb, *_ in target.calls].count("promote") == 1
    assert [version for version, _ in harness.lines("release")] == ["4", "5"]
    assert emitted(context, "released")["version"] == "5"


@pytest.mark.parametrize("moment", ["read back", "ledger", "previous", "champion", "after everything"])
def test_a_try_cut_off_after_traffic_moved_ends_right_when_tried_again(
    harness: PracticeHarness, target: FakeTarget, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    approve(harness, "4")
    approve(harness, "5")
    release(harness, "4")
    ticket = ticket_for(harness, "5")
    with monkeypatch.context() as broken:
        cut_off(harness, broken, moment)
        with pytest.raises(Unavailable):
            release(harness, "5", ticket=ticket)
    release(harness, "5", ticket=ticket)
    assert live(harness) == ("5", {"champion": "5", "previous": "4"})
    assert [verb for verb, *_ in target.calls].count("promote") == 1
    assert [version for version, _ in harness.lines("release")] == ["4", "5"]


def cut_off(harness: PracticeHarness, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Let the task die right before (or for "after everything", after) the action named."""

    def die(*_: Any, **__: Any) -> Any:
        raise Unavailable("killed")

    if moment == "read back":
        target: Any = harness.target(MODEL)
        whole = target.promote

        def promote_and_die(*arguments: Any, **named: Any) -> Any:
            whole(*arguments, **named)
            return die()

        monkeypatch.setattr(target, "promote", promote_and_die)
    elif moment == "ledger":
        append = harness.ledger.append

        def append_or_die(kind: str, *rest: Any, **named: Any) -> Any:
            return die() if kind == "release" else append(kind, *rest, **named)

        monkeypatch.setattr(harness.ledger, "append", append_or_die)
    elif moment in ("previous", "champion"):
        harness.registry.break_on = moment
    else:
        monkeypatch.setattr("practices.champion_release.asset", die)


def test_a_version_released_since_is_not_overruled_by_a_late_retry(
    harness: PracticeHarness, target: FakeTarget
) -> None:
    approve(harness, "4")
    approve(harness, "5")
    release(harness, "4")
    ticket = ticket_for(harness, "5")
    release(harness, "5", ticket=ticket)
    target.restore_previous(MODEL, key="person", reason="bad")
    with pytest.raises(Refused, match=r"(?s)was rolled back.*trigger flight_delay__deploy"):
        release(harness, "5", ticket=ticket)
    assert target.state(MODEL).version == "4"


def test_a_version_that_went_live_since_the_run_began_is_not_replaced_unseen(harness: PracticeHarness) -> None:
    for version in ("4", "5"):
        approve(harness, version)
    ticket = ticket_for(harness, "5")
    release(harness, "4")
    with pytest.raises(Refused, match=r"(?s)version 5 was to replace nothing.*version 4 went live meanwhile"):
        release(harness, "5", ticket=ticket)
    assert live(harness) == ("4", {"champion": "4"})


def test_the_registry_shows_what_a_release_makes_of_every_version(harness: PracticeHarness) -> None:
    for version in ("4", "5", "6"):
        approve(harness, version)
        release(harness, version)
    status = {version: tags["airworthy.status"] for version, tags in harness.registry.tags.items()}
    assert status == {"4": "retired", "5": "superseded", "6": "live"}


@pytest.mark.parametrize("alias", [{}, {"champion": "3"}])
def test_a_release_replaces_what_the_target_serves_whatever_the_alias_names(
    harness: PracticeHarness, alias: dict[str, str]
) -> None:
    harness.registry.add("3")
    for version in ("4", "5"):
        approve(harness, version)
    release(harness, "4")
    harness.registry.name(**alias)
    release(harness, "5")
    assert harness.lines("release")[-1][1]["from"] == "4"
    assert harness.registry.aliases == {"champion": "5", "previous": "4"}


def test_a_former_version_that_was_deleted_from_the_registry_does_not_stop_a_release(harness: PracticeHarness) -> None:
    for version in ("4", "5"):
        approve(harness, version)
    release(harness, "4")
    del harness.registry._versions[MODEL]["4"]
    release(harness, "5")
    assert live(harness) == ("5", {"champion": "5"})
    assert harness.registry.tags["5"]["airworthy.status"] == "live"


def test_workers_that_lag_behind_are_waited_for(harness: PracticeHarness) -> None:
    approve(harness, "4")
    harness.rollouts = None
    harness.endpoint.serve(LiveState(model=MODEL, applied=False))
    with pytest.raises(Unavailable, match="not every worker"):
        release(harness, "4")
    assert harness.registry.aliases == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"outcome": "fail"}, "approval_quorum said fail"),
        ({"model_digest": "other"}, "approval_quorum has no verdict"),
        ({"sha256": "other"}, "approval_quorum has no verdict"),
        ({"rollout_id": "another run"}, "approval_quorum has no verdict"),
    ],
)
def test_where_people_are_asked_their_count_must_be_about_this_bundle_in_this_run(
    harness: PracticeHarness, changes: dict[str, str], reason: str | None
) -> None:
    approver = Approver(role="lead", users=["ada"])
    harness.declare(deployment=Deployment(approval=Approval(approvers=[approver])))
    approve(harness, "4")
    line = {"outcome": "pass", "model_digest": "d4", "sha256": "s4", "rollout_id": "r4"} | changes
    harness.ledger.append("approval_quorum", MODEL, "4", line, actor="ada")
    if reason is None:
        release(harness, "4")
        return
    with pytest.raises(Refused, match=reason):
        release(harness, "4")
    assert live(harness) == (None, {})
