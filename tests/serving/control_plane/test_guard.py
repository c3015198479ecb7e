"""The gateway acts on evidence and on time, and never on either alone being absent."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from pipelines.rollout.plan import BreakerLimits, Guard, LatencyLimit, RolloutPlan, RoutingPlan, Watch
from pipelines.rollout.transitions import RolloutRecord, Served
from pipelines.serving.control_plane.guard import judge_lease, judge_limits
from pipelines.serving.traffic.circuit_breaker import CircuitBreaker
from pipelines.serving.traffic.counters import ArmTally

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CANDIDATE = ("2", "candidate")


def record(guard: Guard | None = None, **changes: Any) -> RolloutRecord:
    plan = RolloutPlan(changes.pop("strategy", "canary"), 60, guard or Guard(0.01))
    found = RolloutRecord("r1", plan, "BAKING", NOW, NOW + timedelta(seconds=60), Served("1", "/1", "1"), step=1)
    return msgspec.structs.replace(found, **changes)


@pytest.mark.parametrize(
    ("guard", "tally", "action"),
    [
        (Guard(0.01), ArmTally(), "nothing"),
        (Guard(0.01), ArmTally(requests=1, failed=1), "nothing"),
        (Guard(0.01), ArmTally(requests=100, failed=2), "nothing"),
        (Guard(0.01), ArmTally(requests=5, failed=5), "rollback"),
        (Guard(0.01), ArmTally(requests=500, failed=25), "rollback"),
        (Guard(latency=(LatencyLimit(100, 0.01),)), ArmTally(requests=500, slow={"100": 25}), "rollback"),
        (Guard(latency=(LatencyLimit(100, 0.01),)), ArmTally(requests=500, failed=25), "nothing"),
        (Guard(0.01), ArmTally(requests=0, shed=1000, fallback=1000), "nothing"),
    ],
)
def test_a_candidate_is_rolled_back_when_the_evidence_says_so(guard: Guard, tally: ArmTally, action: str) -> None:
    verdict = judge_limits(record(guard), {CANDIDATE: tally})
    assert verdict.action == action
    assert ("limit is" in verdict.reason) == (action == "rollback")


def test_the_champions_own_errors_roll_nothing_back() -> None:
    assert judge_limits(record(), {("1", "champion"): ArmTally(requests=100, failed=100)}).action == "nothing"


CHAMPION = ("1", "champion")
KEYED = RoutingPlan("header:x-user-id")


@pytest.mark.parametrize(
    ("champion", "action"),
    [
        (ArmTally(requests=9500, failed=10), "rollback"),
        (ArmTally(requests=9500, failed=0), "rollback"),
        (ArmTally(requests=0), "rollback"),
        (ArmTally(requests=9500, failed=2850), "nothing"),
        (ArmTally(requests=9500, failed=2000), "nothing"),
    ],
)
@pytest.mark.parametrize("role", ["candidate", "variant", "shadow"])
def test_a_limit_that_the_champion_breaks_as_well_rolls_nothing_back(
    role: str, champion: ArmTally, action: str
) -> None:
    tallies = {("2", role): ArmTally(requests=500, failed=120), CHAMPION: champion}
    assert judge_limits(record(), tallies).action == action
    slow = Guard(latency=(LatencyLimit(100, 0.01),))
    as_slow = {arm: ArmTally(requests=tally.requests, slow={"100": tally.failed}) for arm, tally in tallies.items()}
    assert judge_limits(record(slow), as_slow).action == action


def test_two_minutes_in_which_both_versions_fail_at_30_percent_roll_few_equal_candidates_back() -> None:
    draw, false = np.random.default_rng(7), {"beside the champion": 0, "alone": 0}
    for _ in range(40):
        rates = np.repeat([0.001, 0.3], 120)
        failed, others = (np.cumsum(draw.binomial(requests, rates)).tolist() for requests in (5, 20))
        decided = set()
        for second in range(125, 240, 5):
            candidate = {CANDIDATE: ArmTally(requests=5 * second, failed=failed[second - 1])}
            champion = {CHAMPION: ArmTally(requests=20 * second, failed=others[second - 1])}
            for name, tallies in (("alone", candidate), ("beside the champion", candidate | champion)):
                decided |= {name} if judge_limits(record(), tallies).action == "rollback" else set()
        for name in decided:
            false[name] += 1
    assert false["beside the champion"] <= 2, "5 % of 40"
    assert false["alone"] >= 36


def keyed(failed: int, bad: int, units: int) -> ArmTally:
    """So many failed requests, of so many keys with a failure among the units."""
    return ArmTally(requests=20 * units, failed=failed, event_units={"0": bad}, distinct_units=units)


def test_where_keys_are_counted_one_key_that_always_fails_rolls_nothing_back() -> None:
    plan = record().plan
    by_key = record(plan=msgspec.structs.replace(plan, routing=KEYED))
    tallies = {CANDIDATE: keyed(200, 1, 200), CHAMPION: keyed(0, 0, 800)}
    assert judge_limits(record(), tallies).action == "rollback"
    assert judge_limits(by_key, tallies).action == "nothing"
    decision = judge_limits(by_key, tallies | {CANDIDATE: keyed(200, 20, 200)})
    assert decision.action == "rollback"
    assert "20 of 200 keys failed" in decision.reason


def test_in_the_shadow_and_after_the_promotion_requests_are_counted_because_no_key_is_assigned() -> None:
    by_key = msgspec.structs.replace(record().plan, routing=KEYED)
    failing = ArmTally(requests=200, failed=40)
    assert judge_limits(record(plan=by_key), {("2", "shadow"): failing}).action == "rollback"
    assert judge_limits(record(plan=by_key, phase="FINALISING"), {PROMOTED: failing}).action == "rollback"


PROMOTED = ("2", "champion")


@pytest.mark.parametrize(
    ("watch", "tally", "action"),
    [
        (Watch(60), ArmTally(requests=500, failed=25), "rollback"),
        (Watch(60), ArmTally(requests=100, failed=2), "nothing"),
        (Watch(60, max_error_rate=0.5), ArmTally(requests=500, failed=25), "nothing"),
        (Watch(60, max_error_rate=0.5), ArmTally(requests=500, failed=400), "rollback"),
        (Watch(60), ArmTally(requests=500, slow={"100": 400}), "rollback"),
    ],
)
def test_a_promoted_version_is_taken_back_by_the_limits_of_its_watch(
    watch: Watch, tally: ArmTally, action: str
) -> None:
    guard = Guard(0.01, (LatencyLimit(100, 0.05),))
    promoted = record(guard, phase="FINALISING", step=3)
    promoted = msgspec.structs.replace(promoted, plan=msgspec.structs.replace(promoted.plan, watch=watch))
    decision = judge_limits(promoted, {PROMOTED: tally, CANDIDATE: ArmTally(requests=50, failed=50)})
    assert decision.action == action
    assert decision.reason.startswith("promoted version 2: ") == (action == "rollback")


def test_a_rollout_at_its_limit_is_rarely_rolled_back_over_all_its_steps() -> None:
    draw = random.Random(4)
    false = 0
    for _ in range(200):
        for step in range(1, 6):
            tally = ArmTally()
            hit = False
            for _ in range(20):
                tally.requests += 50
                tally.failed += sum(draw.random() < 0.01 for _ in range(50))
                hit = hit or judge_limits(record(step=step), {CANDIDATE: tally}).action == "rollback"
            if hit:
                false += 1
                break
    assert false <= 20, "5 % of 200 are 10; 20 is beyond three standard deviations"


@pytest.mark.parametrize(
    ("strategy", "changes", "do"),
    [
        ("canary", {}, "rollback"),
        ("canary", {"phase": "PENDING"}, "rollback"),
        ("canary", {"phase": "PAUSED"}, "rollback"),
        ("blue_green", {}, "rollback"),
        ("ab", {}, "hold"),
        ("ab", {"phase": "PAUSED"}, "nothing"),
        ("shadow", {"phase": "SHADOWING"}, "stop_mirror"),
        ("canary", {"phase": "FINALISING"}, "nothing"),
        ("canary", {"phase": "ROLLED_BACK"}, "nothing"),
        ("canary", {"lease_until": NOW + timedelta(seconds=62)}, "nothing"),
    ],
)
def test_a_lease_that_is_over_ends_the_rollout_as_its_strategy_says(
    strategy: str, changes: dict[str, Any], do: str
) -> None:
    later = NOW + timedelta(seconds=61)
    assert judge_lease(record(strategy=strategy, **changes), later, mirrored=strategy == "shadow").action == do


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_breaker_opens_after_failures_in_its_window_and_closes_after_one_good_try() -> None:
    clock = Clock()
    breaker = CircuitBreaker(BreakerLimits(failures=3, window=10, open_for=5), clock=clock)
    for at in (0, 6, 12):
        clock.now = at
        assert breaker.allows_request()
        assert not breaker.record_failure(), "the first of three is out of the window"
    clock.now = 13
    assert breaker.record_failure()
    assert not breaker.allows_request()
    clock.now = 18
    assert breaker.allows_request()
    assert not breaker.allows_request(), "one try at a time"
    assert breaker.record_failure()
    assert not breaker.allows_request()
    clock.now = 23
    assert breaker.allows_request()
    breaker.record_success()
    assert breaker.allows_request()
    assert breaker.allows_request()
