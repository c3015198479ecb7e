"""A deployment that could not fail, could not be decided or could not be approved is refused when the file is read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.spec.deployment import Deployment
from pipelines.spec.deployment_faults import deployment_faults

TWO_ROLES = [{"role": "ml_lead", "users": ["ada"]}, {"role": "compliance", "users": ["grace", "mary"]}]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"strategy": "yolo"}, "strategy"),
    ({"strategy": "canary", "ab": {}}, "ab is declared, but strategy is canary"),
    ({"canary": {}}, "canary is declared, but strategy is all_at_once"),
    ({"strategy": "canary", "canary": {"rollback_on_error": False}}, "could not fail"),
    ({"strategy": "canary", "canary": {"steps": [5, 5]}}, "do not grow"),
    ({"strategy": "canary", "canary": {"steps": []}}, "steps"),
    ({"strategy": "canary", "canary": {"steps": [60]}}, "steps"),
    ({"strategy": "canary", "canary": {"canary_percentage": 20, "max_percentage": 10}}, "max_percentage 10"),
    ({"strategy": "canary", "canary": {"increment_interval": 100, "max_step_duration": 60}}, "max_step_duration"),
    ({"strategy": "canary", "canary": {"error_threshold": 0}}, "error_threshold"),
    ({"shadow": {"sample_rate": 0}}, "sample_rate"),
    ({"shadow": {"duration": 60, "max_duration": 30}}, "max_duration is shorter than duration"),
    ({"strategy": "blue_green", "blue_green": {"max_duration": 30}}, "max_duration is shorter than validation"),
    ({"analysis": {"metrics": [{"name": "m", "role": "deterioration", "max_ratio": 2}]}}, "declare its fail_ratio"),
    (
        {"analysis": {"metrics": [{"name": "m", "role": "deterioration", "fail_ratio": 2, "max_ratio": 3}]}},
        "fails by fail_ratio alone; remove max_ratio",
    ),
    (
        {"analysis": {"metrics": [{"name": "m", "role": "deterioration", "fail_ratio": 2, "max_rate": 0.1}]}},
        "fails by fail_ratio alone; remove max_rate",
    ),
    ({"shadow": {"sample_rate": 1.5}}, "sample_rate"),
    ({"strategy": "ab"}, "strategy ab needs routing.key"),
    ({"strategy": "ab", "routing": {"key": "header:x-user-id"}, "ab": {"traffic_split": 0.7}}, "traffic_split"),
    ({"strategy": "ab", "routing": {"key": "header:x-user-id"}, "ab": {"metrics": []}}, "metrics"),
    ({"routing": {"key": "header:x-user-id"}, "analysis": {"unit": "request"}}, "count keys"),
    ({"routing": {"key": "cookie"}}, "routing.key"),
    ({"analysis": {"metrics": [{"name": "error_rate", "max_rate": 0.1}]}}, "two metrics are called error_rate"),
    (
        {"analysis": {"metrics": [{"name": "slow", "event": "slow", "max_rate": 0.1}]}},
        "over_ms is needed for event: slow",
    ),
    ({"analysis": {"metrics": [{"name": "many"}]}}, "it decides nothing"),
    ({"load_test": {}}, "assertions"),
    ({"load_test": {"assertions": {}}}, "so that the test can fail"),
    ({"load_test": {"assertions": {"error_rate": {"max": 2}}}}, "a share below 1"),
    ({"load_test": {"duration": 5, "assertions": {"error_rate": {"max": 0.1}}}}, "ramp_up_time 10 must be below"),
    ({"approval": {}}, "requires_approval needs approvers"),
    ({"approval": {"approvers": TWO_ROLES, "approval_count": 3}}, "approval_count is 3, but the roles give 2"),
    ({"approval": {"approvers": [{"role": "lead", "users": ["ada"], "count": 2}]}}, "lead has 1 user(s) and needs 2"),
    (
        {"approval": {"approvers": [TWO_ROLES[0], {"role": "compliance", "users": ["ada"]}]}},
        "2 different people are needed, 1 can approve together",
    ),
    ({"approval": {"approvers": [TWO_ROLES[1], TWO_ROLES[1]]}}, "role compliance occurs twice"),
    ({"resources": {"replicas": 5, "max_replicas": 3}}, "replicas 5 lies outside"),
    ({"resources": {"cpu_request": "2", "cpu_limit": "500m"}}, "cpu_request 2 > cpu_limit 500m"),
    ({"resources": {"memory_request": "2Gi", "memory_limit": "512Mi"}}, "memory_request 2Gi > memory_limit 512Mi"),
    ({"resources": {"autoscaling": {}}}, "autoscaling needs max_replicas above min_replicas"),
    ({"health_check": {"path": "ready"}}, "health_check.path"),
    ({"target": {"kind": "mainframe"}}, "target"),
    ({"target": {"kind": "http_route", "gateway": "Not A Name", "image": "x"}}, "gateway"),
    ({"lease": 1}, "lease"),
]
UNMAPPED: list[tuple[dict[str, Any], str]] = [
    ({"resources": {"min_replicas": 1}}, "resources.min_replicas"),
    ({"resources": {"max_replicas": 3, "autoscaling": {"target_value": 50}}}, "resources.autoscaling"),
    ({"resources": {"cpu_limit": "2"}}, "resources.cpu_limit"),
    ({"resources": {"memory_limit": "1Gi"}}, "resources.memory_limit"),
    ({"resources": {"accelerator": "gpu"}}, "resources.accelerator"),
    ({"health_check": {"path": "/health"}}, "health_check.path"),
    ({"health_check": {"failure_threshold": 3}}, "health_check.failure_threshold"),
    ({"load_balancing": {"algorithm": "least-connections"}}, "load_balancing.algorithm"),
    ({"load_balancing": {"session_affinity": {"enabled": True}}}, "load_balancing.session_affinity"),
    ({"load_balancing": {"geo_routing": {"enabled": True, "regions": ["here"]}}}, "load_balancing.geo_routing"),
    ({"cache": {"backend": "redis"}}, "cache.backend"),
    ({"cache": {"enabled": True}}, "cache.enabled"),
    ({"cache": {"key_pattern": "prediction:{modelId}:{inputHash}"}}, "cache.key_pattern"),
]


@pytest.mark.parametrize(("declared", "said"), BAD)
def test_what_cannot_work_is_refused_and_says_where(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Deployment.model_validate(declared)
    places = [".".join(str(part) for part in error["loc"]) for error in refused.value.errors()]
    assert said in str(refused.value) or any(said in place for place in places)


@pytest.mark.parametrize(("declared", "place"), UNMAPPED)
def test_a_field_that_one_machine_has_no_means_for_is_refused_by_its_place(
    declared: dict[str, Any], place: str
) -> None:
    faults = deployment_faults(Deployment.model_validate(declared))
    assert [fault.partition(":")[0] for fault in faults if place in fault] == [f"deployment.{place}"]


def test_a_deployment_that_says_nothing_is_one_switch_on_the_gateway() -> None:
    plain = Deployment()
    assert (plain.strategy, plain.target.kind, plain.shares()) == ("all_at_once", "embedded", [])
    assert (plain.compares_versions, plain.tries_candidates) == (False, False)
    assert not deployment_faults(plain)


@pytest.mark.parametrize(
    ("declared", "compares", "tries"),
    [
        ({"shadow": {}}, True, True),
        ({"strategy": "canary"}, True, True),
        ({"load_test": {"assertions": {"error_rate": {"max": 0.01}}}}, False, True),
    ],
)
def test_a_candidate_is_tried_beside_the_champion_or_by_itself(
    declared: dict[str, Any], compares: bool, tries: bool
) -> None:
    deployment = Deployment.model_validate(declared)
    assert (deployment.compares_versions, deployment.tries_candidates) == (compares, tries)


@pytest.mark.parametrize(
    ("declared", "seconds", "threshold"),
    [
        ({}, 3600, 0.01),
        ({"rollback": {"window": 60}}, 60, 0.01),
        ({"rollback": {"automatic": False}}, 0, 0.01),
        ({"rollback": {"error_threshold": 0.2}, "strategy": "canary"}, 3600, 0.2),
        ({"strategy": "canary", "canary": {"error_threshold": 0.05}}, 3600, 0.05),
    ],
)
def test_a_promoted_version_is_watched_for_the_window_unless_a_person_shall_do_it(
    declared: dict[str, Any], seconds: float, threshold: float
) -> None:
    deployment = Deployment.model_validate(declared)
    assert (deployment.watch_seconds, deployment.promoted_error_threshold) == (seconds, threshold)


@pytest.mark.parametrize(
    ("declared", "shares"),
    [
        ({"strategy": "canary"}, [500, 1500, 2500, 3500, 4500, 5000]),
        ({"strategy": "canary", "canary": {"canary_percentage": 10, "max_percentage": 10}}, [1000]),
        ({"strategy": "canary", "canary": {"steps": [0.5, 5, 50]}}, [50, 500, 5000]),
        ({"strategy": "canary", "canary": {"increment_percentage": 15, "max_percentage": 35}}, [500, 2000, 3500]),
        ({"strategy": "blue_green"}, [500]),
        ({"strategy": "shadow"}, []),
        ({"strategy": "ab", "routing": {"key": "field:ids"}, "ab": {"traffic_split": 0.3}}, [3000]),
    ],
)
def test_the_steps_of_a_strategy_are_basis_points_that_grow(declared: dict[str, Any], shares: list[int]) -> None:
    assert Deployment.model_validate(declared).shares() == shares


@pytest.mark.parametrize(
    ("declared", "people"),
    [
        ({"approvers": TWO_ROLES}, 2),
        ({"approvers": [TWO_ROLES[0], {**TWO_ROLES[1], "count": 2}]}, 3),
        ({"approvers": TWO_ROLES, "approval_count": 1}, 1),
    ],
)
def test_approvals_say_how_many_different_people_must_agree(declared: dict[str, Any], people: int) -> None:
    assert Deployment.model_validate({"approval": declared}).approval.people_needed == people
