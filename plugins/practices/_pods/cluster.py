"""Creates, reads and deletes the pods of steps; API errors become ``Refused`` or ``Unavailable``."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import Context

from pipelines.errors import AirworthyError
from pipelines.rules.pod_end import PodFacts
from pipelines.settings import Settings
from practices._connections.kubernetes import in_cluster
from practices._connections.kubernetes_errors import API_TIMEOUT, translate_errors
from practices._pods.facts import pod_facts
from practices._pods.plan import CONTAINER, check_privileges, check_reachable

LOG_BYTES = 5_000_000


class Cluster:
    """Pods in this installation's namespace, through the Airflow provider's operator and hook."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.namespace = settings.pod_namespace

    def build(self, arguments: dict[str, Any], context: Context) -> Any:
        """The ``V1Pod`` that the provider's operator builds from the template and the arguments."""
        with translate_errors(f"building pod {arguments['name']} in namespace {self.namespace}"):
            pod = self._operator(**arguments).build_pod_request_obj(context)
        check_privileges(pod, self.settings)
        check_reachable(pod, self.settings)
        return pod

    def create(self, pod: Any) -> Any:
        """Create the pod; an existing pod of the same name is returned instead."""
        from kubernetes.client.exceptions import ApiException

        with translate_errors(f"creating pod {pod.metadata.name} in namespace {self.namespace}"):
            try:
                return self._api.create_namespaced_pod(self.namespace, pod, _request_timeout=API_TIMEOUT)
            except ApiException as error:
                if error.status != 409:
                    raise
                return self._api.read_namespaced_pod(pod.metadata.name, self.namespace, _request_timeout=API_TIMEOUT)

    def read(self, name: str) -> Any | None:
        """The pod, or None if there is none."""
        from kubernetes.client.exceptions import ApiException

        with translate_errors(f"reading pod {name} in namespace {self.namespace}"):
            try:
                return self._api.read_namespaced_pod(name, self.namespace, _request_timeout=API_TIMEOUT)
            except ApiException as error:
                if error.status == 404:
                    return None
                raise

    def facts(self, pod: Any) -> PodFacts:
        """Facts of a pod with the warnings that the cluster has about it."""
        return pod_facts(pod, self._warnings(pod.metadata.name))

    def task_pods(self, task_digest: str) -> list[Any]:
        """Existing pods that any try of the task instance started."""
        with translate_errors(f"listing pods in namespace {self.namespace}"):
            selector = f"airworthy.dev/installation={self.settings.installation},airworthy.dev/task={task_digest}"
            return list(
                self._api.list_namespaced_pod(
                    self.namespace, label_selector=selector, _request_timeout=API_TIMEOUT
                ).items
            )

    def delete(self, name: str) -> None:
        """Delete the pod if it exists."""
        from kubernetes.client.exceptions import ApiException

        with translate_errors(f"deleting pod {name} in namespace {self.namespace}"):
            try:
                self._api.delete_namespaced_pod(name, self.namespace, _request_timeout=API_TIMEOUT)
            except ApiException as error:
                if error.status != 404:
                    raise

    def log(self, name: str) -> str | None:
        """The pod's log, at most its first 5 MB; None if the cluster does not return it."""
        try:
            with translate_errors(f"reading the log of pod {name} in namespace {self.namespace}"):
                answer = self._api.read_namespaced_pod_log(
                    name,
                    self.namespace,
                    container=CONTAINER,
                    limit_bytes=LOG_BYTES,
                    _preload_content=False,
                    _request_timeout=API_TIMEOUT,
                )
                return str(answer.data.decode("utf-8", errors="replace"))
        except AirworthyError:
            return None

    def _warnings(self, name: str) -> list[str]:
        with translate_errors(f"reading the events of pod {name} in namespace {self.namespace}"):
            selector = f"involvedObject.name={name},type=Warning"
            events = self._api.list_namespaced_event(
                self.namespace, field_selector=selector, _request_timeout=API_TIMEOUT
            ).items
        return list(dict.fromkeys(f"{event.reason}: {event.message}" for event in events))

    def _operator(self, **arguments: Any) -> KubernetesPodOperator:
        settings = self.settings
        connection_id = settings.kubernetes_connection
        connection: dict[str, Any] = {"kubernetes_conn_id": connection_id} if connection_id else {}
        return KubernetesPodOperator(task_id="step", in_cluster=in_cluster(settings) or None, **connection, **arguments)

    @cached_property
    def _api(self) -> Any:
        with translate_errors(f"reaching the cluster in namespace {self.namespace}"):
            return self._operator(name="airworthy").client
