"""The pod is what the YAML says: every field of a stage's runner is in the manifest that the cluster gets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipelines.errors import Refused
from pipelines.pod.run_seal import RUN_KEY
from pipelines.settings import Settings
from pipelines.spec.runner import StageRunner
from pipelines.testing.ports import MemoryStore
from practices._pods.cluster import Cluster
from practices._pods.launch import Launch
from practices._pods.plan import check_reachable, pod_arguments, resources
from practices._pods.workers import worker_pods

DIGEST = f"registry/step@sha256:{'a' * 64}"
TEMPLATE = {
    "apiVersion": "v1",
    "kind": "Pod",
    "spec": {
        "containers": [{"name": "step", "image": "none", "securityContext": {"runAsUser": 50000}}],
        "restartPolicy": "Never",
    },
}
DECLARED: dict[str, Any] = {
    "image": DIGEST,
    "gpus": 2,
    "cpus": 1.5,
    "memory": "4Gi",
    "node_selector": {"pool": "gpu"},
    "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "spot", "value": "yes", "effect": "NoExecute", "seconds": 60},
    ],
    "priority_class": "high",
    "service_account": "trainer",
    "volumes": [
        {"name": "data", "mount_path": "/data", "claim": "data"},
        {"name": "keys", "mount_path": "/keys", "secret": "keys"},
        {"name": "settings", "mount_path": "/settings", "config_map": "settings"},
        {"name": "host", "mount_path": "/host", "host_path": "/mnt", "read_only": False},
        {"name": "cache", "mount_path": "/cache", "scratch": "10Gi"},
    ],
    "environment": {"OMP_NUM_THREADS": "2"},
    "secrets": {"AWS_SECRET_ACCESS_KEY": "s3/secret"},
    "queue": "team-a",
    "timeout_minutes": 90,
    "start_minutes": 5,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "include" / "pods").mkdir(parents=True)
    (tmp_path / "include" / "pods" / "step.yaml").write_text(yaml.safe_dump(TEMPLATE))
    return Settings.from_environment(
        {
            "AIRWORTHY_HOME": str(tmp_path),
            "AIRWORTHY_INCLUDE": str(tmp_path / "include"),
            "AIRWORTHY_STORE": "s3://bucket/store",
            "MLFLOW_TRACKING_URI": "http://mlflow:5500",
            "AIRWORTHY_ALLOW_HOST_ACCESS": "true",
            "AIRWORTHY_POD_IMAGE": "installation:1",
            "AIRWORTHY_POD_NAMESPACE": "models",
        }
    )


def launch() -> Launch:
    ti = SimpleNamespace(
        dag_id="m__train", run_id="r", task_id="t", map_index=-1, try_number=2, id="0190aaaa-0001-7000-8000-0"
    )
    return Launch.of({"ti": ti}, MemoryStore(), "train_model", "{}", ["secret of the installation"])


def built(declared: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The manifest as the provider's operator makes it; it asks the cluster only whether it is in one."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    monkeypatch.setattr(KubernetesHook, "is_in_cluster", property(lambda self: False))
    arguments = pod_arguments(launch(), "2-x", StageRunner.model_validate(declared), settings)
    ti = SimpleNamespace(dag_id="m__train", task_id="t", map_index=-1, try_number=2)
    context: Any = {"ti": ti, "run_id": "r", "dag": SimpleNamespace(parent_dag=None)}
    return Cluster(settings).build(arguments, context)


def test_a_pod_gets_the_key_of_its_own_run_which_no_declaration_replaces(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = built(DECLARED, settings, monkeypatch)
    environment = {variable.name: variable.value for variable in pod.spec.containers[0].env}
    assert environment[RUN_KEY] == launch().run_key("2-x")
    assert "secret of the installation" not in str(pod)
    for field in ("environment", "secrets"):
        with pytest.raises(ValueError, match=f"{RUN_KEY} is set by the runner itself"):
            StageRunner.model_validate({field: {RUN_KEY: "other/key"}})


def test_every_declared_field_is_in_the_pod(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = built(DECLARED, settings, monkeypatch)
    spec, container = pod.spec, pod.spec.containers[0]
    assert container.image == DIGEST
    assert container.resources.limits == {"cpu": "1500m", "memory": "4Gi", "nvidia.com/gpu": "2"}
    assert container.resources.requests == {"cpu": "1350m", "memory": "3686Mi", "nvidia.com/gpu": "2"}
    assert spec.node_selector == {"pool": "gpu"}
    assert [(one.key, one.effect, one.toleration_seconds) for one in spec.tolerations] == [
        ("nvidia.com/gpu", "NoSchedule", None),
        ("spot", "NoExecute", 60),
    ]
    assert (spec.priority_class_name, spec.service_account_name) == ("high", "trainer")
    assert spec.active_deadline_seconds == 95 * 60
    assert pod.metadata.namespace == "models"
    assert pod.metadata.labels["kueue.x-k8s.io/queue-name"] == "team-a"
    volumes = {volume.name: volume for volume in spec.volumes}
    assert volumes["data"].persistent_volume_claim.claim_name == "data"
    assert volumes["keys"].secret.secret_name == "keys"
    assert volumes["settings"].config_map.name == "settings"
    assert volumes["host"].host_path.path == "/mnt"
    assert volumes["cache"].empty_dir.size_limit == "10Gi"
    writable = {mount.name for mount in container.volume_mounts if not mount.read_only}
    assert writable == {"host", "cache"}
    variables = {variable.name: variable for variable in container.env}
    assert variables["OMP_NUM_THREADS"].value == "2"
    assert variables["AWS_SECRET_ACCESS_KEY"].value is None
    assert variables["AWS_SECRET_ACCESS_KEY"].value_from.secret_key_ref.name == "s3"
    assert variables["AIRWORTHY_STORE"].value == "s3://bucket/store"


def test_what_the_template_says_stays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = built({}, settings, monkeypatch)
    assert pod.spec.containers[0].security_context.run_as_user == 50000
    assert pod.spec.restart_policy == "Never"


def test_the_installation_s_image_is_taken_where_none_is_declared(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert built({}, settings, monkeypatch).spec.containers[0].image == "installation:1"


def test_the_pod_bears_who_waits_for_it_to_the_letter(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = built({}, settings, monkeypatch)
    told = {name.partition("/")[2]: value for name, value in pod.metadata.annotations.items()}
    assert told == {
        "dag-id": "m__train",
        "run-id": "r",
        "task-id": "t",
        "map-index": "-1",
        "try-number": "2",
        "run": launch().path("2-x"),
    }
    assert pod.metadata.labels["airworthy.dev/installation"] == "airworthy"
    assert pod.spec.containers[0].args == ["train_model", "--run", launch().path("2-x")]


def test_no_secret_of_the_task_s_environment_travels(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://s3")
    pod = built({}, settings, monkeypatch)
    values = {variable.name: variable.value for variable in pod.spec.containers[0].env}
    assert values["AWS_ENDPOINT_URL"] == "http://s3"
    assert "very-secret" not in str(pod)


def test_without_any_image_the_refusal_says_what_to_set(settings: Settings) -> None:
    bare = settings.model_copy(update={"pod_image": None})
    with pytest.raises(Refused) as error:
        pod_arguments(launch(), "1", StageRunner(), bare)
    assert "AIRWORTHY_POD_IMAGE" in error.value.reasons[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"store": "/srv/store"}, "AIRWORTHY_STORE /srv/store is a folder that the pod does not mount"),
        ({"tracking": "http://127.0.0.1:5500"}, "MLFLOW_TRACKING_URI http://127.0.0.1:5500 is the pod's own loopback"),
        ({"tracking": "http://localhost:5500"}, "loopback"),
        ({"tracking": "https://ann:tell-nobody@mlflow"}, "MLFLOW_TRACKING_URI https://***@mlflow holds a password"),
    ],
)
def test_what_the_pod_cannot_reach_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    pod = built({}, settings, monkeypatch)
    with pytest.raises(Refused) as error:
        check_reachable(pod, settings.model_copy(update=changes))
    assert said in error.value.reasons[0]


@pytest.mark.parametrize("place", ["runner", "template"])
def test_a_pod_gets_nothing_of_its_node_unless_the_installation_allows_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    strict = settings.model_copy(update={"allow_host_access": False})
    declared: dict[str, Any] = {"volumes": [{"name": "s", "mount_path": "/srv", "host_path": "/srv"}]}
    text = "volume s: the node's folder /srv"
    if place == "template":
        pod = yaml.safe_load((settings.include / "pods" / "step.yaml").read_text())
        pod["spec"]["hostNetwork"], declared, text = True, {}, "hostNetwork: the node's network"
        (tmp_path / "pods").mkdir()
        (tmp_path / "pods" / "step.yaml").write_text(yaml.safe_dump(pod))
        strict = strict.model_copy(update={"include": tmp_path})
    with pytest.raises(Refused, match="would use its node") as refused:
        built(declared, strict, monkeypatch)
    assert refused.value.reasons[0] == text
    assert "AIRWORTHY_ALLOW_HOST_ACCESS=true" in refused.value.reasons[-1]


def test_a_store_in_a_mounted_folder_can_be_reached(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = {"volumes": [{"name": "s", "mount_path": "/srv", "host_path": "/srv", "read_only": False}]}
    pod = built(mounted, settings, monkeypatch)
    check_reachable(pod, settings.model_copy(update={"store": "/srv/store"}))


@pytest.mark.parametrize(
    ("cpus", "memory", "requests"),
    [(0.001, "1Mi", ("1m", "1Mi")), (2, "4Gi", ("1800m", "3686Mi")), (0.5, "512Mi", ("450m", "460Mi"))],
)
def test_requests_lie_a_little_under_the_limits(cpus: float, memory: str, requests: tuple[str, str]) -> None:
    found = resources(StageRunner(cpus=cpus, memory=memory))["requests"]
    assert (found["cpu"], found["memory"]) == requests


def test_workers_are_the_same_pod_and_go_when_it_goes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = built(DECLARED, settings, monkeypatch)
    created = SimpleNamespace(metadata=SimpleNamespace(name=pod.metadata.name, uid="u-1"))
    first, second = worker_pods(pod, created, "runs/x", 2)
    assert first.metadata.name == f"{pod.metadata.name}-w1"
    assert second.metadata.name == f"{pod.metadata.name}-w2"
    assert first.spec.containers[0].args == ["work", "--run", "runs/x"]
    assert first.spec.containers[0].resources == pod.spec.containers[0].resources
    assert first.metadata.owner_references[0].uid == "u-1"
    assert pod.spec.containers[0].args[0] == "train_model"
