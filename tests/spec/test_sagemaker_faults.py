"""What SageMaker has no means for is refused by its place, and what it has means for is not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.spec.deployment import Deployment
from pipelines.spec.deployment_faults import deployment_faults

TARGET = {
    "kind": "sagemaker",
    "role_arn": "arn:aws:iam::123456789012:role/airworthy",
    "image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/airworthy:step",
    "instance_type": "ml.m5.large",
}
GUARDED = {**TARGET, "mode": "guardrail", "alarms": ["errors"]}
SCALING = {"replicas": 2, "max_replicas": 4}
APPROVAL = {"approvers": [{"role": "ml_lead", "users": ["ada"]}]}
TEST = {"load_test": {"assertions": {"error_rate": {"max": 0.01}}}}

FITTING: list[dict[str, Any]] = [
    {},
    {"strategy": "canary", "approval": APPROVAL},
    {"strategy": "blue_green"},
    {"strategy": "canary", "analysis": {"metrics": [{"name": "p", "event": "slow", "over_ms": 250, "max_rate": 0.05}]}},
    {"resources": {**SCALING, "autoscaling": {"target_value": 50}}},
    {"health_check": {"initial_delay": 120}, "load_balancing": {"algorithm": "least-connections"}},
    {"target": {**TARGET, "data_capture": "s3://models/captured"}},
    {"target": GUARDED},
    {"target": GUARDED, "strategy": "canary", "canary": {"steps": [5]}, "resources": {"replicas": 2}},
    {"target": GUARDED, "strategy": "canary", "canary": {"canary_percentage": 10}, "resources": {"replicas": 10}},
    {"target": GUARDED, "strategy": "blue_green", "resources": {"replicas": 2}},
]
REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    ({"strategy": "ab", "routing": {"key": "header:x-user"}}, ["routing.key", "strategy"]),
    ({"routing": {"segments": [{"header": "x", "equals": "y", "arm": "candidate"}]}}, ["routing.segments"]),
    ({"routing": {"deadline_ms": 100}}, ["routing.deadline_ms"]),
    ({"strategy": "shadow"}, ["shadow"]),
    ({"strategy": "canary", "shadow": {}}, ["shadow"]),
    ({"health_check": {"path": "/health", "interval": 5}}, ["health_check.path", "health_check.interval"]),
    ({"health_check": {"enabled": False}}, ["health_check.enabled"]),
    ({"health_check": {"initial_delay": 5}}, ["health_check.initial_delay"]),
    ({"resources": {"cpu_limit": "2", "memory_request": "1Gi"}}, ["resources.cpu_limit", "resources.memory_request"]),
    ({"resources": {"accelerator": "gpu"}}, ["resources.accelerator"]),
    ({"resources": {"max_replicas": 3}}, ["resources.max_replicas"]),
    ({"resources": {**SCALING, "autoscaling": {"metric": "cpu"}}}, ["resources.autoscaling.metric"]),
    ({"resources": {**SCALING, "autoscaling": {"cpu_utilization": 70}}}, ["resources.autoscaling.cpu_utilization"]),
    ({"load_balancing": {"algorithm": "round-robin"}}, ["load_balancing.algorithm"]),
    ({"load_balancing": {"health_check_interval": 5}}, ["load_balancing.health_check_interval"]),
    ({"load_balancing": {"session_affinity": {"enabled": True}}}, ["load_balancing.session_affinity"]),
    ({"load_balancing": {"geo_routing": {"enabled": True}}}, ["load_balancing.geo_routing"]),
    ({"cache": {"enabled": True}}, ["cache.enabled"]),
    (TEST, ["load_test"]),
    ({"rollback": {"drill": "0 5 * * 1"}}, ["rollback.drill"]),
    ({"target": {**TARGET, "alarms": ["errors"]}}, ["target.alarms"]),
    ({"target": {**TARGET, "mode": "guardrail"}}, ["target.alarms"]),
    ({"target": {**GUARDED, "alarms": [f"a{n}" for n in range(11)]}}, ["target.alarms"]),
    ({"target": GUARDED, "rollback": {"window": 7200}}, ["rollback.window"]),
    ({"target": GUARDED, "analysis": {"metrics": [{"name": "e", "max_rate": 0.1}]}}, ["analysis.metrics"]),
    ({"target": GUARDED, "strategy": "canary", "canary": {"steps": [5]}}, ["resources.replicas"]),
    ({"target": GUARDED, "strategy": "canary", "resources": {"replicas": 2}}, ["canary"] * 3),
    ({"target": GUARDED, "strategy": "canary", "resources": {"replicas": 2}, "canary": {"steps": [2.5]}}, ["canary"]),
    (
        {
            "target": GUARDED,
            "strategy": "canary",
            "resources": {"replicas": 2},
            "canary": {"steps": [10, 20], "increment_interval": 3000},
        },
        ["canary"],
    ),
    (
        {
            "target": GUARDED,
            "strategy": "blue_green",
            "resources": {"replicas": 2},
            "blue_green": {"validation_duration": 7200},
        },
        ["blue_green"],
    ),
]


@pytest.mark.parametrize("declared", FITTING)
def test_what_sagemaker_can_do_is_not_refused(declared: dict[str, Any]) -> None:
    assert deployment_faults(Deployment.model_validate({"target": TARGET} | declared)) == []


@pytest.mark.parametrize(("declared", "places"), REFUSED)
def test_what_sagemaker_cannot_do_is_refused_by_its_place(declared: dict[str, Any], places: list[str]) -> None:
    faults = deployment_faults(Deployment.model_validate({"target": TARGET} | declared))
    assert sorted(fault.partition(":")[0] for fault in faults) == sorted(f"deployment.{place}" for place in places)


@pytest.mark.parametrize(
    "wrong", [{"role_arn": "admin"}, {"instance_type": "m5.large"}, {"endpoint": "flight_delay"}, {"mode": "both"}]
)
def test_names_that_aws_would_turn_down_are_refused_when_the_file_is_read(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Deployment.model_validate({"target": TARGET | wrong})


@pytest.mark.parametrize(("target", "steps"), [(TARGET, 6), (GUARDED, 0)])
def test_a_guarded_deployment_has_no_steps_of_its_own(target: dict[str, Any], steps: int) -> None:
    declared = Deployment.model_validate({"target": target, "strategy": "canary"})
    assert (len(declared.shares()), declared.is_delegated_to_target) == (steps, not steps)
