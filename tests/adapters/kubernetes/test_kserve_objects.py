"""An InferenceService holds pods of the gateway's image for every version, and the shares in whole percents."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pipelines.adapters.kubernetes import kserve_objects as objects
from pipelines.errors import Refused
from pipelines.rollout.transitions import Route, Served
from pipelines.serving.container import gateway_arguments
from pipelines.settings import REPOSITORY
from pipelines.spec.deployment import Deployment

TEMPLATE = yaml.safe_load((REPOSITORY / "include" / "pods" / "gateway.yaml").read_text())
IMAGE = "registry.example/step@sha256:1"
ONE, TWO, THREE = (Served(version, f"s3://bucket/bundles/{version}", version * 64) for version in "123")


def rendered(route: Route, *unused: Served, template: dict[str, Any] = TEMPLATE, **blocks: Any) -> dict[str, Any]:
    declared = Deployment.model_validate({"target": {"kind": "kserve"}} | blocks)
    pods = objects.GatewayPods(IMAGE, template, "s3://bucket", {"AWS_REGION": "eu-west-1"})
    return objects.inference_spec("flight_delay", route, unused, declared=declared, pods=pods)


def container(**blocks: Any) -> dict[str, Any]:
    (found,) = rendered(Route(ONE), **blocks)["predictor"]["containers"]
    return dict(found)


def test_a_version_is_served_by_the_gateways_image_which_is_told_its_digest_and_its_log() -> None:
    served = container(resources={"cpu_limit": "2"})
    assert (served["name"], served["image"], served["args"]) == ("kserve-container", IMAGE, ["serve"])
    assert served["command"] == ["python", "-m", "pipelines"]
    environment = {entry["name"]: entry["value"] for entry in served["env"]}
    assert environment["AWS_REGION"] == "eu-west-1"
    arguments = gateway_arguments(environment)
    assert arguments[arguments.index("--serve") + 1 :] == ["flight_delay", "1", "s3://bucket/bundles/1", "1" * 64]
    told = {name: arguments[arguments.index(name) + 1] for name in ("--port", "--workers", "--store")}
    assert told == {"--port": "8080", "--workers": "2", "--store": "s3://bucket"}
    assert served["ports"] == [{"name": "http1", "containerPort": 8080, "protocol": "TCP"}]


def test_a_predictor_keeps_what_its_template_forbids_and_mounts() -> None:
    predictor = rendered(Route(ONE))["predictor"]
    assert predictor["securityContext"]["runAsNonRoot"]
    assert predictor["automountServiceAccountToken"] is False
    assert {volume["name"] for volume in predictor["volumes"]} == {"door", "scratch"}
    assert predictor["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    assert "restartPolicy" not in predictor


def test_a_health_check_becomes_probes_of_the_gateways_pages() -> None:
    served = container(health_check={"interval": 30, "failure_threshold": 4})
    assert served["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 8080}
    assert (served["readinessProbe"]["periodSeconds"], served["readinessProbe"]["failureThreshold"]) == (30, 4)
    assert served["livenessProbe"]["httpGet"]["path"] == "/health"


def test_amounts_are_written_as_kubernetes_writes_them_back() -> None:
    declared = {"cpu_request": "0.5", "cpu_limit": "2000m", "memory_request": "1536Mi", "memory_limit": "2048Mi"}
    assert container(resources=declared)["resources"] == {
        "requests": {"cpu": "500m", "memory": "1536Mi"},
        "limits": {"cpu": "2", "memory": "2Gi"},
    }


def test_all_other_versions_stand_beside_the_live_one_with_the_candidates_share_alone() -> None:
    route = Route(ONE, previous=THREE, candidate=TWO, split={"1": 9000, "2": 1000})
    spec = rendered(route)
    assert spec["predictor"]["name"] == objects.predictor_name(ONE)
    shares = {canary["predictor"]["name"]: canary["trafficPercent"] for canary in spec["canary"]}
    assert shares == {objects.predictor_name(TWO): 10, objects.predictor_name(THREE): 0}
    versions = {objects.predictor_name(served): served.version for served in (ONE, TWO, THREE)}
    assert objects.read_weights(spec, versions) == {"1": 9000, "2": 1000}


def test_what_an_earlier_write_may_have_left_in_the_live_predictor_is_taken_out() -> None:
    scaled = {"max_replicas": 4, "autoscaling": {"target_value": 50}}
    live = rendered(Route(ONE), resources=scaled)["predictor"]
    assert (live["maxReplicas"], live["scaleMetric"], live["scaleTarget"], live["model"]) == (4, "rps", 50, None)
    live = rendered(Route(ONE))["predictor"]
    assert (live["maxReplicas"], live["scaleMetric"], live["scaleTarget"], live["model"]) == (1, None, None, None)
    assert {"scaleMetric", "model"}.isdisjoint(objects.without_none(live))


def test_a_store_that_the_pods_cannot_reach_is_refused() -> None:
    local = Served("1", "/data/bundles/1", "1" * 64)
    with pytest.raises(Refused, match="does not mount the folder of the bundle, /data/bundles/1"):
        rendered(Route(local))
