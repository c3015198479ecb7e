"""The pods that an InferenceService names are started as KServe's controller would: they answer, count, and log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import yaml
from kubernetes import client
from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from pipelines.adapters.kubernetes.api import open_client
from pipelines.adapters.kubernetes.http_route_target import Timeouts
from pipelines.adapters.kubernetes.kserve_objects import PORT, workload_name
from pipelines.adapters.kubernetes.kserve_target import KServeTarget
from pipelines.errors import Refused
from pipelines.messages.rollout import ArmCounts
from pipelines.rollout.transitions import Served
from tests.adapters.rollout_contract import MODEL, PLAN
from tests.kubernetes.lab import node_address
from tests.kubernetes.serving_lab import Client, Moments, declared, definition, grant, host_template
from tests.kubernetes.waiting import until
from tests.serving.candidates import TRIGGER, write_candidate
from tests.serving.rollout_calls import body, row

pytestmark = pytest.mark.kubernetes

log = logging.getLogger(__name__)
SERVICE = ("serving.kserve.io", "v1beta1")
OF_KSERVE = ("name", "labels", "minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")
"""Fields of a predictor that are no part of its pods' spec."""
DOOR = {"schema": 1, "authentication": {"anonymous": "callers of a test", "open_pages": ["health", "ready", "metrics"]}}
PATIENCE: dict[str, Any] = {"_request_timeout": (5, 30)}
"""Seconds to connect to the API server, and to wait for its answer."""
BLOCKS: dict[str, Any] = {
    "health_check": {"interval": 1, "timeout": 5, "failure_threshold": 10},
    "resources": {"cpu_request": "50m", "memory_request": "128Mi"},
}


@pytest.fixture
def folder(core_api: Any, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if node_address(core_api) is None:
        pytest.skip("the cluster's node is another machine: pods cannot run this machine's Python")
    content = {"metadata": {"name": "door"}, "data": {"gateway.yaml": yaml.safe_dump(DOOR)}}
    core_api.create_namespaced_config_map(namespace, content)
    folder = tmp_path_factory.mktemp("on_kserve")
    for shared in (folder, *folder.parents[:3]):
        shared.chmod(0o755)
    grant(namespace)
    with definition("inferenceservices"), controller(namespace):
        yield folder


@contextmanager
def controller(namespace: str) -> Iterator[None]:
    """A Deployment for each predictor that the InferenceService names, none for any other, and a status of it."""
    ends, opened = threading.Event(), open_client()
    objects, apps = client.CustomObjectsApi(opened), client.AppsV1Api(opened)

    def run() -> None:
        while not ends.wait(0.3):
            try:
                reconcile(namespace, objects, apps)
            except (ApiException, HTTPError) as error:  # changed meanwhile, or a busy server: the next round sees it
                log.warning("the controller tries again: %s", error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join(120)


def reconcile(namespace: str, objects: Any, apps: Any) -> None:
    for service in objects.list_namespaced_custom_object(*SERVICE, namespace, "inferenceservices", **PATIENCE)["items"]:
        spec = service["spec"]
        predictors = [spec["predictor"], *(canary["predictor"] for canary in spec.get("canary") or [])]
        named = {f"{service['metadata']['name']}-{predictor['name']}-predictor": predictor for predictor in predictors}
        existing = {one.metadata.name for one in apps.list_namespaced_deployment(namespace, **PATIENCE).items}
        for name in existing - named.keys():
            apps.delete_namespaced_deployment(name, namespace, propagation_policy="Background", **PATIENCE)
        for name in named.keys() - existing:
            apps.create_namespaced_deployment(namespace, deployment(name, named[name]), **PATIENCE)
        conditions = [{"type": kind, "status": "True"} for kind in ("Ready", "CanaryReady")]
        status = {"observedGeneration": service["metadata"]["generation"], "conditions": conditions}
        if service.get("status") != status:
            objects.patch_namespaced_custom_object_status(
                *SERVICE, namespace, "inferenceservices", service["metadata"]["name"], {"status": status}, **PATIENCE
            )


def deployment(name: str, predictor: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": f"isvc.{name}"}
    pod = {field: value for field, value in predictor.items() if field not in OF_KSERVE}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": predictor["minReplicas"], "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


def kserve(namespace: str, folder: Path) -> KServeTarget:
    return KServeTarget(
        declared(namespace, "kserve", **BLOCKS),
        lambda: Client(account="airworthy:airflow"),  # with the rights that the product asks for, and no more
        template=host_template(folder),
        store=str(folder / "store"),
        clock=Moments(),
        timeouts=Timeouts(ready_seconds=180, applied_seconds=60, linger_seconds=0),
    )


def pod_of(core_api: Any, namespace: str, served: Served) -> Any:
    label = f"app=isvc.{workload_name('flight-delay', served)}"
    pods = core_api.list_namespaced_pod(namespace, label_selector=label, **PATIENCE).items
    (pod,) = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
    return pod


def ask(core_api: Any, namespace: str, served: Served, hour: float = 7.0) -> httpx.Response:
    pod = pod_of(core_api, namespace, served)
    url = f"http://{pod.status.pod_ip}:{PORT}/models/{MODEL}/invocations"
    return httpx.post(url, json=body(row(hour)), timeout=60, trust_env=False)


def counted(target: KServeTarget, requests: dict[str, int]) -> dict[str, ArmCounts]:
    """The arms of the first stage once they have so many requests: a gateway counts after it has answered."""

    def arms() -> dict[str, ArmCounts]:
        return {arm.version: arm for arm in target.counts(MODEL, "r1") if arm.step == 1}

    def counts() -> dict[str, int]:
        return {version: arm.requests for version, arm in arms().items()}

    until(lambda: counts() == requests, lambda: f"counted {counts()}, not {requests}")
    return arms()


def logged(folder: Path, count: int) -> pl.DataFrame:
    """The store's prediction log once it has so many rows."""

    def rows() -> pl.DataFrame:
        files = list((folder / "store").glob(f"predictions/{MODEL}/*/*.parquet"))
        return pl.concat([pl.read_parquet(file) for file in files], how="diagonal_relaxed") if files else pl.DataFrame()

    until(lambda: rows().height >= count, lambda: f"{rows().height} of {count} rows are in the store")
    return rows()


def test_both_versions_answer_from_pods_and_their_predictions_reach_the_store(
    core_api: Any, namespace: str, folder: Path
) -> None:
    one = Served("1", *write_candidate(folder, "1", answer=0.25))
    two = Served("2", *write_candidate(folder, "2", "raises", answer=0.75))
    target = kserve(namespace, folder)
    state = target.release(MODEL, "1", one.bundle, one.sha256, key="first")
    assert (state.version, state.workers) == ("1", 1)
    assert ask(core_api, namespace, one).json()["predictions"] == [0.25]

    rollout = target.create_rollout(MODEL, "r1", PLAN, expect=state.generation, key="r1/create")
    rollout = target.prepare(MODEL, "r1", "2", two.bundle, two.sha256, expect=rollout.generation, key="r1/prepare")
    rollout = target.set_traffic(MODEL, "r1", {"1": 9000, "2": 1000}, expect=rollout.generation, key="r1/1")
    assert [ask(core_api, namespace, one).status_code for _ in range(3)] == [200] * 3
    assert ask(core_api, namespace, two).json()["predictions"] == [0.75]
    assert ask(core_api, namespace, two, TRIGGER).status_code == 500
    baking = counted(target, {"1": 3, "2": 2})
    assert (baking["1"].requests, baking["1"].failed) == (3, 0)
    assert (baking["2"].requests, baking["2"].failed) == (2, 1)

    target.roll_back(MODEL, "r1", "errors", key="r1/back")  # its pod ends, and writes what it has answered
    core_api.delete_namespaced_pod(pod_of(core_api, namespace, one).metadata.name, namespace, **PATIENCE)
    rows = logged(folder, 5)
    assert rows.group_by("version").len().sort("version").rows() == [("1", 4), ("2", 1)]

    bundle, _ = write_candidate(folder, "3")
    with pytest.raises(Refused, match=r"(?s)never be ready.*approved was 0000"):
        target.release(MODEL, "3", bundle, "0" * 64, key="wrong")
    assert target.state(MODEL).version == "1"
