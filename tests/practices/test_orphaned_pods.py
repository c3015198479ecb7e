"""The practice around the rule, on pods as the API client reads them; what a real cluster does with it is tested in
``tests/kubernetes``."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.sdk.exceptions import AirflowSkipException
from kubernetes import client
from kubernetes.client import ApiException
from urllib3.exceptions import MaxRetryError

from pipelines.errors import Refused, Unavailable
from pipelines.testing.ports import FixedClock
from practices._pods import launched as launched_pods
from practices._pods import waiting_tasks
from practices.orphaned_pods import OrphanedPods
from tests.practices.practice_harness import PracticeHarness

NOW = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)


def v1_pod(name: str, of_run: str | None = None, **annotations: str) -> client.V1Pod:
    """A running pod of try 1 of ``train_model`` in a run of flight_delay__train; without one it does not say whose."""
    told = {"dag-id": "flight_delay__train", "run-id": of_run, "task-id": "train_model", "map-index": "-1"}
    told |= {"try-number": "1", "run": f"runs/flight_delay__train/{of_run}/train_model/1-aa"}
    told |= {key.replace("_", "-"): value for key, value in annotations.items()}
    return client.V1Pod(
        metadata=client.V1ObjectMeta(
            name=name,
            uid=f"uid-{name}",
            resource_version="7",
            creation_timestamp=NOW - timedelta(minutes=30),
            labels={"airworthy.dev/step": "train_model"},
            annotations={f"airworthy.dev/{key}": value for key, value in told.items()} if of_run else None,
        ),
        spec=client.V1PodSpec(containers=[]),
        status=client.V1PodStatus(phase="Running", start_time=NOW - timedelta(minutes=30)),
    )


class Api:
    """The three answers of an API server that the practice asks for; two pods to a page."""

    def __init__(self, *pods: client.V1Pod) -> None:
        self.pods = {pod.metadata.name: pod for pod in pods}
        self.asked: list[tuple[str, str]] = []
        self.error: Exception | None = None

    def list_namespaced_pod(self, namespace: str, *, label_selector: str, **paging: Any) -> client.V1PodList:
        if self.error:
            raise self.error
        self.asked.append((namespace, label_selector))
        at = int(paging["_continue"] or 0)
        rest = str(at + 2) if at + 2 < len(self.pods) else None
        meta = client.V1ListMeta(_continue=rest)
        return client.V1PodList(items=list(self.pods.values())[at : at + 2], metadata=meta)

    def delete_namespaced_pod(self, name: str, namespace: str, *, body: Any, **_: Any) -> None:
        wanted, pod = body["preconditions"], self.pods.get(name)
        if pod is None:
            raise ApiException(status=404)
        if wanted != {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version}:
            raise ApiException(status=409)
        del self.pods[name]


class Asked:
    """Airflow's answer about task instances, as the execution API words it."""

    def __init__(self, states: dict[str, dict[str, str | None]]) -> None:
        self.states, self.questions = states, 0

    def get_task_states(self, *, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
        self.questions += 1
        return {run: self.states[run] for run in run_ids if run in self.states}


Reap = Callable[..., dict[str, list[str]]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Api:
    api = Api()
    monkeypatch.setenv("KUBECONFIG", "/somewhere")
    monkeypatch.setattr(KubernetesHook, "core_v1_client", api)
    return api


@pytest.fixture
def reap(harness: PracticeHarness, cluster: Api) -> Reap:
    harness.clock = FixedClock(NOW)  # type: ignore[attr-defined]

    def run(*pods: client.V1Pod, states: dict[str, Any], launched: bool = True, **how: Any) -> dict[str, list[str]]:
        cluster.pods = {pod.metadata.name: pod for pod in pods}
        for pod in pods if launched else ():
            if pod.metadata.annotations:
                harness.store.put(f"{pod.metadata.annotations['airworthy.dev/run']}/ticket.json", b"{}")
        context = harness.context("train", "reap", triggering_user_name=how.pop("who", None))
        context["ti"] = Asked(states)
        found: dict[str, list[str]] = OrphanedPods(task_id="reap", **how).execute(context)
        return found

    return run


def test_pods_that_nobody_waits_for_go_and_all_others_stay(reap: Reap, cluster: Api) -> None:
    pods = [v1_pod("ended", "r1"), v1_pod("waited-for", "r2"), v1_pod("run-deleted", "r3"), v1_pod("nameless")]
    found = reap(*pods, states={"r1": {"train_model": "failed"}, "r2": {"train_model": "deferred"}})
    assert found == {"deleted": ["ended", "run-deleted"], "reported": ["nameless"], "kept": ["waited-for"]}
    assert list(cluster.pods) == ["waited-for", "nameless"]


def test_only_pods_of_this_installation_and_its_namespace_are_asked_for(reap: Reap, cluster: Api) -> None:
    reap(states={})
    wanted = "app.kubernetes.io/name=airworthy,airworthy.dev/installation=airworthy"
    assert cluster.asked == [("default", wanted)]


def test_a_deletion_is_on_the_ledger_once_with_identity_and_reason(reap: Reap, harness: PracticeHarness) -> None:
    for _ in range(2):
        reap(v1_pod("ended", "r1"), states={"r1": {"train_model": "failed"}}, who="oncall")
    [line] = harness.ledger.entries(kind="orphaned_pod")
    assert (line.model, line.version, line.actor) == ("flight_delay", None, "oncall")
    told = {"pod": "ended", "uid": "uid-ended", "run_id": "r1", "task_id": "train_model", "try_number": 1}
    assert told.items() <= line.details.items()
    assert "failed" in line.details["reason"]


@pytest.mark.parametrize("told", [True, "True", "true"])
def test_telling_only_deletes_nothing_and_writes_nothing(
    reap: Reap, cluster: Api, harness: PracticeHarness, told: Any
) -> None:
    found = reap(v1_pod("ended", "r1"), states={"r1": {"train_model": "failed"}}, report_only=told)
    assert found == {"deleted": [], "reported": ["ended"], "kept": []}
    assert list(cluster.pods) == ["ended"]
    assert harness.ledger.entries() == []


@pytest.mark.parametrize("told", [False, "False", "false"])
def test_a_form_that_does_not_ask_for_telling_only_deletes(reap: Reap, told: Any) -> None:
    found = reap(v1_pod("ended", "r1"), states={"r1": {"train_model": "failed"}}, report_only=told)
    assert found["deleted"] == ["ended"]


@pytest.mark.parametrize("change", [{"uid": "another"}, {"resource_version": "8"}])
def test_a_pod_that_changed_after_it_was_judged_is_not_hit(
    reap: Reap, cluster: Api, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    seen = v1_pod("ended", "r1")
    whole = waiting_tasks._query_states

    def meanwhile(*arguments: Any) -> Any:
        for name, value in change.items():
            setattr(cluster.pods["ended"].metadata, name, value)
        return whole(*arguments)

    monkeypatch.setattr(waiting_tasks, "_query_states", meanwhile)
    assert reap(seen, states={"r1": {"train_model": "failed"}})["kept"] == ["ended"]
    assert list(cluster.pods) == ["ended"]


def test_each_mapped_instance_is_told_from_its_neighbours(reap: Reap) -> None:
    pods = [v1_pod(f"pod-{index}", "r1", map_index=str(index)) for index in (-1, 0, 1)]
    found = reap(*pods, states={"r1": {"train_model_0": "running", "train_model_1": "success"}})
    assert (found["deleted"], found["kept"]) == (["pod--1", "pod-1"], ["pod-0"])


def test_tasks_of_one_run_are_told_apart(reap: Reap) -> None:
    pods = [v1_pod("one", "r1"), v1_pod("two", "r1", task_id="take_snapshot")]
    found = reap(*pods, states={"r1": {"train_model": "running", "take_snapshot": "success"}})
    assert (found["deleted"], found["kept"]) == (["two"], ["one"])


def test_many_runs_are_asked_for_in_questions_of_bounded_length(harness: PracticeHarness) -> None:
    pods = [launched_pods.launched_pod(v1_pod(f"p{n}", f"r{n}")) for n in range(120)]
    ti = Asked({f"r{n}": {"train_model": "running"} for n in range(120)})
    found = waiting_tasks.add_task_states(pods, ti, harness.store)
    assert ti.questions == 3
    assert {pod.task_state for pod in found} == {"running"}


def test_a_pod_launched_by_another_installation_of_the_same_name_stays(reap: Reap, cluster: Api) -> None:
    assert reap(v1_pod("theirs", "r1"), states={}, launched=False)["reported"] == ["theirs"]
    assert list(cluster.pods) == ["theirs"]


@pytest.mark.parametrize(
    "spoilt",
    [{"try_number": "two"}, {"map_index": ""}, {"task_id": ""}, {"run": "runs/../../etc"}, {"run": "elsewhere/x"}],
)
def test_a_pod_whose_annotations_make_no_sense_is_reported_and_stays(reap: Reap, spoilt: dict[str, str]) -> None:
    pod = v1_pod("odd", "r1", **spoilt)
    assert reap(pod, states={}, launched=False)["reported"] == ["odd"]


def test_the_end_of_a_pod_is_that_of_its_last_container() -> None:
    pod = v1_pod("done", "r1")
    ends = [NOW - timedelta(minutes=9), NOW - timedelta(minutes=3)]
    pod.status.container_statuses = [
        SimpleNamespace(
            state=client.V1ContainerState(terminated=client.V1ContainerStateTerminated(exit_code=0, finished_at=end))
        )
        for end in ends
    ]
    assert launched_pods.launched_pod(pod).finished == ends[1]


@pytest.mark.parametrize(
    ("error", "becomes", "words"),
    [
        (MaxRetryError(None, "/api", None), Unavailable, "does not answer"),  # type: ignore[arg-type]
        (ConnectionResetError(), Unavailable, "does not answer"),
        (ApiException(status=503, reason="Busy"), Unavailable, "503 Busy"),
        (ApiException(status=429, reason="Slow"), Unavailable, "429 Slow"),
        (ApiException(status=403, reason="Forbidden"), Refused, "service account the role"),
        (ApiException(status=401, reason="Unauthorized"), Refused, "401"),
    ],
)
def test_a_cluster_that_gives_no_answer_is_tried_again_and_one_that_says_no_is_not(
    reap: Reap, cluster: Api, error: Exception, becomes: type[Exception], words: str
) -> None:
    cluster.error = error
    with pytest.raises(becomes, match=words):
        reap(states={})


def test_an_installation_without_a_cluster_is_skipped_and_says_why(
    reap: Reap, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(AirflowSkipException, match="no Kubernetes cluster is configured"):
        reap(states={})


@pytest.mark.parametrize("path", [None, "/no/such/kubeconfig"])
def test_a_cluster_that_is_not_described_well_is_refused_with_what_to_correct(
    harness: PracticeHarness, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    if path:
        described = {"conn_type": "kubernetes", "extra": {"kube_config_path": path}}
        monkeypatch.setenv("AIRFLOW_CONN_MY_CLUSTER", json.dumps(described))
    settings = harness.settings.model_copy(update={"kubernetes_connection": "my_cluster"})
    with pytest.raises(Refused, match="AIRWORTHY_KUBERNETES_CONNECTION"):
        launched_pods.LaunchedPods(settings)
