"""Every field of a deployment on Kubernetes is mapped or refused by its place; none is passed over in silence."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.spec.deployment import Deployment
from pipelines.spec.deployment_faults import deployment_faults

ROUTE = {"kind": "http_route", "gateway": "public", "image": "registry.example/step@sha256:0"}
KSERVE = {"kind": "kserve"}
SCALED = {"max_replicas": 3, "cpu_request": "1", "memory_request": "1Gi"}
BOTH: list[tuple[dict[str, Any], str]] = [
    ({"strategy": "ab", "routing": {"key": "header:x-user"}}, "routing.key"),
    ({"routing": {"deadline_ms": 200}}, "routing.deadline_ms"),
    ({"load_balancing": {"algorithm": "least-connections"}}, "load_balancing.algorithm"),
    ({"load_balancing": {"geo_routing": {"enabled": True, "regions": ["eu"]}}}, "load_balancing.geo_routing"),
    ({"load_balancing": {"health_check_interval": 5}}, "load_balancing.health_check_interval"),
    ({"cache": {"enabled": True}}, "cache.enabled"),
    ({"shadow": {}}, "shadow"),
    ({"load_test": {"assertions": {"error_rate": {"max": 0.01}}}}, "load_test"),
    ({"rollback": {"drill": "0 5 * * 1"}}, "rollback.drill"),
    ({"strategy": "shadow"}, "shadow"),
    ({"health_check": {"enabled": False}}, "health_check.enabled"),
    ({"resources": {"accelerator": "gpu"}}, "resources.accelerator"),
    ({"resources": {"max_replicas": 3}}, "resources.max_replicas"),
    (
        {"resources": {"min_replicas": 1, "max_replicas": 3, "autoscaling": {"enabled": False}}},
        "resources.min_replicas",
    ),
    ({"resources": {"max_replicas": 3, "autoscaling": {"metric": "cpu", "target_value": 70}}}, "resources.autoscaling"),
    ({"strategy": "canary", "analysis": {"unit": "key"}}, "analysis.unit"),
]
ROUTE_ALONE: list[tuple[dict[str, Any], str]] = [
    ({"resources": {"max_replicas": 3, "autoscaling": {"memory_utilization": 80}}}, "resources.autoscaling"),
    (
        {"resources": SCALED | {"autoscaling": {"metric": "cpu", "target_value": 70, "cpu_utilization": 60}}},
        "resources.autoscaling.cpu_utilization",
    ),
]
KSERVE_ALONE: list[tuple[dict[str, Any], str]] = [
    ({"strategy": "canary", "canary": {"steps": [0.5, 10]}}, "canary"),
    ({"routing": {"segments": [{"header": "x-tenant", "equals": "us", "arm": "candidate"}]}}, "routing.segments"),
    ({"load_balancing": {"session_affinity": {"enabled": True}}}, "load_balancing.session_affinity"),
    ({"resources": SCALED | {"autoscaling": {"cpu_utilization": 70}}}, "resources.autoscaling"),
    ({"resources": SCALED | {"autoscaling": {"target_value": 1.5}}}, "resources.autoscaling.target_value"),
    ({"resources": SCALED | {"replicas": 2, "min_replicas": 1, "autoscaling": {}}}, "resources.replicas"),
]
GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (ROUTE | {"url": "https://models.example"}, {"load_test": {"assertions": {"error_rate": {"max": 0.01}}}}),
    (ROUTE, {}),
    (KSERVE, {}),
    (
        ROUTE,
        {
            "strategy": "canary",
            "canary": {"steps": [0.5, 10]},
            "routing": {"segments": [{"header": "x-tenant", "equals": "us", "arm": "candidate"}]},
            "resources": SCALED | {"autoscaling": {"cpu_utilization": 70, "memory_utilization": 80}},
            "health_check": {"path": "/ready", "interval": 30, "timeout": 5, "initial_delay": 60},
            "load_balancing": {"session_affinity": {"enabled": True, "timeout": 600}},
        },
    ),
    (
        KSERVE,
        {
            "strategy": "blue_green",
            "resources": SCALED | {"autoscaling": {"target_value": 100}},
            "health_check": {"path": "/v2/health/ready", "interval": 30},
        },
    ),
]
TABLE = [(target, *row) for target in (ROUTE, KSERVE) for row in BOTH]
TABLE += [(ROUTE, *row) for row in ROUTE_ALONE] + [(KSERVE, *row) for row in KSERVE_ALONE]


@pytest.mark.parametrize(("target", "declared", "place"), TABLE)
def test_what_the_target_has_no_means_for_is_refused_by_its_place(
    target: dict[str, Any], declared: dict[str, Any], place: str
) -> None:
    faults = deployment_faults(Deployment.model_validate(declared | {"target": target}))
    assert place in [fault.partition(":")[0].removeprefix("deployment.") for fault in faults]


@pytest.mark.parametrize(("target", "declared"), GOOD)
def test_what_is_mapped_is_not_refused(target: dict[str, Any], declared: dict[str, Any]) -> None:
    assert deployment_faults(Deployment.model_validate(declared | {"target": target})) == []
