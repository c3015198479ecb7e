"""What is applied to a cluster parses, and keeps what the runner and Airflow rely on."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipelines.settings import REPOSITORY, Settings
from pipelines.spec import plain_yaml
from pipelines.spec.runner import StageRunner
from pipelines.testing.ports import MemoryStore
from practices._pods.cluster import Cluster
from practices._pods.launch import Launch
from practices._pods.plan import CONTAINER, DEFAULT_TEMPLATE, pod_arguments

MANIFESTS = REPOSITORY / "deploy" / "kubernetes"
SECRETS = "secrets.example.yaml"
PODS = REPOSITORY / "include" / "pods"
VALUES: dict[str, Any] = yaml.safe_load((MANIFESTS / "helm-values.yaml").read_text())
IMAGE = f"registry.example/airworthy/step@sha256:{'0' * 64}"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def built(template: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The ``V1Pod`` of a training with a GPU, made by the code that makes it in a task; no cluster is asked."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    monkeypatch.setattr(KubernetesHook, "is_in_cluster", property(lambda self: False))
    settings = Settings.from_environment(
        {"AIRWORTHY_STORE": "s3://bucket", "AIRWORTHY_POD_IMAGE": IMAGE, "MLFLOW_TRACKING_URI": "http://mlflow:5500"}
    ).model_copy(update={"include": REPOSITORY / "include"})
    launch = Launch(
        store=MemoryStore(),
        step="train_model",
        dag_id="a__train",
        run_id="manual__1",
        task_id="train_model",
        map_index=-1,
        try_number=1,
    )
    arguments = pod_arguments(launch, launch.attempt, StageRunner(template=template, gpus=1), settings)
    ti = SimpleNamespace(dag_id="a__train", task_id="train_model", run_id="manual__1", map_index=-1, try_number=1)
    context: Any = {"ti": ti, "run_id": "manual__1", "dag": SimpleNamespace(parent_dag=None)}
    return Cluster(settings).build(arguments, context)


def test_the_page_names_every_field_of_a_runner_and_its_example_is_one() -> None:
    page = (REPOSITORY / "docs" / "run-on-kubernetes.md").read_text()
    for field in StageRunner.model_fields:
        assert f"`{field}`" in page, field
    example = plain_yaml.load(page.split("```yaml\n")[1].split("```")[0])
    runners = {stage: StageRunner.model_validate(one) for stage, one in example["runner"].items()}
    assert runners["train"].template in {path.name for path in PODS.glob("*.yaml")}
    assert runners["evaluate"].on == "kubernetes"


@pytest.mark.parametrize("path", sorted([*MANIFESTS.glob("*.yaml"), *PODS.glob("*.yaml")]), ids=lambda path: path.name)
def test_every_manifest_says_what_it_is_first(path: Path) -> None:
    assert path.read_text().startswith("# ")
    for document in documents(path):
        assert path.name == "helm-values.yaml" or {"apiVersion", "kind", "metadata"} <= document.keys()


@pytest.mark.parametrize("template", [DEFAULT_TEMPLATE, "gpu.yaml"])
def test_what_a_template_forbids_stays_forbidden_in_the_pod_that_the_runner_builds(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = built(template, monkeypatch).spec
    container = spec.containers[0]
    assert [one.name for one in spec.containers] == [CONTAINER]
    assert container.image == IMAGE
    assert spec.restart_policy == "Never"
    assert spec.automount_service_account_token is False
    assert spec.enable_service_links is False
    assert spec.security_context.run_as_non_root is True
    assert spec.security_context.run_as_user == 50000
    assert spec.security_context.seccomp_profile.type == "RuntimeDefault"
    assert container.security_context.read_only_root_filesystem is True
    assert container.security_context.allow_privilege_escalation is False
    assert container.security_context.capabilities.drop == ["ALL"]


@pytest.mark.parametrize("template", [DEFAULT_TEMPLATE, "gpu.yaml", "worker.yaml"])
def test_a_pod_that_may_not_write_to_its_image_has_a_scratch_home_and_tmp(template: str) -> None:
    container = documents(PODS / template)[0]["spec"]["containers"][0]
    written = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert written["/tmp"] == written["/home/airworthy"] == "scratch"


@pytest.mark.parametrize("template", [DEFAULT_TEMPLATE, "gpu.yaml"])
def test_every_step_gets_the_credentials_of_the_store_where_there_are_any(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = built(template, monkeypatch).spec.containers[0].env_from[0].secret_ref
    secrets = {one["metadata"]["name"]: one["metadata"]["namespace"] for one in documents(MANIFESTS / SECRETS)}
    assert source.optional is True
    assert secrets[source.name] == "airworthy-steps"


def test_a_pod_with_gpus_is_let_onto_the_nodes_kept_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    tolerated = [(one.key, one.operator) for one in built("gpu.yaml", monkeypatch).spec.tolerations]
    assert ("nvidia.com/gpu", "Exists") in tolerated


def test_pods_run_as_the_user_of_the_images() -> None:
    user = re.search(r"useradd --uid (\d+)", (REPOSITORY / "Dockerfile").read_text())
    assert user
    for template in PODS.glob("*.yaml"):
        assert documents(template)[0]["spec"]["securityContext"]["runAsUser"] == int(user[1])
    assert VALUES["uid"] == int(user[1])


def test_the_executor_finds_the_container_that_it_adds_to() -> None:
    assert documents(PODS / "worker.yaml")[0]["spec"]["containers"][0]["name"] == "base"


def test_no_secret_is_written_in_a_manifest() -> None:
    for path in MANIFESTS.glob("*.yaml"):
        for document in documents(path):
            assert not any((document.get("stringData") or document.get("data") or {}).values()) or "env" in document
    named = {one["name"] for one in VALUES["env"]}
    assert not {name for name in named if re.search(r"SECRET|PASSWORD|TOKEN|ACCESS_KEY|FERNET|LEDGER", name)}


def test_the_installation_under_helm_is_one_that_the_settings_can_read() -> None:
    env = {one["name"]: one["value"] for one in VALUES["env"]}
    settings = Settings.from_environment(env)
    assert settings.runner == "kubernetes"
    assert settings.gpus == 2
    StageRunner(image=settings.pod_image)
    roles = documents(MANIFESTS / "rbac.yaml")
    assert {one["metadata"]["namespace"] for one in roles if one["kind"] == "Role"} == {settings.pod_namespace}


def test_airflow_runs_under_the_service_account_that_may_start_pods() -> None:
    account = next(one for one in documents(MANIFESTS / "rbac.yaml") if one["kind"] == "ServiceAccount")
    for part in ("scheduler", "triggerer", "workers"):
        assert VALUES[part]["serviceAccount"]["name"] == account["metadata"]["name"]
