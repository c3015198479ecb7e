"""A plan that could not fail, or that the target could not follow, is refused at the edge of each of its limits."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from pipelines.errors import Refused
from pipelines.rollout.plan import (
    BreakerLimits,
    ComparisonPlan,
    Guard,
    LatencyLimit,
    RolloutPlan,
    RoutingPlan,
    Segment,
    parse_plan,
)

PLAN = RolloutPlan("canary", 60, Guard(0.01))
MONTH = 31 * 86400
SEGMENT = Segment("x-group", "staff", "candidate")


def latency(over_ms: float, max_share: float) -> dict[str, Any]:
    return {"guard": Guard(latency=(LatencyLimit(over_ms, max_share),))}


def test_a_plan_has_the_documented_defaults() -> None:
    plan = RolloutPlan("canary")
    assert (plan.lease_seconds, plan.on_lease_expiry, plan.deadline_ms) == (0.0, None, 1000.0)
    assert plan.guard == Guard(None, (), 0.05)
    assert plan.breaker == BreakerLimits(20, 10.0, 5.0)
    assert plan.routing == RoutingPlan("request_id", "", ())
    assert plan.comparison == ComparisonPlan(0.05, 0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lease_seconds": 1e-9},
        {"lease_seconds": MONTH},
        {"guard": Guard(1e-9)},
        {"guard": Guard(0.999)},
        {"guard": Guard(0.01, alpha=1e-9)},
        {"guard": Guard(0.01, alpha=0.999)},
        latency(0.001, 0.001),
        latency(1e6, 0.999),
        {"routing": RoutingPlan("field:ids")},
        {"routing": RoutingPlan("header:x")},
        {"routing": RoutingPlan(salt="x" * 64)},
        {"deadline_ms": 0.001},
        {"breaker": BreakerLimits(1, 0.001, 0.001)},
    ],
)
def test_a_plan_at_the_inner_edge_of_its_limits_has_no_fault(changes: dict[str, Any]) -> None:
    assert msgspec.structs.replace(PLAN, **changes).faults() == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"lease_seconds": 0}, "lease_seconds is 0; it must be above 0 and at most 2.6784e+06"),
        ({"lease_seconds": MONTH + 1}, "lease_seconds is 2.6784e+06; it must be above 0"),
        ({"lease_seconds": math.nan}, "lease_seconds is nan"),
        ({"guard": Guard()}, "guard has no limit, so the rollout could not fail"),
        ({"guard": Guard(1.0)}, "guard.max_error_rate is 1; it must lie between 0 and 1"),
        ({"guard": Guard(0.0)}, "guard.max_error_rate is 0; it must lie between 0 and 1"),
        (latency(100, 1.0), "guard.latency 100 ms for 1; the share must lie between 0 and 1"),
        (latency(100, 0.0), "guard.latency 100 ms for 0; the share must lie between 0 and 1"),
        (latency(0, 0.5), "guard.latency 0 ms for 0.5"),
        ({"guard": Guard(0.1, alpha=0.0)}, "guard.alpha is 0; it must lie between 0 and 1"),
        ({"guard": Guard(0.1, alpha=1.0)}, "guard.alpha is 1; it must lie between 0 and 1"),
        ({"routing": RoutingPlan(key="cookie")}, "routing.key is 'cookie'"),
        ({"routing": RoutingPlan(key="cookie:long-enough")}, "routing.key is 'cookie:long-enough'"),
        ({"routing": RoutingPlan(key="header:")}, "routing.key is 'header:'"),
        ({"routing": RoutingPlan(salt="x" * 65)}, "routing.salt is longer than 64 bytes"),
        ({"routing": RoutingPlan(salt="é" * 33)}, "routing.salt is longer than 64 bytes"),
        ({"deadline_ms": 0}, "deadline_ms is 0; it must be more than 0"),
        ({"breaker": BreakerLimits(failures=0)}, "breaker.failures, window and open_for must all be more than 0"),
        ({"breaker": BreakerLimits(window=0)}, "breaker.failures, window and open_for must all be more than 0"),
        ({"breaker": BreakerLimits(open_for=0)}, "breaker.failures, window and open_for must all be more than 0"),
    ],
)
def test_a_plan_at_the_outer_edge_of_a_limit_has_exactly_that_fault(changes: dict[str, Any], fault: str) -> None:
    [only] = msgspec.structs.replace(PLAN, **changes).faults()
    assert only.startswith(fault)


def test_every_fault_of_a_plan_is_listed() -> None:
    plan = RolloutPlan("canary", guard=Guard(2.0, (LatencyLimit(0, 2), LatencyLimit(1, 2)), 2), deadline_ms=-1)
    assert len(plan.faults()) == 6


@pytest.mark.parametrize(
    ("strategy", "expiry"),
    [("canary", "rollback"), ("blue_green", "rollback"), ("ab", "hold"), ("shadow", "stop_mirror")],
)
def test_a_lease_that_ends_has_the_effect_of_the_strategy_unless_the_plan_says_another(
    strategy: Any, expiry: str
) -> None:
    assert RolloutPlan(strategy).expiry_action == expiry
    assert RolloutPlan(strategy, on_lease_expiry="hold").expiry_action == "hold"
    assert RolloutPlan(strategy, on_lease_expiry="rollback").expiry_action == "rollback"


@pytest.mark.parametrize(
    ("routing", "counts_keys"),
    [
        (RoutingPlan(), False),
        (RoutingPlan("header:x"), True),
        (RoutingPlan("field:ids"), True),
        (RoutingPlan(segments=(SEGMENT,)), True),
        (RoutingPlan("header:x", segments=(SEGMENT,)), True),
    ],
)
def test_keys_are_counted_where_requests_of_a_caller_stay_together(routing: RoutingPlan, counts_keys: bool) -> None:
    assert routing.counts_keys is counts_keys


def test_a_request_is_parsed_without_its_supersede() -> None:
    assert parse_plan({"strategy": "canary", "lease_seconds": 60, "supersede": True}) == RolloutPlan("canary", 60)


@pytest.mark.parametrize("content", [{}, {"strategy": "canary", "lease": 1}, {"strategy": "canery"}])
def test_a_request_that_is_no_plan_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="this is not a valid plan of a rollout"):
        parse_plan(content)
