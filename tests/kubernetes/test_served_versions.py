"""Versions are served by real pods: ready by their probes, replaced without a failed request, refused in words."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pipelines.adapters.kubernetes.http_route_objects import object_name
from pipelines.adapters.kubernetes.http_route_target import HttpRouteTarget, Timeouts
from pipelines.errors import Refused
from pipelines.rollout.transitions import Served
from tests.adapters.rollout_contract import MODEL, PLAN
from tests.kubernetes.lab import node_address
from tests.kubernetes.serving_lab import Client, Moments, declared, definition, grant, host_template
from tests.kubernetes.waiting import until
from tests.serving.candidates import TRIGGER, write_candidate
from tests.serving.rollout_calls import body, row

pytestmark = pytest.mark.kubernetes

DOOR = {"schema": 1, "authentication": {"anonymous": "callers of a test", "open_pages": ["health", "ready", "metrics"]}}
QUICK = {"interval": 1, "timeout": 5, "failure_threshold": 10}
SMALL = {"cpu_request": "50m", "memory_request": "128Mi"}


@pytest.fixture(scope="module")
def here(core_api: Any, module_namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    if node_address(core_api) is None:
        pytest.skip("the cluster's node is another machine: pods cannot run this machine's Python")
    content = {"metadata": {"name": "door"}, "data": {"gateway.yaml": yaml.safe_dump(DOOR)}}
    core_api.create_namespaced_config_map(module_namespace, content)
    folder = tmp_path_factory.mktemp("served")
    folder.chmod(0o755)
    for parent in folder.parents[:3]:
        parent.chmod(0o755)
    grant(module_namespace)
    with definition("httproutes"):
        yield Here(module_namespace, folder, core_api)


class Here:
    """One namespace, one folder of bundles and log, and the way to each version's service."""

    def __init__(self, namespace: str, folder: Path, core_api: Any) -> None:
        self.namespace, self.folder, self._api = namespace, folder, core_api

    def target(self, ready: float = 120, **blocks: Any) -> HttpRouteTarget:
        return HttpRouteTarget(
            declared(self.namespace, **{"health_check": QUICK, "resources": SMALL, **blocks}),
            lambda: Client(account="airworthy:airflow"),  # with the rights that the product asks for, and no more
            template=host_template(self.folder),
            store=str(self.folder / "store"),
            clock=Moments(),
            timeouts=Timeouts(ready_seconds=ready, applied_seconds=0, linger_seconds=0),
        )

    def url(self, served: Served) -> str:
        """As a Gateway reaches the version: by its service."""
        service = self._api.read_namespaced_service(object_name(MODEL, served), self.namespace)
        return f"http://{service.spec.cluster_ip}:{service.spec.ports[0].port}/models/{MODEL}/invocations"

    def ask(self, served: Served, hour: float = 7.0, times: int = 1) -> list[int]:
        url = self.url(served)
        return [httpx.post(url, json=body(row(hour)), timeout=10).status_code for _ in range(times)]

    def pods(self) -> set[str]:
        found = self._api.list_namespaced_pod(self.namespace, label_selector=f"airworthy.dev/model={MODEL}").items
        return {pod.metadata.name for pod in found}

    def deployments(self) -> list[str]:
        from kubernetes import client

        return [one.metadata.name for one in client.AppsV1Api().list_namespaced_deployment(self.namespace).items]


def test_a_rollout_in_real_pods_goes_from_the_first_release_to_the_promotion(here: Here) -> None:
    from kubernetes import client

    one = Served("1", *write_candidate(here.folder, "1", answer=0.25))
    two = Served("2", *write_candidate(here.folder, "2", "raises", answer=0.75))
    target = here.target()
    state = target.release(MODEL, "1", one.bundle, one.sha256, key="first")
    assert (state.version, state.workers) == ("1", 1)
    answer = httpx.post(here.url(one), json=body(row()), timeout=10).json()
    assert answer["predictions"] == [0.25]

    rollout = target.create_rollout(MODEL, "r1", PLAN, expect=state.generation, key="r1/create")
    rollout = target.prepare(MODEL, "r1", "2", two.bundle, two.sha256, expect=rollout.generation, key="r1/prepare")
    assert httpx.post(here.url(two), json=body(row()), timeout=10).json()["predictions"] == [0.75]
    rollout = target.set_traffic(MODEL, "r1", {"1": 9000, "2": 1000}, expect=rollout.generation, key="r1/1")
    here.ask(one, times=30)
    assert set(here.ask(two, times=10)) == {200}
    assert here.ask(two, TRIGGER, times=2) == [500, 500]
    baking = {arm.version: arm for arm in target.counts(MODEL, "r1") if arm.step == 1}
    assert (baking["1"].requests, baking["1"].failed, baking["1"].role) == (30, 0, "champion")
    assert (baking["2"].requests, baking["2"].failed, baking["2"].role) == (12, 2, "candidate")
    earlier = {arm.version: arm.requests for arm in target.counts(MODEL, "r1") if arm.step == 0}
    assert earlier == {"1": 0, "2": 1}

    # The promotion comes with a larger declaration: the candidate's pods are replaced while callers go on.
    scaled = {
        "replicas": 1,
        "max_replicas": 2,
        "cpu_request": "60m",
        "memory_request": "128Mi",
        "autoscaling": {"target_value": 100, "cpu_utilization": 70},
    }
    before = here.pods()
    with Callers(here.url(two)) as callers:
        state = here.target(resources=scaled).promote(MODEL, "r1", "2", expect=rollout.generation, key="r1/promote")
        callers.more(20)
    assert (state.champion, state.previous, state.split) == ("2", "1", {"2": 10_000})
    assert here.pods() - before, "no pod was replaced"
    assert callers.failed == []
    (scaler,) = client.CustomObjectsApi().list_namespaced_custom_object(
        "autoscaling", "v2beta2", here.namespace, "horizontalpodautoscalers"
    )["items"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == object_name(MODEL, two)
    assert {metric["type"] for metric in scaler["spec"]["metrics"]} == {"Pods", "Resource"}


def test_a_bundle_that_is_not_what_was_approved_is_refused_with_the_gateways_own_words(here: Here) -> None:
    bundle, _ = write_candidate(here.folder, "13")
    before = here.target().state(MODEL)
    began = time.monotonic()
    with pytest.raises(Refused, match=r"(?s)never be ready.*approved was 0000") as caught:
        here.target().release(MODEL, "13", bundle, "0" * 64, key="wrong")
    assert time.monotonic() - began < 60
    assert "INFO" not in str(caught.value)
    assert here.target().state(MODEL).version == before.version
    assert not [name for name in here.deployments() if name.startswith("flight-delay-13-")]


def test_an_image_that_does_not_exist_is_refused_when_the_time_is_over(here: Here) -> None:
    bundle, sha256 = write_candidate(here.folder, "14")
    target = {"kind": "http_route", "namespace": here.namespace, "gateway": "public", "image": "nowhere.invalid/none:1"}
    with pytest.raises(Refused, match=r"(?s)not ready within 4 s.*nowhere.invalid/none:1 cannot be pulled"):
        here.target(ready=4, target=target).release(MODEL, "14", bundle, sha256, key="no image")


class Callers:
    """Asks again and again from two threads, each time on a new connection, and keeps every failure."""

    def __init__(self, url: str) -> None:
        self._url, self._ends = url, threading.Event()
        self.failed: list[str] = []
        self.answered = 0
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(2)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def more(self, count: int) -> None:
        """So many more answers."""
        goal = self.answered + count
        until(lambda: self.answered >= goal, lambda: f"{self.answered} answers, not {goal}")

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join(30)
        assert self.answered

    def _ask(self) -> None:
        while not self._ends.is_set():
            try:
                status = httpx.post(self._url, json=body(row()), timeout=10).status_code
                self.answered += 1
                if status != 200:
                    self.failed.append(str(status))
            except httpx.HTTPError as error:
                self.failed.append(repr(error))
            time.sleep(0.02)
