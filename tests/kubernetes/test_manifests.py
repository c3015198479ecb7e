"""A real API server takes every manifest and every pod template as they are."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings import REPOSITORY

pytestmark = pytest.mark.kubernetes

MANIFESTS = REPOSITORY / "deploy" / "kubernetes"
TEMPLATES = REPOSITORY / "include" / "pods"
NEEDS_MORE = {"helm-values.yaml", "kueue.yaml"}
"""Not for a bare API server: the chart's values, and the resources that Kueue defines."""


@pytest.mark.parametrize(
    "path", sorted(path for path in MANIFESTS.glob("*.yaml") if path.name not in NEEDS_MORE), ids=lambda path: path.name
)
def test_an_api_server_takes_every_manifest(path: Path, namespace: str) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] != "Namespace":
            document["metadata"]["namespace"] = namespace
        dry_run(document)


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.yaml")), ids=lambda path: path.name)
def test_an_api_server_takes_every_pod_template(path: Path, namespace: str) -> None:
    document = yaml.safe_load(path.read_text())
    document["metadata"]["namespace"] = namespace
    document["spec"].pop("serviceAccountName", None)  # an account of Airflow's own namespace
    dry_run(document)


def test_an_api_server_says_no_to_a_template_that_it_does_not_understand(namespace: str) -> None:
    document = yaml.safe_load((TEMPLATES / "step.yaml").read_text())
    document["metadata"]["namespace"] = namespace
    document["spec"].pop("serviceAccountName", None)  # an account of Airflow's own namespace
    document["spec"]["restartPolicy"] = "Sometimes"
    with pytest.raises(AssertionError, match="restartPolicy"):
        dry_run(document)


def dry_run(document: dict[str, Any]) -> None:
    command = ["kubectl", "apply", "--dry-run=server", "-f", "-"]
    done = subprocess.run(
        command, input=yaml.safe_dump(document), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
