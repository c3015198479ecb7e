"""A declared target on Kubernetes is reached from a task by its connection, and from the command line by KUBECONFIG."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.errors import Refused, Unavailable
from pipelines.settings import REPOSITORY, Settings
from pipelines.wiring import open_ports
from practices._connections import kubernetes
from tests.kubernetes.lab import declare_small, template
from tests.kubernetes.serving_lab import definition

pytestmark = pytest.mark.kubernetes

MODEL = "small_delay"


def declared(folder: Path, target: dict[str, Any]) -> Settings:
    include = folder / "include"
    declare_small(include, template())
    file = include / "models" / f"{MODEL}.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"deployment": {"target": target}}))
    pod = (REPOSITORY / "include" / "pods" / "gateway.yaml").read_text()
    (include / "pods" / "gateway.yaml").write_text(pod)
    return Settings.from_environment({"AIRWORTHY_INCLUDE": str(include), "AIRWORTHY_STORE": "s3://bucket"})


def targets(namespace: str) -> list[dict[str, Any]]:
    return [
        {"kind": "http_route", "namespace": namespace, "gateway": "public", "image": "none", "connection": "serving"},
        {"kind": "kserve", "namespace": namespace, "connection": "serving"},
    ]


def test_each_kind_of_target_answers_by_the_declared_connection(
    namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"kube_config_path": os.environ["KUBECONFIG"]}
    monkeypatch.setenv("AIRFLOW_CONN_SERVING", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    monkeypatch.delenv("KUBECONFIG")
    for target in targets(namespace):
        settings = declared(tmp_path / target["kind"], target)
        ports = open_ports(settings, kubernetes=kubernetes.open_client)
        with definition("httproutes"), definition("inferenceservices"):
            assert ports.target(MODEL).state(MODEL).version is None
        with pytest.raises(Refused, match="only a task can read the Airflow connection 'serving'"):
            open_ports(settings).target(MODEL).state(MODEL)


def test_a_cluster_without_the_api_and_one_that_does_not_answer_are_told_apart(
    namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = declared(tmp_path, targets(namespace)[0])
    with pytest.raises(Refused, match=r"offers none of gateway\.networking\.k8s\.io"):
        open_ports(settings).target(MODEL).state(MODEL)
    nowhere = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    nowhere["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    file = tmp_path / "nowhere"
    file.write_text(yaml.safe_dump(nowhere))
    file.chmod(0o600)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(Unavailable, match="the cluster does not answer"):
        open_ports(settings).target(MODEL).state(MODEL)
