"""A training in a pod gives what it gives in a process, and survives what clusters do to pods."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from pipelines.errors import Refused, Unavailable
from practices._operators.step import StepPractice
from tests.kubernetes.lab import Background, Installation, mlflow_server, own_address, s3_server

pytestmark = pytest.mark.kubernetes


@pytest.fixture(scope="session")
def servers(core_api: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    host = own_address(core_api)
    if host is None:
        pytest.skip("the cluster's node is another machine: this one's Python cannot be mounted into its pods")
    with s3_server(host) as s3, mlflow_server(host, tmp_path_factory.mktemp("mlflow")) as tracking:
        yield s3, tracking


@pytest.fixture
def lab(
    core_api: Any, namespace: str, servers: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    lab = Installation(core_api, namespace, tmp_path, *servers, prefix=f"test-{secrets.token_hex(4)}")
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    return lab


LONG = {"estimator": {"rounds": 300, "parameters": {"max_depth": 6, "subsample": 0.8, "nthread": 1}}}
"""About 15 seconds on 100,000 rows: long enough to be killed half-way."""
ROWS = 100_000


def test_the_same_request_gives_the_same_model_in_a_pod_and_in_a_process(lab: Installation, tmp_path: Path) -> None:
    request = lab.request()
    in_pod = lab.train(request)
    in_process = lab.in_process(request, tmp_path)
    assert in_pod.model_digest == in_process.model_digest
    assert in_pod.metrics == in_process.metrics
    assert lab.left() == []
    assert "train_model" in lab.store.get(lab.run_files("manifest.json")[0]).decode()
    assert lab.run_files("log.txt")


def delete_the_pod(lab: Installation, pod: Any) -> None:
    lab.api.delete_namespaced_pod(pod.metadata.name, lab.namespace, grace_period_seconds=0)


def kill_the_container(lab: Installation, pod: Any) -> None:
    """``kill -9`` of the step from outside, as the kernel or a person would."""
    for process in psutil.process_iter(["cmdline"]):
        if lab.run_of(pod) in (process.info["cmdline"] or []):
            process.kill()


@pytest.mark.parametrize("harm", [delete_the_pod, kill_the_container])
def test_a_pod_lost_half_way_is_unavailable_and_the_retry_resumes_to_the_same_model(
    lab: Installation, tmp_path: Path, harm: Callable[[Installation, Any], None]
) -> None:
    lab.declare(**LONG)
    request = lab.request(ROWS)
    first = Background(lambda: lab.train(request))
    pod = lab.await_pod(lambda pod: pod.status.phase == "Running")
    lab.await_checkpoint()
    harm(lab, pod)
    with pytest.raises(Unavailable, match="a retry"):
        first.result()
    assert lab.left() == []
    second = lab.train(request, try_number=2)
    assert second.resumed_from_round is not None
    assert second.resumed_from_round > 0
    assert second.model_digest == lab.undisturbed(request, tmp_path)


def test_a_kubelet_that_dies_and_comes_back_disturbs_nothing(lab: Installation) -> None:
    start = os.environ.get("AIRWORTHY_TEST_CLUSTER_START")
    if not start:
        pytest.skip("AIRWORTHY_TEST_CLUSTER_START names no command that starts the cluster's kubelet again")
    lab.declare(**LONG)
    task = Background(partial(lab.train, lab.request(ROWS)))
    lab.await_checkpoint()
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "kubelet":
            process.kill()
    subprocess.run([start], check=True, capture_output=True, timeout=120)
    assert task.result().resumed_from_round is None
    assert len(lab.run_files("ticket.json")) == 1


def test_memory_raised_after_a_refusal_goes_on_from_the_checkpoint(lab: Installation, tmp_path: Path) -> None:
    lab.declare(**LONG)
    request = lab.request(ROWS)
    task = Background(partial(lab.train, request))
    pod = lab.await_pod(lambda pod: pod.status.phase == "Running")
    lab.await_checkpoint()
    if not lab.squeeze(pod):
        pytest.skip("the memory cgroups of the pods are not to be seen on this machine")
    with pytest.raises(Refused, match="ran out of memory"):
        task.result()
    resumed = lab.train(request, lab.runner(memory="2Gi"), try_number=2)
    assert resumed.resumed_from_round is not None
    assert resumed.model_digest == lab.undisturbed(request, tmp_path)


def test_a_step_that_outgrows_its_memory_is_refused_at_once_with_the_numbers(lab: Installation) -> None:
    request = lab.request()
    with pytest.raises(Refused, match="ran out of memory") as error:
        lab.train(request, lab.runner(memory="120Mi"))
    assert "120Mi" in error.value.reasons[0]
    assert lab.left() == []


# ---- several pods, one model ---------------------------------------------------------------------------------------


def test_two_workers_in_two_pods_train_the_model_that_two_processes_train(lab: Installation, tmp_path: Path) -> None:
    lab.declare(runner={"workers": 2})
    request = lab.request(20_000)
    task = Background(partial(lab.train, request, lab.runner(workers=2, cpus=0.9)))
    lab.await_pod(lambda pod: pod.metadata.labels.get("airworthy.dev/role") == "worker")
    in_pods = task.result()
    assert in_pods.model_digest == lab.undisturbed(request, tmp_path)
    lab.await_no_pods()


def test_a_worker_lost_half_way_fails_the_try_and_the_next_one_resumes(lab: Installation, tmp_path: Path) -> None:
    lab.declare(runner={"workers": 2}, **LONG)
    request, runner = lab.request(ROWS), lab.runner(workers=2, cpus=0.9)
    first = Background(partial(lab.train, request, runner))
    worker = lab.await_pod(lambda pod: pod.metadata.labels.get("airworthy.dev/role") == "worker")
    lab.await_checkpoint()
    delete_the_pod(lab, worker)
    with pytest.raises(Unavailable):
        first.result()
    second = lab.train(request, runner, try_number=2)
    assert second.resumed_from_round
    assert second.model_digest == lab.undisturbed(request, tmp_path)


# ---- what can never work ends soon, and says why ---------------------------------------------------------------------

IMPOSSIBLE = {
    "an image that is not there": (
        {"image": f"docker.io/nobody/nothing@sha256:{'0' * 64}", "start_minutes": 0.2},
        (Refused, Unavailable),
        "(cannot be pulled|did not start within start_minutes)",
    ),
    "a secret that is not there": ({"secrets": {"TOKEN": "no-such-secret/key"}}, Refused, "CreateContainerConfigError"),
    "a secret volume that is not there": (
        {"volumes": [{"name": "keys", "mount_path": "/keys", "secret": "no-such-secret"}], "start_minutes": 0.15},
        Refused,
        "did not start within start_minutes",
    ),
    "a node that is not there": (
        {"node_selector": {"disk": "golden"}, "schedule_minutes": 0.05},
        Refused,
        "found no node within schedule_minutes",
    ),
    "more than any node has": ({"gpus": 16, "schedule_minutes": 0.05}, Unavailable, "Insufficient nvidia.com/gpu"),
    "a priority class that is not there": ({"priority_class": "first-of-all"}, Refused, "first-of-all"),
    "a service account that is not there": ({"service_account": "nobody"}, Refused, "nobody"),
    "a template that is not there": ({"template": "nothing.yaml"}, Refused, "there is no pod template"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_can_never_work_ends_soon_and_says_why(lab: Installation, case: str) -> None:
    declared, error, said = IMPOSSIBLE[case]
    secrets_of_store = lab.runner().secrets
    if "secrets" in declared:
        declared = {**declared, "secrets": {**secrets_of_store, **declared["secrets"]}}
    begun = time.monotonic()
    with pytest.raises(error, match=said):
        lab.train(lab.request(), lab.runner(**{"cpus": 0.1, **declared}))
    assert time.monotonic() - begun < 60
    assert lab.left() == []


def test_a_store_that_the_pod_cannot_reach_is_unavailable_and_names_it(
    lab: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = lab.runner(environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
    with pytest.raises(Unavailable, match="does not answer"):
        lab.train(lab.request(), runner)


def test_wrong_credentials_in_the_pod_say_so_and_are_shown_nowhere(lab: Installation) -> None:
    wrong = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "very-secret-words"}
    lab.api.create_namespaced_secret(lab.namespace, {"metadata": {"name": "wrong"}, "stringData": wrong})
    lab.train(lab.request(), lab.runner(secrets={name: f"wrong/{name}" for name in wrong}))  # moto checks no keys
    texts = [lab.store.get(path).decode() for path in lab.store.list("runs/")]
    assert texts
    assert not [text for text in texts if "very-secret-words" in text]


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("AIRWORTHY_STORE", "/var/lib/airworthy/store", "a folder that the pod does not mount"),
        ("MLFLOW_TRACKING_URI", "http://127.0.0.1:5500", "the pod's own loopback"),
    ],
)
def test_what_the_pod_could_not_reach_is_refused_before_it_starts(
    lab: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, value: str, said: str
) -> None:
    request = lab.request()
    monkeypatch.setenv(setting, value if setting != "AIRWORTHY_STORE" else str(tmp_path / "store"))
    with pytest.raises(Refused) as error:
        lab.train(request)
    assert any(said in reason for reason in error.value.reasons)
    assert lab.left() == []


def test_a_namespace_that_is_not_there_is_refused(lab: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRWORTHY_POD_NAMESPACE", "no-such-namespace")
    with pytest.raises(Refused, match="no-such-namespace"):
        lab.train(lab.request())


def test_a_cluster_that_does_not_answer_is_unavailable(
    lab: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    for cluster in elsewhere["clusters"]:
        cluster["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(elsewhere))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    with pytest.raises(Unavailable, match="the cluster does not answer"):
        lab.train(lab.request())


# ---- one pod per task ------------------------------------------------------------------------------------------------


def test_a_second_try_takes_over_the_pod_that_the_first_left_running(lab: Installation, tmp_path: Path) -> None:
    """The worker died: nobody waited any more, the pod went on."""
    lab.declare(**LONG)
    request = lab.request(ROWS)
    left = lab.abandon(request)
    taken = lab.train(request, try_number=2)
    assert [path for path in lab.run_files("ticket.json") if not path.startswith(lab.run_of(left))] == []
    assert taken.resumed_from_round is None
    assert lab.left() == []


def test_a_pod_that_finished_while_nobody_looked_is_collected_and_not_started_again(lab: Installation) -> None:
    request = lab.request()
    left = lab.abandon(request)
    lab.await_pod(lambda pod: pod.status.phase == "Succeeded")
    lab.train(request, try_number=2)
    assert len(lab.run_files("ticket.json")) == 1
    assert lab.run_files("ticket.json")[0].startswith(lab.run_of(left))
    assert lab.left() == []


def test_a_task_that_was_cleared_after_its_success_runs_anew(lab: Installation) -> None:
    request = lab.request()
    lab.train(request)
    lab.train(request, try_number=2)
    assert len(lab.run_files("ticket.json")) == 2


def test_a_pod_of_another_request_of_the_same_task_gives_way(lab: Installation) -> None:
    lab.declare(**LONG)
    left = lab.abandon(lab.request(ROWS))
    lab.declare()
    lab.train(lab.request(1200), try_number=2)
    assert left.metadata.name not in [pod.metadata.name for pod in lab.left()]


def test_a_killed_task_takes_its_pod_along_and_never_ends_as_a_success(lab: Installation) -> None:
    lab.declare(**LONG)
    request = lab.request(ROWS)
    task = Background(lambda: lab.train(request))
    lab.await_pod(lambda pod: pod.status.phase == "Running")
    StepPractice(task_id="train_model").on_kill()  # what Airflow calls on SIGTERM
    with pytest.raises(Unavailable):
        task.result()
    assert lab.left() == []


def test_of_two_tasks_and_one_gpu_one_waits(lab: Installation) -> None:
    runner = lab.runner(gpus=1)
    for run in ("manual__1", "manual__2"):
        lab.abandon(lab.request(run=run), runner, run)
    lab.await_pod(lambda pod: any(state.status == "False" for state in pod.status.conditions or []))
    phases = sorted(pod.status.phase for pod in lab.pods())
    waiting = [pod for pod in lab.pods() if pod.status.phase == "Pending" and not pod.spec.node_name]
    assert phases.count("Pending") >= 1
    assert len(waiting) == 1
    assert "Insufficient nvidia.com/gpu" in waiting[0].status.conditions[0].message


def test_a_pod_that_exits_well_without_a_manifest_has_proved_nothing(lab: Installation) -> None:
    template = yaml.safe_load((lab.include / "pods" / "step.yaml").read_text())
    template["spec"]["containers"][0]["command"] = ["/bin/true"]
    (lab.include / "pods" / "step.yaml").write_text(yaml.safe_dump(template))
    with pytest.raises(Unavailable, match="wrote no manifest"):
        lab.train(lab.request())


def test_a_pod_that_runs_longer_than_it_may_is_refused(lab: Installation) -> None:
    lab.declare(**LONG)
    with pytest.raises(Refused, match="ran longer than timeout_minutes"):
        lab.train(lab.request(ROWS), lab.runner(timeout_minutes=0.05, start_minutes=0.05))
