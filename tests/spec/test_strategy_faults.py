"""What a strategy never uses is refused by its place, with what to declare instead."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.spec.deployment import Deployment
from pipelines.spec.deployment_faults import deployment_faults
from tests.spec.test_sagemaker_faults import GUARDED

AT_ONCE: dict[str, Any] = {"strategy": "all_at_once"}
CANARY: dict[str, Any] = {"strategy": "canary"}
ROUTE = {"kind": "http_route", "gateway": "public", "image": "image"}
AB: dict[str, Any] = {"strategy": "ab", "routing": {"key": "header:x-user"}}
SLOW = {"name": "slow", "event": "slow", "over_ms": 100}


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        (AT_ONCE | {"analysis": {"minimum_units": 50}}, "analysis.minimum_units: only stages of a canary"),
        (AT_ONCE | {"analysis": {"expected_rate": 0.001}}, "analysis.expected_rate: no stage gives a candidate"),
        (AT_ONCE | {"analysis": {"interval": 5}}, "analysis.interval: nothing is compared before the switch"),
        (AT_ONCE | {"routing": {"key": "header:x-user"}}, "routing.key: no request is routed by it"),
        (
            AT_ONCE | {"analysis": {"metrics": [SLOW | {"max_ratio": 2}]}},
            "analysis.metrics.slow: max_ratio: only stages of a canary",
        ),
        (
            AT_ONCE | {"analysis": {"metrics": [{"name": "errors", "max_rate": 0.1}]}},
            "analysis.metrics.errors: bad answers are limited by rollback.error_threshold",
        ),
        (
            AT_ONCE | {"analysis": {"metrics": [SLOW | {"max_rate": 0.1}]}, "rollback": {"window": 0}},
            "analysis.metrics.slow: nobody watches the version after its promotion",
        ),
        (AB | {"analysis": {"minimum_units": 50}}, "analysis.minimum_units: use ab.minimum_sample_size"),
        (
            AB | {"analysis": {"metrics": [{"name": "errors", "max_rate": 0.1}]}},
            "analysis.metrics.errors: bad answers are limited by ab.error_threshold",
        ),
        (
            {"strategy": "canary", "canary": {"steps": [5, 20], "max_percentage": 20}},
            "canary.max_percentage: steps stand in its place",
        ),
        ({"rollback": {"max_seconds": 2}}, "rollback.max_seconds: it limits a drill, and none is declared"),
        (
            {"rollback": {"error_threshold": 0.1, "automatic": False}},
            "rollback.error_threshold: nobody watches the version after its promotion; declare automatic: true",
        ),
        ({"rollback": {"error_threshold": 0.1, "window": 0}}, "rollback.error_threshold: nobody watches the version"),
        (
            {"load_balancing": {"session_affinity": {"timeout": 60}}},
            "load_balancing.session_affinity.timeout: it is off",
        ),
        ({"cache": {"ttl": 60}}, "cache.ttl: it is off; declare the cache in gateway.yaml"),
        ({"cache": {"enabled": False, "ttl": 60}}, "cache.ttl: it is off; declare the cache in gateway.yaml"),
        (
            {"load_balancing": {"geo_routing": {"enabled": False, "regions": ["eu"]}}},
            "load_balancing.geo_routing.regions: it is off, and no target has it",
        ),
        (
            {"target": ROUTE, "resources": {"autoscaling": {"enabled": False, "target_value": 70}}},
            "resources.autoscaling.target_value: it is off; declare enabled: true",
        ),
        ({"approval": {"requires_approval": False, "timeout": 60}}, "approval.timeout: nobody is asked"),
        (
            {"approval": {"requires_approval": False, "approvers": [{"role": "lead", "users": ["ada"]}]}},
            "approval.approvers: nobody is asked; declare requires_approval: true",
        ),
        (CANARY | {"analysis": {"unit": "key"}}, "analysis.unit: with routing.key: request_id each request"),
        (CANARY | {"target": ROUTE, "analysis": {"unit": "key"}}, "analysis.unit: this target counts requests"),
        (
            {"strategy": "canary", "canary": {"canary_percentage": 50, "increment_percentage": 20}},
            "canary.increment_percentage: the first stage is the largest",
        ),
        (
            AB | {"ab": {"metrics": ["latency"]}, "analysis": {"expected_ratio": 2}},
            "analysis.expected_ratio: only error_rate needs it",
        ),
        (
            CANARY
            | {"target": ROUTE, "rollback": {"window": 0}}
            | {"analysis": {"metrics": [SLOW | {"role": "deterioration", "fail_ratio": 2, "max_rate": 0.1}]}},
            "analysis.metrics.slow: max_rate: nobody watches the version",
        ),
        ({"health_check": {"enabled": False}}, "health_check.enabled: the gateway's supervisor watches its workers"),
        ({"target": GUARDED, "analysis": {"alpha": 0.1}}, "analysis.alpha: in mode guardrail the alarms judge"),
        (
            {"target": GUARDED, "rollback": {"automatic": True}},
            "rollback.automatic: in mode guardrail the alarms judge",
        ),
        (
            {"target": GUARDED | {"bake": 60}, "strategy": "blue_green", "resources": {"replicas": 2}},
            "target.bake: it is that of all_at_once; use blue_green.validation_duration",
        ),
        ({"target": ROUTE | {"url": "https://models.example"}}, "target.url: only a load test uses it"),
    ],
)
def test_a_field_that_the_strategy_never_uses_is_refused(declared: dict[str, Any], fault: str) -> None:
    (found,) = deployment_faults(Deployment.model_validate(declared))
    assert found.startswith(f"deployment.{fault}")


@pytest.mark.parametrize(
    "declared",
    [
        AT_ONCE | {"analysis": {"alpha": 0.1, "metrics": [SLOW | {"max_rate": 0.1}]}, "rollback": {"window": 60}},
        AT_ONCE | {"shadow": {}, "analysis": {"interval": 5, "consecutive_errors": 2}},
        AT_ONCE | {"target": {"kind": "kserve"}, "analysis": {"interval": 5}},
        AB | {"analysis": {"interval": 5, "expected_ratio": 2, "metrics": [SLOW | {"max_rate": 0.1}]}},
        {"cache": {"enabled": False}, "load_balancing": {"geo_routing": {"enabled": False}}},
        {"approval": {"requires_approval": False, "deployers": ["ada"]}},
        {"target": ROUTE, "resources": {"autoscaling": {"enabled": False}}},
        {"target": GUARDED | {"bake": 60}},
        CANARY | {"routing": {"key": "header:x-user"}, "analysis": {"unit": "key"}},
        CANARY | {"analysis": {"metrics": [SLOW | {"role": "deterioration", "fail_ratio": 2, "max_rate": 0.1}]}},
        AB | {"ab": {"metrics": ["latency", "error_rate"]}, "analysis": {"expected_ratio": 2}},
    ],
)
def test_a_field_that_the_strategy_uses_is_accepted(declared: dict[str, Any]) -> None:
    assert deployment_faults(Deployment.model_validate(declared)) == []
