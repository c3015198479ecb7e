"""A rollout on HTTPRoute keeps its contract on a real API server, whoever dies or writes in between."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from pipelines.adapters.kubernetes.http_route_objects import object_name
from pipelines.adapters.kubernetes.pod_readings import PodCounts
from pipelines.adapters.kubernetes.rollout_record import RECORD_ANNOTATION
from pipelines.errors import AirworthyError, Conflict, Refused
from pipelines.rollout.transitions import Served
from tests.adapters.rollout_contract import MODEL, PLAN, Bundle, RolloutContract, prepared
from tests.kubernetes.serving_lab import Client, Killed, Unawaited, definition, http_route_target

pytestmark = pytest.mark.kubernetes

GROUP = ("gateway.networking.k8s.io", "v1")


@pytest.fixture(scope="module", autouse=True)
def routes(core_api: Any) -> Iterator[None]:
    with definition("httproutes"):
        yield


@pytest.fixture
def bundle() -> Bundle:
    return lambda version: (f"s3://bundles/{version}", version * 64)


@pytest.fixture
def target(namespace: str) -> Unawaited:
    return http_route_target(namespace)


class TestHttpRoute(RolloutContract):
    """The behaviours of every target."""

    @pytest.fixture
    def target(self, namespace: str) -> Unawaited:
        return http_route_target(namespace, kind=Accepted)


class Accepted(Unawaited):
    """A controller takes each write as soon as one is waited for."""

    def _wait_applied(self, model: str) -> bool:
        if self._read_route(model) is not None:
            accept(self._target.namespace)
        return super()._wait_applied(model)


def route(namespace: str) -> dict[str, Any]:
    from kubernetes import client

    found: dict[str, Any] = client.CustomObjectsApi().get_namespaced_custom_object(
        *GROUP, namespace, "httproutes", "flight-delay"
    )
    return found


def edit(namespace: str, patch: dict[str, Any], status: bool = False) -> None:
    from kubernetes import client

    api = client.CustomObjectsApi()
    change = api.patch_namespaced_custom_object_status if status else api.patch_namespaced_custom_object
    change(*GROUP, namespace, "httproutes", "flight-delay", patch)


def accept(namespace: str) -> None:
    """As a Gateway's controller does when it has taken the newest write."""
    newest = route(namespace)["metadata"]["generation"]
    accepted = {"type": "Accepted", "status": "True", "observedGeneration": newest}
    edit(namespace, {"status": {"parents": [{"conditions": [accepted]}]}}, status=True)


def weights(namespace: str) -> dict[str, int]:
    return {one["name"]: one["weight"] for one in route(namespace)["spec"]["rules"][-1]["backendRefs"]}


def objects(namespace: str) -> set[str]:
    """Kind and version of everything that serves."""
    from kubernetes import client

    deployments = client.AppsV1Api().list_namespaced_deployment(namespace).items
    services = client.CoreV1Api().list_namespaced_service(namespace).items
    budgets = client.CustomObjectsApi().list_namespaced_custom_object(
        "policy", "v1beta1", namespace, "poddisruptionbudgets"
    )["items"]
    found = {f"Deployment {one.metadata.annotations['airworthy.dev/version']}" for one in deployments}
    found |= {f"Service {one.metadata.annotations['airworthy.dev/version']}" for one in services}
    return found | {f"Budget {one['metadata']['annotations']['airworthy.dev/version']}" for one in budgets}


def test_the_weights_are_the_split_and_the_record_stands_in_the_same_object(
    target: Unawaited, bundle: Bundle, namespace: str
) -> None:
    generation = prepared(target, bundle)
    one, two = (object_name(MODEL, Served(version, *bundle(version))) for version in "12")
    assert weights(namespace) == {one: 10_000, two: 0}
    before = route(namespace)["metadata"]["generation"]
    target.set_traffic(MODEL, "r1", {"1": 8500, "2": 1500}, expect=generation, key="step")
    found = route(namespace)
    assert weights(namespace) == {one: 8500, two: 1500}
    assert found["metadata"]["generation"] == before + 1
    record = json.loads(found["metadata"]["annotations"][RECORD_ANNOTATION])
    assert (record["route"]["split"], record["route"]["rollout"]["phase"]) == ({"1": 8500, "2": 1500}, "BAKING")
    assert [change["action"] for change in record["history"]] == ["release", "create", "prepare", "traffic"]


def test_a_probe_and_a_segment_reach_the_candidate_by_header(target: Unawaited, bundle: Bundle, namespace: str) -> None:
    segment = {"header": "x-tenant", "equals": "us", "arm": "candidate"}
    generation = prepared(target, bundle, routing={"segments": [segment]})
    target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=generation, key="step")
    probe, tenant, _ = route(namespace)["spec"]["rules"]
    two = object_name(MODEL, Served("2", *bundle("2")))
    assert [one["name"] for one in probe["backendRefs"] + tenant["backendRefs"]] == [two, two]
    assert probe["matches"][0]["headers"][0]["value"] == target.rollout(MODEL).probe
    with pytest.raises(Refused, match=r"target\.url"):
        target.probe_endpoint(MODEL, "token")
    assert tenant["matches"][0]["headers"][0] == {"type": "Exact", "name": "x-tenant", "value": "us"}
    target.roll_back(MODEL, "r1", "enough", key="back")
    assert len(route(namespace)["spec"]["rules"]) == 1


def test_a_mirror_copies_a_share_and_stops(target: Unawaited, bundle: Bundle, namespace: str) -> None:
    generation = prepared(target, bundle, strategy="shadow")
    state = target.set_mirror(MODEL, "r1", "2", 2500, expect=generation, key="mirror")
    assert (state.phase, state.mirror, state.mirror_basis_points) == ("SHADOWING", "2", 2500)
    (copied,) = route(namespace)["spec"]["rules"][-1]["filters"]
    assert copied["requestMirror"]["fraction"] == {"numerator": 2500, "denominator": 10_000}
    assert target.rollout(MODEL).split == {"1": 10_000}
    target.set_mirror(MODEL, "r1", None, 0, expect=state.generation, key="stop")
    assert "filters" not in route(namespace)["spec"]["rules"][-1]


def test_what_gets_no_traffic_is_deleted_only_when_a_controller_has_taken_the_new_route(
    target: Unawaited, bundle: Bundle, namespace: str
) -> None:
    generation = prepared(target, bundle)
    target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=generation, key="step")
    both = {f"{kind} {version}" for kind in ("Deployment", "Service", "Budget") for version in "12"}
    state = target.roll_back(MODEL, "r1", "errors", key="back")
    assert not state.applied
    assert objects(namespace) == both
    accept(namespace)
    assert target.rollout(MODEL).applied
    target.roll_back(MODEL, "r1", "errors", key="back")
    assert objects(namespace) == {"Deployment 1", "Service 1", "Budget 1"}


def test_a_change_comes_back_once_a_controller_has_taken_it(target: Unawaited, bundle: Bundle, namespace: str) -> None:
    generation = prepared(target, bundle)
    done = threading.Event()

    def control() -> None:
        while not done.wait(0.3):
            accept(namespace)

    controller = threading.Thread(target=control)
    controller.start()
    waiting = http_route_target(namespace, drained=30)
    state = waiting.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=generation, key="step")
    done.set()
    controller.join()
    assert state.applied


def test_what_a_killed_preparation_had_made_goes_with_the_rollback(
    target: Unawaited, bundle: Bundle, namespace: str
) -> None:
    target.release(MODEL, "1", *bundle("1"), key="first")
    state = target.create_rollout(MODEL, "r1", PLAN, expect=1, key="create")
    number = 0
    while "Deployment 2" not in objects(namespace):
        number += 1
        dying = Client(kill=number)
        with suppress(Killed):
            http_route_target(namespace, lambda dying=dying: dying).prepare(  # type: ignore[misc]
                MODEL, "r1", "2", *bundle("2"), expect=state.generation, key="prepare"
            )
    assert target.rollout(MODEL).candidate is None
    accept(namespace)
    target.roll_back(MODEL, "r1", "its run was killed", key="back")
    assert objects(namespace) == {"Deployment 1", "Service 1", "Budget 1"}


def test_traffic_that_somebody_changed_by_hand_is_told_as_it_is_and_put_right_by_the_next_step(
    target: Unawaited, bundle: Bundle, namespace: str
) -> None:
    generation = prepared(target, bundle)
    rules = route(namespace)["spec"]["rules"]
    rules[-1]["backendRefs"][0]["weight"], rules[-1]["backendRefs"][1]["weight"] = 1000, 9000
    edit(namespace, {"spec": {"rules": rules}})
    state = target.rollout(MODEL)
    assert state.split == {"1": 1000, "2": 9000}
    state = target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=generation, key="step")
    assert target.rollout(MODEL).split == {"1": 9500, "2": 500}


def test_a_route_of_somebody_else_is_never_taken_over(target: Unawaited, bundle: Bundle, namespace: str) -> None:
    target.release(MODEL, "1", *bundle("1"), key="first")
    edit(namespace, {"metadata": {"annotations": {RECORD_ANNOTATION: None}}})
    with pytest.raises(Refused, match="does not belong to this installation"):
        target.release(MODEL, "2", *bundle("2"), key="second")
    edit(namespace, {"metadata": {"annotations": {RECORD_ANNOTATION: "?"}}})
    with pytest.raises(Refused, match="is not a valid record"):
        target.rollout(MODEL)


def test_of_writers_that_decide_on_the_same_generation_exactly_one_wins(
    target: Unawaited, bundle: Bundle, namespace: str
) -> None:
    generation = prepared(target, bundle)
    shares = [500, 1000, 1500, 2000, 2500, 3000]
    won: list[int] = []
    lost: list[AirworthyError] = []
    start = threading.Barrier(len(shares))

    def write(share: int) -> None:
        mine = http_route_target(namespace)
        start.wait()
        try:
            split = {"1": 10_000 - share, "2": share}
            mine.set_traffic(MODEL, "r1", split, expect=generation, key=f"step/{share}")
            won.append(share)
        except AirworthyError as error:
            lost.append(error)

    threads = [threading.Thread(target=write, args=[share]) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(won) == 1
    assert len(lost) == len(shares) - 1
    assert all(isinstance(error, Conflict) for error in lost)
    state = target.rollout(MODEL)
    assert (state.split, state.generation) == ({"1": 10_000 - won[0], "2": won[0]}, generation + 1)


def test_a_process_that_ends_at_any_call_leaves_whole_traffic_and_its_next_try_goes_to_the_end(
    namespace: str, bundle: Bundle
) -> None:
    """The whole way, with a death at every call of it: what is left is sound, and the repeat finishes."""
    number, deaths = 0, 0
    watcher = http_route_target(namespace)
    while True:
        number += 1
        dying = Client(kill=number)
        try:
            _whole_way(http_route_target(namespace, lambda dying=dying: dying), bundle)  # type: ignore[misc]
            assert len(dying.requests) < number
            break
        except Killed:
            deaths += 1
        if watcher.state(MODEL).version is not None:
            assert sum(weights(namespace).values()) == 10_000
            assert sum(watcher.rollout(MODEL).split.values()) == 10_000
    assert deaths > 20
    state = watcher.rollout(MODEL)
    assert (state.champion, state.phase, state.split) == ("1", "ROLLED_BACK", {"1": 10_000})
    # Each step took effect once, however often it was asked for.
    assert state.generation == 5


def _whole_way(target: Unawaited, bundle: Bundle) -> None:
    """As tasks do it: read, decide, and go on where an earlier try ended."""
    target.release(MODEL, "1", *bundle("1"), key="first")
    state = target.rollout(MODEL)
    state = target.create_rollout(MODEL, "r1", PLAN, expect=state.generation, key="r1/create")
    if state.phase == "PENDING":
        state = target.prepare(MODEL, "r1", "2", *bundle("2"), expect=state.generation, key="r1/prepare")
    if state.phase == "READY":
        state = target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=state.generation, key="r1/step/1")
    target.roll_back(MODEL, "r1", "errors", key="r1/back")


def test_counts_are_what_grew_in_each_step_and_a_pod_that_starts_anew_takes_none_away(
    target: Unawaited, bundle: Bundle
) -> None:
    target.release(MODEL, "1", *bundle("1"), key="first")
    target.counted = {"a": ("1", PodCounts(1000, 7, 5.0, {"100": 3}))}
    generation = prepared(target, bundle)
    target.counted = {"a": ("1", PodCounts(1100, 8, 6.0, {"100": 3})), "b": ("2", PodCounts(20, 0, 0.1, {"100": 1}))}
    state = target.set_traffic(MODEL, "r1", {"1": 9000, "2": 1000}, expect=generation, key="step")
    target.counted = {"a": ("1", PodCounts(1190, 9, 7.0, {"100": 4})), "b": ("2", PodCounts(25, 2, 0.2, {"100": 1}))}
    target.renew_lease(MODEL, "r1", 900, expect=state.generation, key="lease")
    target.counted = {"a": ("1", PodCounts(10, 1, 0.1, {"100": 0})), "c": ("2", PodCounts(3, 1, 0.1, {"100": 2}))}
    found = {(arm.step, arm.version): arm for arm in target.counts(MODEL, "r1")}
    assert [(arm.requests, arm.failed, arm.share) for arm in found.values()] == [
        (100, 1, 0),
        (20, 0, 0),
        (100, 2, 1000),
        (8, 3, 1000),
    ]
    assert (found[(1, "2")].slow, found[(1, "2")].role) == ({"100": 2}, "candidate")
    assert found[(0, "1")].step_started is not None
