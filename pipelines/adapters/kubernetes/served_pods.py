"""Waits until all pods of a version are ready, or raises with the reasons why they are not; reads their counters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import httpx

from pipelines.adapters.kubernetes.api import Document, KubernetesApi
from pipelines.adapters.kubernetes.pod_readings import PodCounts, parse_metrics
from pipelines.errors import EXIT_REFUSED, AirworthyError, Conflict, Refused, Unavailable
from pipelines.messages.node_message import is_transient
from pipelines.rollout.transitions import Route, Served

FATAL_WAITING_REASONS = {"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError"}
ROUTED_SECONDS, POLL_SECONDS = 10.0, 0.2
"""How long nodes may take to route a Service that has endpoints, and how often it is asked."""
TEMPORARY_WAITING_REASONS = {"ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff"}
"""Reasons why a container waits: those that never pass by themselves, and those that may."""


def apply_all(api: KubernetesApi, documents: Sequence[Document], annotation: str, *, keep_replicas: bool) -> None:
    """Create missing documents and update those whose digest in ``annotation`` differs.

    ``keep_replicas``: an existing Deployment keeps its replicas, because an autoscaler sets them.
    """
    for document in documents:
        version, kind, name = document["apiVersion"], document["kind"], document["metadata"]["name"]
        existing = api.read(version, kind, name)
        if existing is None:
            try:
                api.create(document)
                continue
            except Conflict:
                existing = api.read(version, kind, name) or {"metadata": {}}
        written = (existing["metadata"].get("annotations") or {}).get(annotation)
        if written == document["metadata"]["annotations"][annotation]:
            continue
        if kind == "Deployment" and keep_replicas:
            spec = {field: value for field, value in document["spec"].items() if field != "replicas"}
            document = document | {"spec": spec}
        api.merge_patch(document)


def await_ready(
    api: KubernetesApi, name: str, labels: Mapping[str, str], *, seconds: float, recreate: Callable[[], None]
) -> None:
    """Return once all pods of the Deployment are ready. ``recreate`` creates a Deployment that was deleted.

    Raises ``Refused`` if a pod can never become ready, or if at the deadline its image cannot be pulled or it crashes
    repeatedly; ``Unavailable`` if the cluster had no room or was slow.
    """
    deadline = time.monotonic() + seconds
    while True:
        deployment = api.read("apps/v1", "Deployment", name)
        if deployment is None:
            recreate()
        elif _is_rolled_out(deployment):
            return
        final, waiting = unready_reasons(api.list_by_labels("v1", "Pod", labels))
        if final:
            raise Refused(f"the pods of {name} will never be ready", final)
        if time.monotonic() > deadline:
            problems = [*waiting, *_replica_failures(deployment), *_pod_warnings(api, labels)]
            subject = f"the pods of {name} were not ready within {seconds:g} s"
            if any("cannot be pulled" in problem or "crashes repeatedly" in problem for problem in problems):
                raise Refused(subject, problems)
            raise Unavailable(f"{subject}: {'; '.join(problems) or 'the cluster gives no reason'}")
        time.sleep(0.5)


def await_answer(api: KubernetesApi, service: str, port: int, path: str, *, seconds: float) -> None:
    """Return once the Service answers with 200, by its endpoints and by the address that the cluster's nodes route.

    Pods are ready some moments before every node routes their Service. An address that does not answer for
    ``ROUTED_SECONDS`` although the endpoints do is one that this machine cannot reach, as outside of the cluster: the
    endpoints' answer then suffices. ``Unavailable`` if they give none in time.
    """
    deadline, address = time.monotonic() + seconds, ""
    while not address:
        try:
            api.read_http_page("Service", service, port, path, {})
            address = (api.read("v1", "Service", service) or {"spec": {}})["spec"].get("clusterIP", "None")
        except Unavailable as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"Service {service} did not answer within {seconds:g} s: {error}") from error
            time.sleep(POLL_SECONDS)
    routed_by = time.monotonic() + ROUTED_SECONDS
    while time.monotonic() < routed_by:
        with suppress(httpx.HTTPError, httpx.InvalidURL):
            if httpx.get(f"http://{address}:{port}{path}", timeout=1, trust_env=False).is_success:
                return
        time.sleep(POLL_SECONDS)


def _is_rolled_out(deployment: Document) -> bool:
    """Whether all replicas run the newest template and are available, and no old pod is left."""
    status, replicas = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) >= replicas
        and status.get("availableReplicas", 0) >= replicas
        and status.get("replicas", 0) == status.get("updatedReplicas", 0)
    )


def unready_reasons(pods: Sequence[Document]) -> tuple[list[str], list[str]]:
    """Why pods are not ready: permanent reasons, and reasons that may pass by themselves."""
    final: list[str] = []
    waiting: list[str] = []
    for pod in pods:
        for status in pod.get("status", {}).get("containerStatuses", []):
            state, last = status.get("state", {}), status.get("lastState", {})
            ended = state.get("terminated") or last.get("terminated") or {}
            if ended.get("exitCode") == EXIT_REFUSED:
                final.append(_exit_message(ended) or "the gateway refused its bundle")
                continue
            waiting_state = state.get("waiting") or {}
            reason = f"{waiting_state.get('reason')}: {waiting_state.get('message', '')}".strip(": ")
            if waiting_state.get("reason") in FATAL_WAITING_REASONS:
                (waiting if is_transient(waiting_state.get("message")) else final).append(reason)
            elif waiting_state.get("reason") == "CrashLoopBackOff":
                waiting.append(f"it crashes repeatedly, exit code {ended.get('exitCode')}: {_exit_message(ended)}")
            elif waiting_state.get("reason") in TEMPORARY_WAITING_REASONS:
                waiting.append(f"its image {status.get('image')} cannot be pulled ({reason})")
        waiting += [
            f"it cannot be scheduled: {condition.get('message', condition.get('reason', ''))}"
            for condition in pod.get("status", {}).get("conditions", [])
            if condition["type"] == "PodScheduled" and condition["status"] == "False"
        ]
    return list(dict.fromkeys(final)), list(dict.fromkeys(waiting))


def _exit_message(ended: Mapping[str, Any]) -> str:
    """The last six lines of the container's termination message, without INFO log lines."""
    lines = [line for line in str(ended.get("message", "")).strip().splitlines() if " INFO " not in line]
    return "\n".join(lines[-6:])


def _replica_failures(deployment: Document | None) -> list[str]:
    conditions = (deployment or {}).get("status", {}).get("conditions", [])
    return [f"{c['reason']}: {c['message']}" for c in conditions if c["type"] == "ReplicaFailure"]


def _pod_warnings(api: KubernetesApi, labels: Mapping[str, str]) -> list[str]:
    pods = api.list_by_labels("v1", "Pod", labels)
    return list(dict.fromkeys(line for pod in pods[:3] for line in api.warning_events("Pod", pod["metadata"]["name"])))


def read_counters(
    api: KubernetesApi, pods: Sequence[Document], port: int, limits: Sequence[float]
) -> dict[str, PodCounts]:
    """Counters of each ready pod. ``Unavailable`` if one does not answer."""
    headers, counts = api_key_headers(), {}
    for pod in pods:
        if is_ready(pod):
            name = pod["metadata"]["name"]
            counts[name] = parse_metrics(api.read_http_page("Pod", name, port, "/metrics", headers), limits)
    return counts


def no_ready_pod_error(model: str, served: Served, route: Route) -> AirworthyError:
    """The error for a version without a ready pod: ``Refused`` for a candidate with traffic, else ``Unavailable``."""
    subject = f"no pod of {model} version {served.version} is ready"
    if served == route.candidate and route.share():
        return Refused(f"{subject}, and {route.share() / 100:g} % of the requests go there: roll it back")
    return Unavailable(f"{subject} now; try again")


def api_key_headers() -> dict[str, str]:
    """The API key header of requests to a gateway; empty if no key is set."""
    key = os.environ.get("AIRWORTHY_GATEWAY_KEY")
    return {"x-api-key": key} if key else {}


def is_ready(pod: Document) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
