"""The reaper on targets that move by the gateway's own rules; the run that a rollout belongs to is asked of Airflow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pipelines.errors import Unavailable
from pipelines.spec.deployment import Deployment
from pipelines.testing.ports import FixedClock
from pipelines.testing.rollout_target import FakeTarget
from practices.lease_reaper import LeaseReaper
from tests.practices.practice_harness import MODEL, NOW, PracticeHarness

PLAN = {"lease_seconds": 60.0, "guard": {"max_error_rate": 0.01}}
HTTP_ROUTE = {"kind": "http_route", "gateway": "outside", "image": "registry.example/step@sha256:1"}


@pytest.fixture
def clock(harness: PracticeHarness) -> FixedClock:
    clock = FixedClock(NOW)
    harness.clock = clock  # type: ignore[attr-defined]
    return clock


def begin(harness: PracticeHarness, clock: FixedClock, strategy: str, *, target: Any = HTTP_ROUTE) -> FakeTarget:
    """A rollout with a lease of a minute, which the run manual__1 began; an A/B test has half, a canary a tenth."""
    routing = {"key": "field:ids"} if strategy == "ab" else {}
    declared = {"strategy": strategy, "target": target, "routing": routing}
    harness.declare(deployment=Deployment.model_validate(declared))
    harness.rollouts = made = FakeTarget("5", clock=clock)
    asked = {"model": MODEL, "rollout_id": "r1"}
    state = made.create_rollout(**asked, plan={**PLAN, "strategy": strategy}, expect=1, key="c")
    state = made.prepare(**asked, version="6", bundle="b", sha256="s", expect=state.generation, key="p")
    if strategy == "shadow":
        made.set_mirror(**asked, version="6", basis_points=10_000, expect=state.generation, key="m")
    else:
        share = 5000 if strategy == "ab" else 1000
        split = {"5": 10_000 - share, "6": share}
        made.set_traffic(**asked, split=split, expect=state.generation, key="t")
    harness.ledger.append(
        "gate", MODEL, "6", {"rollout_id": "r1"}, actor="a", key=f"{MODEL}__deploy/manual__1/check_release/-1/0/ab"
    )
    return made


def reap(harness: PracticeHarness, *, going_on: bool = True, report_only: Any = False) -> dict[str, list[str]]:
    context = harness.context("reap", "reap_leases")

    def count(*, dag_id: str, run_ids: list[str], states: list[str]) -> int:
        return int(going_on and (dag_id, run_ids) == (f"{MODEL}__deploy", ["manual__1"]))

    context["ti"].get_dr_count = count
    return LeaseReaper(task_id="reap_leases", report_only=report_only).execute(context)


def test_while_the_lease_lasts_nothing_is_touched(harness: PracticeHarness, clock: FixedClock) -> None:
    target = begin(harness, clock, "canary")
    assert reap(harness) == {"keep": [MODEL]}
    assert target.rollout(MODEL).phase == "BAKING"


@pytest.mark.parametrize(
    ("strategy", "act", "phase", "split"),
    [
        ("canary", "rollback", "ROLLED_BACK", {"5": 10_000}),
        ("blue_green", "rollback", "ROLLED_BACK", {"5": 10_000}),
        ("ab", "hold", "PAUSED", {"5": 5000, "6": 5000}),
        ("shadow", "stop_mirror", "PAUSED", {"5": 10_000}),
    ],
)
def test_once_it_is_over_the_strategy_says_what_becomes_of_the_rollout(
    harness: PracticeHarness, clock: FixedClock, strategy: str, act: str, phase: str, split: dict[str, int]
) -> None:
    target = begin(harness, clock, strategy)
    clock.advance(timedelta(seconds=61))
    assert reap(harness) == {act: [MODEL]}
    after = target.rollout(MODEL)
    assert (after.phase, after.split, after.mirror) == (phase, split, None)
    assert after.reason.startswith("its lease ended at 2026-11-02T07:01:00")
    [(version, line)] = harness.lines("lease_expired")
    assert (version, line["rollout_id"], line["phase"], line["split"]) == ("6", "r1", phase, split)
    assert (line["from"], line["to"]) == ("6", "5")
    reap(harness)
    assert len(harness.lines("lease_expired")) == 1


def test_traffic_moves_with_the_ledger_down_and_the_next_try_writes_it(
    harness: PracticeHarness, clock: FixedClock
) -> None:
    target = begin(harness, clock, "canary")
    clock.advance(timedelta(seconds=61))
    harness.ledger.down = True
    with pytest.raises(Unavailable):
        reap(harness)
    assert target.rollout(MODEL).phase == "ROLLED_BACK"
    harness.ledger.down = False
    reap(harness)
    assert [line["phase"] for _, line in harness.lines("lease_expired")] == ["ROLLED_BACK"]


def test_a_target_with_a_guard_of_its_own_is_only_told_of(
    harness: PracticeHarness, clock: FixedClock, capsys: pytest.CaptureFixture[str]
) -> None:
    target = begin(harness, clock, "canary", target={"kind": "embedded"})
    clock.advance(timedelta(seconds=61))
    assert reap(harness) == {"keep": [MODEL]}
    clock.advance(timedelta(seconds=60))
    assert reap(harness) == {"report": [MODEL]}
    assert "check the target's guard" in capsys.readouterr().out
    assert target.rollout(MODEL).phase == "BAKING"


def test_a_rollout_whose_run_is_gone_is_told_of(
    harness: PracticeHarness, clock: FixedClock, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(harness, clock, "canary")
    assert reap(harness, going_on=False) == {"report": [MODEL]}
    assert (
        "rollout r1 (BAKING): its run flight_delay__deploy/manual__1 has ended or was deleted"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("report_only", [True, "True"])
def test_a_dry_run_changes_nothing(harness: PracticeHarness, clock: FixedClock, report_only: Any) -> None:
    target = begin(harness, clock, "canary")
    clock.advance(timedelta(seconds=61))
    assert reap(harness, report_only=report_only) == {"rollback": [MODEL]}
    assert target.rollout(MODEL).phase == "BAKING"
    assert harness.lines("lease_expired") == []


def test_a_model_that_was_never_live_and_one_without_a_rollout_are_passed_over(
    harness: PracticeHarness, clock: FixedClock
) -> None:
    begin(harness, clock, "canary")
    for champion in (None, "5"):
        harness.rollouts = FakeTarget(champion)
        assert reap(harness) == {"none": [MODEL]}


def test_a_target_that_does_not_answer_is_asked_again_and_hides_no_other(
    harness: PracticeHarness, clock: FixedClock
) -> None:
    target = begin(harness, clock, "canary")
    away = FakeTarget("1")
    away.down = True
    other = harness.catalog.models[MODEL].model_copy(update={"model": "away"})
    harness.catalog.models.update({"away": other, MODEL: harness.catalog.models.pop(MODEL)})
    harness.target = lambda model: away if model == "away" else target  # type: ignore[method-assign]
    clock.advance(timedelta(seconds=61))
    with pytest.raises(Unavailable, match="away: the endpoint does not answer"):
        reap(harness)
    assert target.rollout(MODEL).phase == "ROLLED_BACK"


def promoted(harness: PracticeHarness, clock: FixedClock) -> FakeTarget:
    """Version 6 has replaced version 5, and its deploy run has released it."""
    target = begin(harness, clock, "canary", target={"kind": "embedded"})
    ids = {"rollout_id": "r1", "champion": "5"}
    harness.registry.add("5", status="live")
    harness.registry.add("6", status="staged")
    harness.ledger.append(
        "rollout", MODEL, "6", {"practice": "candidate_preparation", "outcome": "pass", **ids}, actor="a"
    )
    target.promote(MODEL, "r1", "6", expect=target.rollout(MODEL).generation, key="promote")
    harness.ledger.append("release", MODEL, "6", {"from": "5", "previous": "5", **ids}, actor="a")
    harness.registry.name(champion="6", previous="5")
    target.add_counts(MODEL, "6", "champion", requests=100, failed=90)
    return target


def test_a_rollback_by_the_target_whose_run_is_gone_is_recorded_once_and_the_registry_follows(
    harness: PracticeHarness, clock: FixedClock
) -> None:
    target = promoted(harness, clock)
    target.roll_back(MODEL, "r1", "promoted version 6: 90 of 100 failed", key="guard")
    assert reap(harness, going_on=True) == {"none": [MODEL]}
    assert harness.lines("rollback") == [], "its own run records it"
    for _ in range(2):
        assert reap(harness, going_on=False) == {"none": [MODEL]}
    [(version, line)] = harness.lines("rollback")
    assert (version, line["from"], line["to"], line["by"], line["traffic"]) == ("6", "6", "5", "target", 10_000)
    assert line["reason"] == "promoted version 6: 90 of 100 failed"
    assert harness.registry.aliases == {"champion": "5"}
    assert harness.registry.tags["6"]["airworthy.status"] == "rolled_back"


def test_a_dry_run_records_no_rollback(harness: PracticeHarness, clock: FixedClock) -> None:
    promoted(harness, clock).roll_back(MODEL, "r1", "bad", key="guard")
    reap(harness, going_on=False, report_only=True)
    assert harness.lines("rollback") == []
