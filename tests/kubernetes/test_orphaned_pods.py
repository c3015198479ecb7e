"""On a real cluster the reaper takes the pods that nobody waits for, and no other."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import Refused, Unavailable
from pipelines.settings import Settings
from pipelines.testing.ports import FixedClock
from practices._pods.launched import LaunchedPods
from practices.orphaned_pods import OrphanedPods
from tests.kubernetes.lab import IMAGE
from tests.kubernetes.waiting import until
from tests.practices.practice_harness import PracticeHarness

pytestmark = pytest.mark.kubernetes
DAG = "flight_delay__train"
Start = Callable[..., Any]


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespace: str) -> PracticeHarness:
    """An installation whose pods lie in the test's namespace, an hour after they were started."""
    made = PracticeHarness.open(tmp_path, monkeypatch)
    made.settings = Settings.from_environment({"AIRWORTHY_HOME": str(tmp_path), "AIRWORTHY_POD_NAMESPACE": namespace})
    made.clock = FixedClock(datetime.now(UTC) + timedelta(hours=1))  # type: ignore[attr-defined]
    return made


@pytest.fixture
def start(core_api: Any, namespace: str, harness: PracticeHarness) -> Start:
    """Start a pod of try 1 of ``train_model`` in the run of the pod's own name; annotations can be changed."""

    def run(name: str, *, command: str = "sleep 600", installation: str = "airworthy", **annotations: str) -> Any:
        launch = f"runs/{DAG}/{name}/train_model/{annotations.get('try_number', 1)}-aa"
        told = {"dag-id": DAG, "run-id": name, "task-id": "train_model", "map-index": "-1", "try-number": "1"}
        told |= {"run": launch, **{key.replace("_", "-"): value for key, value in annotations.items()}}
        labels = {"app.kubernetes.io/name": "airworthy", "airworthy.dev/step": "train_model"}
        pod = {
            "metadata": {
                "name": name,
                "labels": {**labels, "airworthy.dev/installation": installation},
                "annotations": {f"airworthy.dev/{key}": value for key, value in told.items() if value},
            },
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "step",
                        "image": IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["sh", "-c", f"exec {command}"],
                    }
                ],
            },
        }
        harness.store.put(f"{told['run']}/ticket.json", b"{}")
        return core_api.create_namespaced_pod(namespace, pod)

    return run


class Asked:
    """Airflow's answer about ``train_model`` in each run."""

    def __init__(self, states: dict[str, str]) -> None:
        self.states = states

    def get_task_states(self, *, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
        return {run: {"train_model": self.states[run]} for run in run_ids if run in self.states}


def reap(harness: PracticeHarness, **states: str) -> dict[str, list[str]]:
    context = harness.context("train", "reap")
    context["ti"] = Asked({run.replace("_", "-"): state for run, state in states.items()})
    found: dict[str, list[str]] = OrphanedPods(task_id="reap").execute(context)
    return {outcome: sorted(names) for outcome, names in found.items()}


def phases(core_api: Any, namespace: str) -> dict[str, str]:
    """The phase of each pod that the API server knows."""
    return {pod.metadata.name: pod.status.phase for pod in core_api.list_namespaced_pod(namespace).items}


def alive(core_api: Any, namespace: str) -> set[str]:
    """Pods that are there and not on their way out."""
    pods = core_api.list_namespaced_pod(namespace).items
    return {pod.metadata.name for pod in pods if not pod.metadata.deletion_timestamp}


def test_only_the_pods_that_nobody_waits_for_go(
    core_api: Any, namespace: str, harness: PracticeHarness, start: Start
) -> None:
    start("wanted")
    start("ended")
    start("run-deleted")
    start("finished", command="true")
    start("finished-wanted", command="true")
    start("replaced", run_id="again")
    time.sleep(1.1)  # the age of a pod is told in whole seconds
    start("later", run_id="again", try_number="2")
    start("foreign", installation="somebody-else")
    start("unreadable", task_id="")

    def pods() -> dict[str, str]:
        return phases(core_api, namespace)

    ended = {"finished", "finished-wanted"}
    started = {name: "Succeeded" if name in ended else "Running" for name in pods()}
    until(lambda: pods() == started, pods)
    states = {"wanted": "deferred", "ended": "failed", "finished": "success", "finished_wanted": "deferred"}
    found = reap(harness, **states, again="running")
    assert found["deleted"] == ["ended", "finished", "replaced", "run-deleted"]
    assert found["reported"] == ["unreadable"]
    assert found["kept"] == ["finished-wanted", "later", "wanted"]
    left = {"wanted", "finished-wanted", "later", "foreign", "unreadable"}
    until(lambda: alive(core_api, namespace) == left, pods)
    recorded = {line.details["pod"] for line in harness.ledger.entries(kind="orphaned_pod")}
    assert recorded == set(found["deleted"])
    until(lambda: set(pods()) == left, pods)
    assert reap(harness, **states, again="running") == {**found, "deleted": []}


def test_a_pod_that_was_made_anew_under_the_same_name_is_not_hit(
    core_api: Any, namespace: str, harness: PracticeHarness, start: Start
) -> None:
    start("ended")
    until(lambda: phases(core_api, namespace) == {"ended": "Running"}, lambda: phases(core_api, namespace))
    pods = LaunchedPods(harness.settings)
    [seen] = pods.list_pods()
    core_api.delete_namespaced_pod("ended", namespace, grace_period_seconds=0)
    until(lambda: not phases(core_api, namespace), lambda: phases(core_api, namespace))
    start("ended")
    assert not pods.delete(seen)
    assert alive(core_api, namespace) == {"ended"}


def test_a_pod_that_changed_since_it_was_seen_is_not_hit(
    core_api: Any, namespace: str, harness: PracticeHarness, start: Start
) -> None:
    start("ended")
    until(lambda: phases(core_api, namespace) == {"ended": "Running"}, lambda: phases(core_api, namespace))
    pods = LaunchedPods(harness.settings)
    [seen] = pods.list_pods()
    core_api.patch_namespaced_pod("ended", namespace, {"metadata": {"labels": {"touched": "yes"}}})
    assert not pods.delete(seen)
    [again] = pods.list_pods()
    assert pods.delete(again)
    until(lambda: not phases(core_api, namespace), lambda: phases(core_api, namespace))
    assert not pods.delete(again)


def test_a_pod_that_never_found_a_node_goes_like_any_other(
    core_api: Any, namespace: str, harness: PracticeHarness, start: Start
) -> None:
    start("ended", command="true")
    body = core_api.read_namespaced_pod("ended", namespace)
    core_api.delete_namespaced_pod("ended", namespace, grace_period_seconds=0)
    until(lambda: not phases(core_api, namespace), lambda: phases(core_api, namespace))
    body.metadata.resource_version = body.metadata.uid = body.spec.node_name = None
    body.spec.node_selector = {"no-such": "node"}
    core_api.create_namespaced_pod(namespace, body)
    assert reap(harness, ended="failed")["deleted"] == ["ended"]
    until(lambda: not phases(core_api, namespace), lambda: phases(core_api, namespace))


def test_an_api_server_that_does_not_answer_is_tried_again(
    core_api: Any, harness: PracticeHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "kubeconfig"
    text = Path(os.environ["KUBECONFIG"]).read_text()
    config.write_text(re.sub(r"https://[^\s\"',}]+", "https://127.0.0.1:9", text))
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(config)}}
    monkeypatch.setenv("AIRFLOW_CONN_DEAD_CLUSTER", json.dumps(connection))
    harness.settings = harness.settings.model_copy(update={"kubernetes_connection": "dead_cluster"})
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="does not answer"):
        reap(harness)
    assert time.monotonic() - begun < 60


def test_a_user_who_may_not_list_pods_is_refused_with_what_to_allow(
    core_api: Any, namespace: str, harness: PracticeHarness
) -> None:
    from kubernetes import client

    pods = LaunchedPods(harness.settings)
    configuration = client.Configuration.get_default_copy()
    configuration.cert_file = configuration.key_file = None
    pods._api = client.CoreV1Api(client.ApiClient(configuration))
    with pytest.raises(Refused, match="give Airflow's service account the role"):
        pods.list_pods()
