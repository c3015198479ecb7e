"""A rollout on KServe keeps its contract on a real API server; KServe's own controller is not there, and not tried."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.adapters.kubernetes.kserve_objects import DEPLOYMENT_MODE_ANNOTATION, predictor_name, workload_name
from pipelines.adapters.kubernetes.kserve_target import KServeTarget
from pipelines.errors import AirworthyError, Conflict, Refused, Unavailable
from pipelines.rollout.transitions import Served
from tests.adapters.rollout_contract import MODEL, PLAN, Bundle, RolloutContract, prepared
from tests.kubernetes.lab import IMAGE
from tests.kubernetes.serving_lab import Client, Killed, UnawaitedKServe, definition, kserve_target

pytestmark = pytest.mark.kubernetes

GROUP = ("serving.kserve.io", "v1beta1")
ONE, TWO = (Served(version, f"s3://bucket/bundles/{version}", version * 64) for version in "12")


@pytest.fixture(scope="module", autouse=True)
def services(core_api: Any) -> Iterator[None]:
    with definition("inferenceservices"):
        yield


@pytest.fixture
def bundle() -> Bundle:
    return lambda version: (f"s3://bucket/bundles/{version}", version * 64)


@pytest.fixture
def target(namespace: str) -> Any:
    return kserve_target(namespace)


class TestKServe(RolloutContract):
    """The behaviours of every target."""

    reaches_without_traffic = False


def service(namespace: str) -> dict[str, Any]:
    from kubernetes import client

    found: dict[str, Any] = client.CustomObjectsApi().get_namespaced_custom_object(
        *GROUP, namespace, "inferenceservices", "flight-delay"
    )
    return found


def edit(namespace: str, patch: dict[str, Any], status: bool = False) -> None:
    from kubernetes import client

    api = client.CustomObjectsApi()
    change = api.patch_namespaced_custom_object_status if status else api.patch_namespaced_custom_object
    change(*GROUP, namespace, "inferenceservices", "flight-delay", patch)


def beside(namespace: str) -> dict[str, int]:
    """Percent of everything that stands beside the live version."""
    return {one["predictor"]["name"]: one["trafficPercent"] for one in service(namespace)["spec"].get("canary") or []}


def settle(namespace: str) -> None:
    """As KServe's controller does when it has taken the newest write."""
    conditions = [{"type": kind, "status": "True"} for kind in ("Ready", "CanaryReady")]
    newest = service(namespace)["metadata"]["generation"]
    edit(namespace, {"status": {"observedGeneration": newest, "conditions": conditions}}, status=True)


def test_a_promotion_changes_names_and_keeps_the_former_version_ready_until_it_is_retired(
    target: UnawaitedKServe, bundle: Bundle, namespace: str
) -> None:
    generation = prepared(target, bundle)
    one, two = predictor_name(ONE), predictor_name(TWO)
    assert service(namespace)["metadata"]["annotations"][DEPLOYMENT_MODE_ANNOTATION] == "Standard"
    assert beside(namespace) == {two: 0}
    state = target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=generation, key="step")
    assert beside(namespace) == {two: 5}
    state = target.promote(MODEL, "r1", "2", expect=state.generation, key="promote")
    spec = service(namespace)["spec"]
    assert (spec["predictor"]["name"], beside(namespace)) == (two, {one: 0})
    arguments = spec["predictor"]["containers"][0]["args"]
    assert arguments[arguments.index("--serve") + 1 :] == [MODEL, "2", TWO.bundle, TWO.sha256]
    target.retire(MODEL, "r1", "1", expect=state.generation, key="retire")
    assert beside(namespace) == {one: 0}, "KServe has not taken the new traffic yet"
    settle(namespace)
    target.retire(MODEL, "r1", "1", expect=state.generation, key="retire")
    assert beside(namespace) == {}


def test_a_rolled_back_candidate_has_no_share_at_once_and_goes_when_kserve_has_taken_that(
    target: UnawaitedKServe, bundle: Bundle, namespace: str
) -> None:
    generation = prepared(target, bundle)
    target.set_traffic(MODEL, "r1", {"1": 5000, "2": 5000}, expect=generation, key="step")
    state = target.roll_back(MODEL, "r1", "errors", key="back")
    assert (state.split, beside(namespace)) == ({"1": 10_000}, {predictor_name(TWO): 0})
    settle(namespace)
    assert target.rollout(MODEL).applied
    target.roll_back(MODEL, "r1", "errors", key="back")
    assert beside(namespace) == {}


def test_half_a_percent_a_mirror_and_a_segment_are_refused(target: UnawaitedKServe, bundle: Bundle) -> None:
    generation = prepared(target, bundle)
    with pytest.raises(Refused, match="whole percents"):
        target.set_traffic(MODEL, "r1", {"1": 9950, "2": 50}, expect=generation, key="half")
    with pytest.raises(Refused, match="cannot mirror requests"):
        target.set_mirror(MODEL, "r1", "2", 10_000, expect=generation, key="mirror")
    segment = {"header": "x-tenant", "equals": "us", "arm": "candidate"}
    plan = PLAN | {"supersede": True, "routing": {"segments": [segment]}}
    with pytest.raises(Refused, match="weight alone"):
        target.create_rollout(MODEL, "r2", plan, expect=generation, key="segment")


def test_a_service_in_knative_mode_is_refused_with_the_reason(
    target: UnawaitedKServe, bundle: Bundle, namespace: str
) -> None:
    target.release(MODEL, "1", *bundle("1"), key="first")
    edit(namespace, {"metadata": {"annotations": {DEPLOYMENT_MODE_ANNOTATION: None}}})
    with pytest.raises(Refused, match=r"mode Knative, which has no spec\.canary"):
        target.rollout(MODEL)


def test_only_the_live_version_says_how_it_scales(namespace: str, bundle: Bundle) -> None:
    scaled = {"max_replicas": 4, "autoscaling": {"target_value": 50}}
    target = kserve_target(namespace, resources=scaled)
    prepared(target, bundle)
    spec = service(namespace)["spec"]
    live, candidate = spec["predictor"], spec["canary"][0]["predictor"]
    assert (live["maxReplicas"], live["scaleMetric"], live["scaleTarget"]) == (4, "rps", 50)
    assert {"maxReplicas", "scaleMetric", "scaleTarget"} & candidate.keys() == set()


def test_of_writers_that_decide_on_the_same_generation_exactly_one_wins(
    target: UnawaitedKServe, bundle: Bundle, namespace: str
) -> None:
    generation = prepared(target, bundle)
    start, won, lost = threading.Barrier(4), [], []

    def write(share: int) -> None:
        mine = kserve_target(namespace)
        start.wait()
        try:
            mine.set_traffic(MODEL, "r1", {"1": 10_000 - share, "2": share}, expect=generation, key=f"step/{share}")
            won.append(share)
        except AirworthyError as error:
            lost.append(type(error))

    threads = [threading.Thread(target=write, args=[share]) for share in (500, 1000, 1500, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(won), lost) == (1, [Conflict] * 3)
    assert target.rollout(MODEL).split == {"1": 10_000 - won[0], "2": won[0]}


def test_a_process_that_ends_at_any_call_leaves_whole_traffic_and_its_next_try_goes_to_the_end(
    namespace: str, bundle: Bundle
) -> None:
    number = 0
    while True:
        number += 1
        dying = Client(kill=number)
        target = kserve_target(namespace, lambda dying=dying: dying)  # type: ignore[misc]
        try:
            generation = prepared(target, bundle) if target.state(MODEL).generation < 3 else 3
            target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=generation, key="step")
            break
        except Killed:
            seen = kserve_target(namespace)
            if seen.state(MODEL).version is not None:
                assert sum(seen.rollout(MODEL).split.values()) == 10_000
    assert number > 15
    state = kserve_target(namespace).rollout(MODEL)
    assert (state.generation, state.step, state.split) == (4, 1, {"1": 9500, "2": 500})


def test_a_candidate_is_awaited_until_its_pods_are_ready(namespace: str, bundle: Bundle) -> None:
    """Its Deployment comes as KServe would make it: late, and under the name and label that KServe gives."""
    from kubernetes import client

    kserve_target(namespace).release(MODEL, "1", *bundle("1"), key="first")
    state = kserve_target(namespace).create_rollout(MODEL, "r1", PLAN, expect=1, key="create")
    name = workload_name("flight-delay", TWO)
    labels = {"app": f"isvc.{name}"}
    pod = {
        "containers": [{"name": "kserve-container", "image": IMAGE, "command": ["sleep", "600"]}],
        "terminationGracePeriodSeconds": 0,
    }
    deployment = {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }
    late = threading.Timer(1, lambda: client.AppsV1Api().create_namespaced_deployment(namespace, deployment))
    late.start()
    target = kserve_target(namespace, kind=_Waiting, ready=180)
    began = time.monotonic()
    state = target.prepare(MODEL, "r1", "2", *bundle("2"), expect=state.generation, key="prepare")
    assert (state.phase, time.monotonic() - began > 1) == ("READY", True)
    target = kserve_target(namespace, kind=_Waiting, ready=1)
    target.roll_back(MODEL, "r1", "enough", key="back")
    with pytest.raises(Unavailable, match="KServe made no Deployment"):
        target.release(MODEL, "3", *bundle("3"), key="third")


class _Waiting(KServeTarget):
    """Waits as the real one does, and asks no pod."""

    def _read_pods(self, model: str, route: Any) -> dict[str, Any]:
        return {}
