"""Lists the pods of this installation by label, and deletes one only if it is unchanged since it was listed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.rules.orphaned_pods import LaunchedPod, PodIdentity
from pipelines.settings import Settings
from practices._connections.kubernetes_errors import API_TIMEOUT, SERVICE_ACCOUNT, translate_errors

PAGE_SIZE = 500


class LaunchedPods:
    """The pods in ``settings.pod_namespace`` with the label of this installation.

    Raises ``Unavailable`` when the API server does not answer and ``Refused`` when it denies the request.
    """

    def __init__(self, settings: Settings) -> None:
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

        self.namespace, self._installation = settings.pod_namespace, settings.installation
        with translate_errors("reaching the cluster"):
            hook = KubernetesHook(conn_id=settings.kubernetes_connection, kubernetes_conn_id=None)
            self._api = hook.core_v1_client

    def list_pods(self) -> list[LaunchedPod]:
        """All pods, read page by page."""
        selector = f"app.kubernetes.io/name=airworthy,airworthy.dev/installation={self._installation}"
        arguments = {"label_selector": selector, "limit": PAGE_SIZE, "_request_timeout": API_TIMEOUT}
        pods, token = [], None
        while token != "":
            with translate_errors(f"listing pods in namespace {self.namespace}"):
                page = self._api.list_namespaced_pod(self.namespace, _continue=token, **arguments)
            pods += [launched_pod(pod) for pod in page.items]
            token = page.metadata._continue or ""
        return pods

    def delete(self, pod: LaunchedPod) -> bool:
        """Delete the pod; False if it was deleted, changed or replaced since it was listed."""
        from kubernetes.client import ApiException

        preconditions = {"uid": pod.uid, "resourceVersion": pod.resource_version}
        with translate_errors(f"deleting pod {pod.name} in namespace {self.namespace}"):
            try:
                self._api.delete_namespaced_pod(
                    pod.name, self.namespace, body={"preconditions": preconditions}, _request_timeout=API_TIMEOUT
                )
            except ApiException as error:
                if error.status not in (404, 409):
                    raise
                return False
        return True


def has_cluster(settings: Settings) -> bool:
    """Whether a connection, KUBECONFIG or a service account for a cluster is configured."""
    files = (Path("~/.kube/config").expanduser(), SERVICE_ACCOUNT)
    configured = settings.kubernetes_connection or os.environ.get("KUBECONFIG")
    return bool(configured) or any(path.exists() for path in files)


def launched_pod(pod: Any) -> LaunchedPod:
    """Facts of a ``V1Pod`` for the rule."""
    meta, status = pod.metadata, pod.status
    states = [container.state for container in status.container_statuses or []]
    ends = [state.terminated.finished_at for state in states if state.terminated]
    return LaunchedPod(
        name=meta.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
        phase=status.phase or "Unknown",
        created=meta.creation_timestamp,
        started=status.start_time,
        finished=max((end for end in ends if end), default=None),
        deadline_seconds=pod.spec.active_deadline_seconds,
        deleting=meta.deletion_timestamp,
        identity=_identity(meta.annotations or {}, meta.labels or {}),
    )


def _identity(annotations: dict[str, str], labels: dict[str, str]) -> PodIdentity | None:
    names = {name: f"airworthy.dev/{name.replace('_', '-')}" for name in PodIdentity.model_fields if name != "step"}
    fields = {name: annotations.get(key) for name, key in names.items()}
    try:
        identity = PodIdentity.model_validate({**fields, "step": labels.get("airworthy.dev/step")})
    except ValidationError:
        return None
    return identity if identity.run.startswith("runs/") and ".." not in identity.run.split("/") else None
