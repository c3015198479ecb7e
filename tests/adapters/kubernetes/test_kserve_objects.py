"""An InferenceService holds pods of the gateway's image for every version, and the shares in whole percents."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pipelines.adapters.kubernetes import kserve_objects as objects
from pipelines.errors import Refused
from pipelines.rollout.transitions import Route, Served
from pipelines.settings import REPOSITORY
from pipelines.spec.deployment import Deployment

TEMPLATE = yaml.safe_load((REPOSITORY / "include" / "pods" / "gateway.yaml").read_text())
IMAGE = "registry.example/step@sha256:1"
ONE, TWO, THREE = (Served(version, f"s3://bucket/bundles/{version}", version * 64) for version in "123")


def rendered(
    route: Route,
    *unused: Served,
    template: dict[str, Any] = TEMPLATE,
    image: str | None = IMAGE,
    stored: dict[str, Any] | None = None,
    **blocks: Any,
) -> dict[str, Any]:
    declared = Deployment.model_validate({"target": {"kind": "kserve"}} | blocks)
    pods = objects.GatewayPods(image, template, "s3://bucket", {"AWS_REGION": "eu-west-1"})
    known = objects.stored_predictors(stored) if stored else None
    return objects.inference_spec("flight_delay", route, unused, declared=declared, pods=pods, stored=known)


def container(**blocks: Any) -> dict[str, Any]:
    (found,) = rendered(Route(ONE), **blocks)["predictor"]["containers"]
    return dict(found)


def test_a_version_is_served_by_the_gateways_image_which_is_told_its_digest_and_its_log() -> None:
    served = container(resources={"cpu_limit": "2"})
    assert (served["name"], served["image"]) == ("kserve-container", IMAGE)
    assert served["command"] == ["python", "-m", "pipelines.serving"]
    arguments = served["args"]
    assert arguments[arguments.index("--serve") + 1 :] == ["flight_delay", "1", "s3://bucket/bundles/1", "1" * 64]
    told = {name: arguments[arguments.index(name) + 1] for name in ("--port", "--workers", "--store", "--state")}
    assert told == {"--port": "8080", "--workers": "2", "--store": "s3://bucket", "--state": "/home/airworthy/gateway"}
    assert served["ports"] == [{"name": "http1", "containerPort": 8080, "protocol": "TCP"}]
    assert {"name": "AWS_REGION", "value": "eu-west-1"} in served["env"]


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


def test_declared_amounts_are_those_of_the_container() -> None:
    declared = {"cpu_request": "500m", "cpu_limit": "2", "memory_request": "1536Mi", "memory_limit": "2Gi"}
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


def test_a_merge_patch_takes_out_what_the_new_live_predictor_has_not() -> None:
    scaled = {"max_replicas": 4, "autoscaling": {"target_value": 50}}
    before = rendered(Route(ONE), resources=scaled)["predictor"] | {"model": {"storageUri": "s3://bucket"}}
    assert (before["maxReplicas"], before["scaleMetric"], before["scaleTarget"]) == (4, "rps", 50)
    patch = objects.replacement(before, rendered(Route(TWO))["predictor"])
    assert (patch["scaleMetric"], patch["scaleTarget"], patch["model"]) == (None, None, None)
    assert objects.replacement({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"c": 3}}) == {
        "a": {"b": None, "c": 3},
        "d": None,
    }
    assert objects.replacement(None, {"a": 1}) == {"a": 1}


def test_a_version_that_runs_keeps_its_pods_whatever_is_declared_now_and_takes_the_new_size() -> None:
    route = Route(ONE, candidate=TWO, split={"1": 9000, "2": 1000})
    stored = rendered(route)
    size = {"replicas": 3, "memory_limit": "8Gi"}
    later = rendered(Route(TWO, previous=ONE), THREE, stored=stored, image="newer", resources=size)
    assert later["predictor"]["containers"] == stored["canary"][0]["predictor"]["containers"]
    former, new = (canary["predictor"] for canary in later["canary"])
    assert former["containers"] == stored["predictor"]["containers"]
    assert (new["containers"][0]["image"], new["containers"][0]["resources"]["limits"]) == ("newer", {"memory": "8Gi"})
    assert [later["predictor"]["minReplicas"], former["minReplicas"], later["predictor"]["maxReplicas"]] == [3, 3, 3]
    assert set(objects.SCALING_FIELDS).isdisjoint(former)


def test_what_runs_can_be_taken_back_without_an_image_and_nothing_new_can_be_started() -> None:
    stored = rendered(Route(ONE, candidate=TWO, split={"1": 9000, "2": 1000}))
    back = rendered(Route(ONE), TWO, stored=stored, image=None)
    assert objects.essentials(back)[0] == objects.essentials(stored)[0]
    with pytest.raises(Refused, match=r"(?s)no image that could serve it on KServe.*AIRWORTHY_POD_IMAGE"):
        rendered(Route(ONE), THREE, stored=stored, image=None)


def test_amounts_and_zeros_that_kserve_writes_in_its_own_way_are_no_difference_and_a_lost_canary_is() -> None:
    route = Route(ONE, candidate=TWO)
    spec, stored = rendered(route), rendered(route)
    del stored["canary"][0]["trafficPercent"]
    del stored["predictor"]["containers"][0]["startupProbe"]["initialDelaySeconds"]
    stored["predictor"]["volumes"][1]["emptyDir"]["sizeLimit"] = "20480Mi"
    stored["predictor"]["containers"][0]["terminationMessagePath"] = "/dev/termination-log"
    assert objects.essentials(stored) == objects.essentials(spec)
    assert objects.read_weights(stored, {objects.predictor_name(ONE): "1"}) == {"1": 10_000}
    assert objects.essentials({**stored, "canary": None}) != objects.essentials(spec)
    stored["predictor"]["containers"][0]["image"] = "a mirror's"
    assert objects.essentials(stored) != objects.essentials(spec)


def test_a_store_that_the_pods_cannot_reach_is_refused() -> None:
    local = Served("1", "/data/bundles/1", "1" * 64)
    with pytest.raises(Refused, match="does not mount the folder of the bundle, /data/bundles/1"):
        rendered(Route(local))
