"""Calls a Kubernetes API server: returns documents, raises ``Refused``, ``Conflict`` or ``Unavailable``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import quote

from pipelines.errors import Conflict, Refused, Unavailable

TIMEOUT_SECONDS = (5, 30)
"""Timeouts to connect and to read."""
PLURALS = {
    "Deployment": "deployments",
    "Event": "events",
    "HTTPRoute": "httproutes",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "InferenceService": "inferenceservices",
    "Pod": "pods",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Service": "services",
}
FINAL_STATUSES = {400, 401, 403, 405, 413, 415, 422}
"""Statuses that a retry would get again."""

Document = dict[str, Any]


class KubernetesApi:
    """Documents of one namespace. ``open_client`` returns a ``kubernetes.client.ApiClient``; it is called once.

    Raises ``Conflict`` when a document already exists or was changed meanwhile, ``Refused`` when the API server
    rejects a request, ``Unavailable`` when it does not answer.
    """

    def __init__(self, open_client: Callable[[], Any], namespace: str) -> None:
        self._open_client, self.namespace = open_client, namespace
        self._group_versions: dict[str, list[str]] = {}

    def read(self, version: str, kind: str, name: str) -> Document | None:
        return self._call("GET", self._path(version, kind, name), allow_missing=True)

    def list_by_labels(self, version: str, kind: str, labels: Mapping[str, str]) -> list[Document]:
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        listing = self._call("GET", self._path(version, kind), query=[("labelSelector", selector)]) or {}
        return list(listing["items"])

    def warning_events(self, kind: str, name: str) -> list[str]:
        """Warning events of one object; empty where this account may not read events."""
        fields = f"involvedObject.kind={kind},involvedObject.name={name},type=Warning"
        try:
            listing = self._call("GET", self._path("v1", "Event"), query=[("fieldSelector", fields)]) or {}
        except (Refused, Unavailable):
            return []
        return list(dict.fromkeys(f"{event['reason']}: {event['message']}" for event in listing["items"]))

    def create(self, document: Document) -> Document:
        return self._call("POST", self._path(document["apiVersion"], document["kind"]), document) or {}

    def merge_patch(self, document: Document) -> Document:
        """Merge patch by name; with ``metadata.resourceVersion`` it applies only to that version of the object."""
        path = self._path(document["apiVersion"], document["kind"], document["metadata"]["name"])
        return self._call("PATCH", path, document) or {}

    def delete(self, version: str, kind: str, name: str) -> None:
        """Delete a document; a missing document is no error."""
        path = self._path(version, kind, name)
        self._call("DELETE", path, query=[("propagationPolicy", "Background")], allow_missing=True)

    def served_api_version(self, group: str, versions: Sequence[str]) -> str:
        """``<group>/<version>`` of the first of ``versions`` that the server has. ``Refused`` if it has none."""
        if group not in self._group_versions:
            api_group = self._call("GET", f"/apis/{group}", allow_missing=True) or {"versions": []}
            self._group_versions[group] = [version["version"] for version in api_group["versions"]]
        for version in versions:
            if version in self._group_versions[group]:
                return f"{group}/{version}"
        served = ", ".join(self._group_versions[group]) or "none"
        raise Refused(f"the cluster offers {served} of {group}; one of {', '.join(versions)} is needed: install it")

    def read_http_page(self, kind: str, name: str, port: int, path: str, headers: Mapping[str, str]) -> str:
        """The text of an HTTP page of a pod or of a Service, read through the API server's proxy."""
        where = f"{self._path('v1', kind, f'{name}:{port}')}/proxy{path}"
        try:
            return str(self._send("GET", where, None, [], {"Accept": "*/*", **headers}).data.decode())
        except _NotFound as error:
            raise Unavailable(f"{kind.lower()} {name} is gone or has no page {path}") from error

    # ---- one call ---------------------------------------------------------------------------------------------------

    def _path(self, version: str, kind: str, name: str | None = None) -> str:
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        path = f"{root}/namespaces/{self.namespace}/{PLURALS[kind]}"
        return path if name is None else f"{path}/{quote(name, safe=':')}"

    def _call(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        allow_missing: bool = False,
    ) -> Document | None:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": kind})
        try:
            document: Document = json.loads(self._send(method, path, body, query, headers).data)
        except _NotFound as error:
            if not allow_missing:
                raise Refused(f"{method} {path}: {error}", ["is it installed, and is the namespace there?"]) from error
            return None
        return document

    def _send(
        self,
        method: str,
        path: str,
        body: Document | None,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
    ) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        call = f"{method} {path}"
        try:
            return self._client.call_api(
                path,
                method,
                query_params=list(query),
                header_params=dict(headers),
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=TIMEOUT_SECONDS,
            )
        except ApiException as error:
            message = f"{call}: the API server answered {error.status} {_error_message(error)}"
            if error.status == 404:
                raise _NotFound(_error_message(error)) from error
            if error.status == 409:
                raise Conflict(message) from error
            if error.status in FINAL_STATUSES and "exceeded quota" not in message:
                hint = ["give this account the role of deploy/kubernetes/serving.yaml"]
                raise Refused(message, hint if error.status in (401, 403) else []) from error
            raise Unavailable(message) from error
        except (HTTPError, OSError) as error:
            raise Unavailable(f"{call}: the cluster does not answer ({type(error).__name__}: {error})") from error

    @cached_property
    def _client(self) -> Any:
        return self._open_client()


class _NotFound(Exception):
    """The API server answered 404."""


def _error_message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.body or error.reason)


def open_client(connection: str | None = None) -> Any:
    """A client by ``KUBECONFIG`` or the pod's own service account.

    Only a task can read an Airflow ``connection``; elsewhere ``KUBECONFIG`` must be set instead, so that nobody changes
    another cluster by mistake. ``Refused`` if neither is configured.
    """
    from kubernetes import client, config

    if connection is not None and not os.environ.get("KUBECONFIG"):
        raise Refused(f"only a task can read the Airflow connection {connection!r}; set KUBECONFIG here")
    try:
        return config.new_client_from_config(os.environ.get("KUBECONFIG"))  # the library reads it only when imported
    except config.ConfigException as missing:
        settings = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=settings)
        except config.ConfigException:
            hint = "set KUBECONFIG, or run in the cluster"
            raise Refused(f"no Kubernetes cluster is configured: {missing}", [hint]) from missing
        return client.ApiClient(settings)
