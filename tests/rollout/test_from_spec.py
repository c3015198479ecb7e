"""What a model declares is what its target enforces and what its steps are judged by; nothing is silently left out."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from pipelines.errors import Refused
from pipelines.messages.comparison import ShadowMeasure
from pipelines.rollout.error_budget import error_budget
from pipelines.rollout.from_spec import (
    analysis_plan,
    bake_seconds,
    idle_lease_seconds,
    max_stage_seconds,
    target_plan,
    watch_alpha,
)
from pipelines.rollout.plan import RolloutPlan
from pipelines.rules.shadow_comparison import judge_shadow
from pipelines.serving.control_plane.guard import evidence_threshold
from pipelines.spec.deployment import Deployment
from tests.declared import shipped_model

SPEC = shipped_model()
AB: dict[str, Any] = {"strategy": "ab", "routing": {"key": "field:ids"}}
SHADOWED = ShadowMeasure(
    model="m",
    champion="1",
    version="2",
    rollout_id="r",
    elapsed=1,
    requests=0,
    failed=0,
    sent=0,
    dropped=0,
    compared=0,
    disagreed=0,
    flipped=0,
    coverage=None,
)
USUAL = ("errors_to_champion", "latency_to_champion")
SLOW: dict[str, Any] = {"name": "slow", "event": "slow", "over_ms": 100}


def declared(**block: Any) -> Deployment:
    return Deployment.model_validate(block)


def plan(**block: Any) -> RolloutPlan:
    return msgspec.convert(target_plan(SPEC.model_copy(update={"deployment": declared(**block)})), RolloutPlan)


@pytest.mark.parametrize(
    ("block", "strategy", "expiry"),
    [
        ({"strategy": "canary"}, "canary", "rollback"),
        ({"strategy": "blue_green"}, "blue_green", "rollback"),
        ({"strategy": "shadow"}, "shadow", "stop_mirror"),
        ({"strategy": "all_at_once", "shadow": {}}, "shadow", "stop_mirror"),
        ({"strategy": "ab", "routing": {"key": "field:ids"}}, "ab", "hold"),
    ],
)
def test_every_strategy_is_a_plan_that_the_target_can_follow(block: dict[str, Any], strategy: str, expiry: str) -> None:
    found = plan(**block)
    assert (found.strategy, found.expiry_action, found.faults()) == (strategy, expiry, [])


def test_limits_routing_and_lease_reach_the_target() -> None:
    found = plan(
        strategy="canary",
        canary={"error_threshold": 0.02},
        analysis={"alpha": 0.1, "metrics": [SLOW | {"max_rate": 0.05}]},
        routing={
            "key": "header:x-user",
            "segments": [{"header": "x-group", "equals": "staff", "arm": "candidate"}],
            "deadline_ms": 250,
        },
        shadow={"tolerance": 0.2},
        lease=120,
    )
    assert (found.guard.max_error_rate, found.guard.alpha, found.lease_seconds) == (0.02, 0.025, 120)
    [limit] = found.guard.latency
    assert (limit.over_ms, limit.max_share, found.deadline_ms) == (100, 0.05, 250)
    assert (found.routing.key, found.routing.segments[0].equals) == ("header:x-user", "staff")
    assert (found.comparison.tolerance, found.comparison.threshold) == (0.2, SPEC.evaluation.threshold)


def test_an_experiments_id_salts_the_assignment() -> None:
    block = {"strategy": "ab", "routing": {"key": "field:ids"}, "ab": {"experiment_id": "e1"}}
    assert plan(**block).routing.salt == "e1"
    assert plan(strategy="canary").routing.salt == ""


def test_superseding_is_said_only_when_asked() -> None:
    assert "supersede" not in target_plan(SPEC)
    assert target_plan(SPEC, supersede=True)["supersede"] is True


STRATEGIES: list[dict[str, Any]] = [
    block | shadow
    for block in ({}, {"strategy": "canary"}, {"strategy": "blue_green"}, {"strategy": "shadow"}, AB)
    for shadow in ({}, {"shadow": {}})
]


@pytest.mark.parametrize("block", STRATEGIES)
def test_all_that_can_take_a_candidate_back_share_the_declared_chance_of_a_false_alarm(block: dict[str, Any]) -> None:
    deployment = declared(**block, analysis={"alpha": 0.04})
    budget = error_budget(deployment)
    assert budget.analysis + budget.shadow + budget.guard == pytest.approx(0.04)
    assert plan(**block, analysis={"alpha": 0.04}).guard.alpha == budget.guard > 0
    assert (budget.shadow > 0) == (deployment.shadow_plan is not None)
    if deployment.strategy in ("canary", "blue_green"):
        assert analysis_plan(deployment).alpha == budget.analysis > 0
    if deployment.shadow_plan is not None:
        needed = judge_shadow(SHADOWED, deployment).verdict.facts["needed_to_fail"]
        assert needed == pytest.approx(math.log(3 / budget.shadow))


def test_the_watch_of_a_gateway_that_guards_itself_costs_no_second_share() -> None:
    guarded = declared(strategy="canary")
    budget = error_budget(guarded).guard
    assert math.log(1 / watch_alpha(guarded, 7)) == pytest.approx(evidence_threshold(budget, 1, 7))
    endpoint = {"kind": "sagemaker", "role_arn": "arn:aws:iam::123456789012:role/s", "image": "i"}
    elsewhere = declared(strategy="canary", target=endpoint | {"instance_type": "ml.m5.large"})
    assert watch_alpha(elsewhere, 7) == error_budget(elsewhere).guard


def test_every_candidate_is_compared_with_its_champion_without_a_declaration() -> None:
    found = analysis_plan(declared(strategy="canary"))
    assert [(m.name, m.event, m.role, m.max_rate, m.fail_ratio) for m in found.metrics] == [
        ("error_rate", "bad", "guardrail", 0.01, 1.0),
        ("errors_to_champion", "bad", "deterioration", None, 1.0),
        ("latency_to_champion", "beyond_p99", "deterioration", None, 2.0),
    ]
    assert found.stages == 6


@pytest.mark.parametrize(
    ("analysis", "compared"),
    [
        ({"error_ratio": 1.5}, {USUAL[0]: 1.5, USUAL[1]: 2.0}),
        ({"error_ratio": None, "slow_ratio": None}, {}),
        ({"metrics": [{"name": "mine", "max_ratio": 1.5}]}, {"mine": 1.0, USUAL[1]: 2.0}),
        ({"metrics": [{"name": "mine", "fail_ratio": 3}]}, {"mine": 3.0, USUAL[1]: 2.0}),
        ({"metrics": [{"name": "mine", "max_rate": 0.5}]}, {USUAL[0]: 1.0, USUAL[1]: 2.0}),
        ({"metrics": [SLOW | {"max_ratio": 2}]}, {USUAL[0]: 1.0, USUAL[1]: 2.0, "slow": 1.0}),
    ],
)
def test_a_declared_comparison_takes_the_place_of_the_usual_one(
    analysis: dict[str, Any], compared: dict[str, float]
) -> None:
    found = analysis_plan(declared(strategy="canary", analysis=analysis))
    assert {m.name: m.fail_ratio for m in found.metrics if m.compares_with_champion} == compared


def test_slow_answers_are_compared_where_the_target_counts_them() -> None:
    route = {"kind": "http_route", "gateway": "edge", "image": "i"}
    assert USUAL[1] not in [m.name for m in analysis_plan(declared(strategy="canary", target=route)).metrics]


@pytest.mark.parametrize(
    ("metric", "limits"),
    [
        ({"max_rate": 0.05}, [("slow", "guardrail", 0.05, None)]),
        ({"max_ratio": 1.5}, [("slow", "guardrail", None, 1.0)]),
        ({"max_ratio": 1.5, "fail_ratio": 1.2}, [("slow", "guardrail", None, 1.2)]),
        ({"fail_ratio": 1.2}, [("slow", "deterioration", None, 1.2)]),
        ({"role": "deterioration", "fail_ratio": 1.2}, [("slow", "deterioration", None, 1.2)]),
        (
            {"max_rate": 0.05, "fail_ratio": 1.2},
            [("slow", "guardrail", 0.05, None), ("slow_ratio", "deterioration", None, 1.2)],
        ),
    ],
)
def test_each_demand_is_judged_as_it_was_meant(metric: dict[str, Any], limits: list[tuple[Any, ...]]) -> None:
    found = analysis_plan(declared(strategy="canary", analysis={"metrics": [SLOW | metric]}))
    first, *others = [metric for metric in found.metrics if metric.name not in USUAL]
    assert (first.name, first.event, first.max_rate) == ("error_rate", "bad", 0.01)
    told = [
        (one.name, one.role, one.max_rate, one.fail_ratio if one.compares_with_champion else None) for one in others
    ]
    assert told == limits
    assert {one.event for one in others} == {"slow_100"}


def test_a_demand_that_can_never_be_decided_is_refused() -> None:
    metric = {"name": "slow", "event": "slow", "over_ms": 50, "max_ratio": 1.5, "fail_ratio": 2.0}
    with pytest.raises(Refused, match="is beyond max_ratio"):
        analysis_plan(declared(strategy="canary", analysis={"metrics": [metric]}))


@pytest.mark.parametrize(
    ("routing", "unit"),
    [
        ({}, "request"),
        ({"key": "header:x-user"}, "key"),
        ({"segments": [{"header": "x-group", "equals": "staff", "arm": "candidate"}]}, "key"),
    ],
)
def test_keys_are_counted_where_requests_would_deceive(routing: dict[str, Any], unit: str) -> None:
    assert analysis_plan(declared(strategy="canary", routing=routing)).unit == unit


def test_times_come_from_the_strategys_own_block() -> None:
    canary = declared(strategy="canary", canary={"increment_interval": 60, "max_step_duration": 600})
    green = declared(strategy="blue_green", blue_green={"validation_duration": 50})
    assert (bake_seconds(canary), max_stage_seconds(canary)) == (60, 600)
    assert (bake_seconds(green), max_stage_seconds(green)) == (50, 100)


def test_a_candidate_without_traffic_waits_as_long_as_people_may_take() -> None:
    people = {"approvers": [{"role": "lead", "users": ["ada"]}], "timeout": 1000}
    assert idle_lease_seconds(declared(strategy="canary", lease=60)) == 60
    assert idle_lease_seconds(declared(strategy="canary", lease=60, approval=people)) == 1060


# ---- at the edges -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "max_share"), [({"max_rate": 0.05}, 0.05), ({"max_ratio": 1.5}, 0.99), ({"fail_ratio": 2.0}, 0.99)]
)
def test_slow_answers_without_a_limit_are_counted_and_never_roll_back(metric: dict[str, Any], max_share: float) -> None:
    [limit] = plan(strategy="canary", analysis={"metrics": [SLOW | metric]}).guard.latency
    assert (limit.over_ms, limit.max_share) == (100, max_share)


def test_bad_answers_have_no_limit_of_latency() -> None:
    metric = {"name": "errors", "event": "bad", "max_ratio": 2.0}
    assert plan(strategy="canary", analysis={"metrics": [metric]}).guard.latency == ()
    [_, errors, _] = analysis_plan(declared(strategy="canary", analysis={"metrics": [metric]})).metrics
    assert (errors.name, errors.event) == ("errors", "bad")


def test_without_a_shadow_answers_are_compared_by_the_default_tolerance() -> None:
    assert plan(strategy="canary").comparison.tolerance == 0.05
    assert plan(strategy="shadow").comparison.tolerance == 0.05
    assert plan(strategy="shadow", shadow={"tolerance": 0.2}).comparison.tolerance == 0.2


def test_an_experiment_without_an_id_is_salted_by_its_rollout() -> None:
    assert "salt" not in target_plan(SPEC.model_copy(update={"deployment": declared(**AB, ab={})}))["routing"]


@pytest.mark.parametrize(("shadow", "guard"), [({}, 0.025), ({"shadow": {}}, 0.0125)])
def test_the_analysis_gets_half_of_alpha_and_a_shadow_shares_the_guards_half(
    shadow: dict[str, Any], guard: float
) -> None:
    block: dict[str, Any] = {"strategy": "canary", "analysis": {"alpha": 0.05}, **shadow}
    assert (analysis_plan(declared(**block)).alpha, plan(**block).guard.alpha) == (0.025, guard)


def test_the_declared_analysis_reaches_the_plan() -> None:
    block: dict[str, Any] = {"srm_alpha": 0.01, "minimum_units": 7, "unit": "key"}
    analysis = analysis_plan(declared(strategy="canary", analysis=block))
    assert (analysis.srm_alpha, analysis.minimum_units, analysis.unit, analysis.sticky) == (0.01, 7, "key", False)
    assert analysis_plan(declared(**AB)).sticky is True


@pytest.mark.parametrize(
    ("block", "bake", "most"),
    [
        ({"strategy": "canary"}, 1800, 7200),
        ({"strategy": "blue_green"}, 3600, 7200),
        ({"strategy": "blue_green", "blue_green": {"validation_duration": 50, "max_duration": 60}}, 50, 60),
        ({"strategy": "shadow"}, 1800, 7200),
    ],
)
def test_a_stage_lasts_between_its_two_declared_times(block: dict[str, Any], bake: float, most: float) -> None:
    assert (bake_seconds(declared(**block)), max_stage_seconds(declared(**block))) == (bake, most)


@pytest.mark.parametrize(
    ("metric", "limits"),
    [
        ({"max_rate": 0.05, "max_ratio": 1.5, "fail_ratio": 1.2}, [("slow", "guardrail", 0.05, 1.5, 1.2)]),
        ({"max_rate": 0.05, "max_ratio": 1.5}, [("slow", "guardrail", 0.05, 1.5, 1.0)]),
        ({"max_rate": 0.05}, [("slow", "guardrail", 0.05, None, 1.0)]),
        ({"role": "deterioration", "max_rate": 0.05, "fail_ratio": 1.2}, [("slow", "deterioration", None, None, 1.2)]),
    ],
)
def test_each_limit_of_a_metric_is_enforced_by_its_role(metric: dict[str, Any], limits: list[Any]) -> None:
    plan = analysis_plan(declared(strategy="canary", analysis={"metrics": [SLOW | metric]}))
    _, *metrics = [metric for metric in plan.metrics if metric.name not in USUAL]
    assert [(m.name, m.role, m.max_rate, m.max_ratio, m.fail_ratio) for m in metrics] == limits
