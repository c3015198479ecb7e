"""Opens a client of the cluster that serves models: by an Airflow connection, KUBECONFIG or the service account."""

from __future__ import annotations

import os
from typing import Any

from pipelines.settings import Settings
from practices._connections.kubernetes_errors import SERVICE_ACCOUNT, translate_errors


def in_cluster(settings: Settings) -> bool:
    """Whether this process uses its pod's service account."""
    configured = settings.kubernetes_connection or os.environ.get("KUBECONFIG")
    return not configured and SERVICE_ACCOUNT.exists()


def open_client(connection: str | None) -> Any:
    """A ``kubernetes.client.ApiClient`` by the connection; None: the installation's. ``Refused`` if there is none."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    settings = Settings.from_environment()
    connection_id = connection or settings.kubernetes_connection
    inside = not connection and in_cluster(settings)
    with translate_errors("reaching the cluster that serves models"):
        hook = KubernetesHook(conn_id=connection_id, kubernetes_conn_id=None, in_cluster=inside or None)
        return hook.get_conn()
