"""What is declared of a deployment stands in its manifests, and in its metrics what the pods counted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import yaml

from pipelines.adapters.kubernetes import http_route_objects as objects
from pipelines.adapters.kubernetes.pod_readings import ArmTotals, PodCounts, parse_metrics
from pipelines.adapters.kubernetes.rollout_record import (
    MAX_ANSWERS,
    MAX_ROLLOUTS,
    ServingRecord,
    with_answer,
    with_route,
)
from pipelines.adapters.kubernetes.served_pods import no_ready_pod_error, unready_reasons
from pipelines.errors import Refused, Unavailable
from pipelines.messages.rollout import RolloutState
from pipelines.rollout.plan import Guard, RolloutPlan
from pipelines.rollout.transitions import Mirror, RolloutRecord, RolloutStage, Route, Served
from pipelines.settings import REPOSITORY
from pipelines.spec.deployment import Deployment, HttpRoute

TEMPLATE = yaml.safe_load((REPOSITORY / "include" / "pods" / "gateway.yaml").read_text())
TARGET = {"kind": "http_route", "namespace": "ml", "gateway": "public", "image": "registry.example/step@sha256:1"}
ONE, TWO = (Served(version, f"s3://bucket/bundles/{version}", version * 64) for version in "12")


def rendered(template: dict[str, Any] = TEMPLATE, store: str = "s3://bucket", **blocks: Any) -> dict[str, Any]:
    declared = Deployment.model_validate({"target": TARGET} | blocks)
    assert isinstance(declared.target, HttpRoute)
    found = objects.version_objects(
        "flight_delay",
        TWO,
        target=declared.target,
        resources=declared.resources,
        health=declared.health_check,
        balancing=declared.load_balancing,
        template=template,
        store=store,
        environment={"AWS_REGION": "eu-west-1"},
        scaler_version="autoscaling/v2",
        budget_version="policy/v1",
    )
    return {document["kind"]: document for document in found}


def container(**blocks: Any) -> dict[str, Any]:
    found: dict[str, Any] = rendered(**blocks)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_a_pod_serves_one_version_by_its_digest_and_keeps_what_its_template_forbids() -> None:
    documents = rendered()
    deployment = documents["Deployment"]["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = deployment["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    served = pod["containers"][0]
    assert served["image"] == TARGET["image"]
    at = served["args"].index("--serve")
    assert served["args"][at:] == ["--serve", "flight_delay", "2", "s3://bucket/bundles/2", "2" * 64]
    assert {"name": "AWS_REGION", "value": "eu-west-1"} in served["env"]
    assert served["securityContext"]["readOnlyRootFilesystem"]
    selector = documents["Service"]["spec"]["selector"]
    assert selector.items() <= deployment["template"]["metadata"]["labels"].items()
    assert "HorizontalPodAutoscaler" not in documents
    assert documents["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_resources_become_requests_limits_replicas_and_workers() -> None:
    resources = {"replicas": 2, "cpu_request": "500m", "cpu_limit": "2", "memory_request": "1Gi", "memory_limit": "4Gi"}
    documents = rendered(resources=resources)
    assert documents["Deployment"]["spec"]["replicas"] == 2
    served = documents["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert served["resources"] == {
        "limits": {"cpu": "2", "memory": "4Gi"},
        "requests": {"cpu": "500m", "memory": "1Gi"},
    }
    assert served["args"][served["args"].index("--workers") + 1] == "2"


def test_a_health_check_becomes_three_probes() -> None:
    health = {
        "path": "/ready",
        "interval": 30,
        "timeout": 5,
        "success_threshold": 2,
        "failure_threshold": 4,
        "initial_delay": 60,
    }
    served = container(health_check=health)
    assert served["readinessProbe"] == {
        "httpGet": {"path": "/ready", "port": 8900},
        "periodSeconds": 30,
        "timeoutSeconds": 5,
        "successThreshold": 2,
        "failureThreshold": 4,
    }
    assert served["livenessProbe"]["httpGet"]["path"] == "/health"
    assert "successThreshold" not in served["livenessProbe"], "Kubernetes wants 1 there"
    assert served["startupProbe"]["initialDelaySeconds"] == 60


def test_autoscaling_becomes_requests_per_second_beside_cpu_and_memory() -> None:
    autoscaling = {"target_value": 100, "cpu_utilization": 70, "memory_utilization": 80}
    resources = {"replicas": 2, "max_replicas": 20, "cpu_request": "1", "memory_request": "1Gi"}
    spec = rendered(resources=resources | {"autoscaling": autoscaling})["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 20)
    rate, cpu, memory = spec["metrics"]
    assert rate["pods"]["metric"]["name"] == "gateway_requests_per_second"
    assert rate["pods"]["target"] == {"type": "AverageValue", "averageValue": "100000m"}
    assert cpu["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert memory["resource"]["target"]["averageUtilization"] == 80


def test_session_affinity_is_set_on_the_service() -> None:
    spec = rendered(load_balancing={"session_affinity": {"enabled": True, "timeout": 600}})["Service"]["spec"]
    assert spec["sessionAffinity"] == "ClientIP"
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 600}}


def test_two_bundles_of_one_version_have_two_names_that_kubernetes_takes() -> None:
    rebuilt = Served("2", TWO.bundle, "3" * 64)
    long = objects.object_name("a_" + "very_" * 12 + "long", Served("2.0.0-RC_1+build", "x", "0" * 64))
    assert objects.object_name("m", TWO) != objects.object_name("m", rebuilt)
    assert len(long) <= 63
    assert set(long) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize("store", ["/var/store"])
def test_a_folder_that_no_pod_mounts_is_refused_before_anything_is_written(store: str) -> None:
    with pytest.raises(Refused, match="does not mount"):
        rendered(store=store)


def test_a_template_without_the_container_is_refused() -> None:
    with pytest.raises(Refused, match="no container named 'gateway'"):
        rendered(template={"metadata": {"name": "x"}, "spec": {"containers": [{"name": "other"}]}})


def route(split: dict[str, int], mirror: Mirror | None = None) -> Route:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    plan = RolloutPlan(strategy="canary", lease_seconds=60, guard=Guard(max_error_rate=0.1))
    record = RolloutRecord("r1", plan, "BAKING", now, now, ONE, TWO, probe="secret")
    return Route(ONE, candidate=TWO, split=split, mirror=mirror, rollout=record)


def test_the_last_rule_of_a_route_is_the_split_and_reads_back_as_it() -> None:
    target = HttpRoute.model_validate(TARGET)
    names = {objects.object_name("m", served): served.version for served in (ONE, TWO)}
    for split in ({"1": 9999, "2": 1}, {"1": 10_000}, {"1": 0, "2": 10_000}):
        spec = objects.route_spec("m", route(split), target)
        assert objects.read_weights(spec, names) == {version: share for version, share in split.items() if share}
    with pytest.raises(Refused, match="sum to 10000"):
        objects.route_spec("m", route({"1": 0, "2": 0}), target)


def test_a_whole_mirror_needs_nothing_new_and_a_share_is_a_fraction() -> None:
    target = HttpRoute.model_validate(TARGET)
    (whole,) = objects.route_spec("m", route({}, Mirror("2", 10_000)), target)["rules"][-1]["filters"]
    assert "fraction" not in whole["requestMirror"]
    (tenth,) = objects.route_spec("m", route({}, Mirror("2", 1000)), target)["rules"][-1]["filters"]
    assert tenth["requestMirror"]["fraction"] == {"numerator": 1000, "denominator": 10_000}


def test_what_a_server_fills_in_is_no_difference_and_what_it_takes_away_is_one() -> None:
    wanted = {"rules": [{"weight": 5}]}
    assert not objects.differs(wanted, {"rules": [{"weight": 5, "kind": "Service"}], "more": 1})
    assert objects.differs(wanted, {"rules": [{}]})
    assert objects.differs(wanted, {"rules": [{"weight": 5}, {"weight": 5}]})


METRICS = """# TYPE airworthy_requests_total counter
airworthy_requests_total{model="m",version="2",code="200"} 90
airworthy_requests_total{model="m",version="2",code="500"} 7
airworthy_requests_total{model="m",version="",code="400"} 1000
airworthy_requests_total{model="",version="",code="401"} 50
airworthy_request_seconds_bucket{model="m",version="2",le="0.05"} 80
airworthy_request_seconds_bucket{model="m",version="2",le="0.1"} 95
airworthy_request_seconds_bucket{model="m",version="2",le="+Inf"} 97
airworthy_request_seconds_sum{model="m",version="2"} 3.5
airworthy_request_seconds_count{model="m",version="2"} 97
"""


def test_a_page_of_metrics_says_requests_failures_and_slow_answers() -> None:
    assert parse_metrics(METRICS, [100, 80]) == PodCounts(97, 7, 3.5, {"100": 2, "80": 17})


def test_a_pod_that_begins_anew_is_counted_from_nothing() -> None:
    assert PodCounts(10, 1, 1.0, {"5": 2}).since(PodCounts(7, 1, 0.5, {"5": 1})) == PodCounts(3, 0, 0.5, {"5": 1})
    assert PodCounts(3, 1, 0.2, {"5": 1}).since(PodCounts(7, 0, 0.5, {"5": 0})) == PodCounts(3, 1, 0.2, {"5": 1})


def status(**state: Any) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"image": "i:1", **state}]}}


@pytest.mark.parametrize(
    ("pod", "final", "waiting"),
    [
        (
            status(lastState={"terminated": {"exitCode": 65, "message": "x INFO y\nno such bundle"}}),
            "no such bundle",
            "",
        ),
        (status(state={"waiting": {"reason": "CreateContainerConfigError", "message": "no secret"}}), "no secret", ""),
        (
            status(state={"waiting": {"reason": "CreateContainerConfigError", "message": "failed to sync configmap"}}),
            "",
            "failed to sync",
        ),
        (status(state={"waiting": {"reason": "ImagePullBackOff", "message": "gone"}}), "", "i:1 cannot be pulled"),
        (
            status(
                state={"waiting": {"reason": "CrashLoopBackOff"}},
                lastState={"terminated": {"exitCode": 75, "message": "the store does not answer"}},
            ),
            "",
            "crashes repeatedly, exit code 75: the store does not answer",
        ),
        (
            {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]}},
            "",
            "it cannot be scheduled: 0/3 nodes",
        ),
        (status(state={"running": {}}), "", ""),
    ],
)
def test_why_a_pod_is_not_ready_is_said_and_whether_it_ever_will_be(
    pod: dict[str, Any], final: str, waiting: str
) -> None:
    said = unready_reasons([pod])
    for wanted, found in zip((final, waiting), said, strict=True):
        assert bool(found) == bool(wanted)
        assert wanted in "".join(found)


def test_a_candidate_that_nobody_serves_is_taken_back_and_anybody_else_is_waited_for() -> None:
    assert isinstance(no_ready_pod_error("m", TWO, route({"1": 9000, "2": 1000})), Refused)
    assert isinstance(no_ready_pod_error("m", TWO, route({"1": 10_000})), Unavailable)
    assert isinstance(no_ready_pod_error("m", ONE, route({"1": 9000, "2": 1000})), Unavailable)


def test_the_record_of_a_long_rollout_in_many_pods_fits_into_an_annotation() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    here = route({"1": 5000, "2": 5000})
    assert here.rollout is not None
    steps = tuple(RolloutStage(number, number, 0, now) for number in range(20))
    long = msgspec.structs.replace(here.rollout, steps=steps, rollout_id="r" * 64)
    record = ServingRecord(
        msgspec.structs.replace(here, rollout=long), rollouts={str(n): long for n in range(MAX_ROLLOUTS)}
    )
    told = RolloutState(model="m" * 64, generation=1, champion="1", split={"1": 5000, "2": 5000}, reason="why " * 50)
    for number in range(2 * MAX_ANSWERS):
        record = with_route(record, record.route, "traffic", now, changed=True)
        record = with_answer(record, f"{'r' * 64}/step/{number}/try/1", "0" * 64, told)
    reading = PodCounts(10**9, 10**9, 1e6, {"100": 10**9, "250": 10**9})
    arms = [ArmTotals(step, version, "candidate", 500, now, reading) for step in range(20) for version in "12"]
    pods = {f"flight-delay-1-abcdef-0123456789-{number:05}": reading for number in range(400)}
    assert len(msgspec.structs.replace(record, arms=arms, pods=pods).text()) < 200_000
