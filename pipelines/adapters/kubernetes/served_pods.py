"""Waits until all pods of a version are ready, or raises with the reasons why they are not; reads their counters."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.adapters.kubernetes.api import Document, KubernetesApi
from pipelines.adapters.kubernetes.pod_readings import GATEWAY, MetricNames, PodCounts, parse
from pipelines.errors import EXIT_REFUSED, AirworthyError, Conflict, Refused, Unavailable
from pipelines.rollout.transitions import Route, Served

HOPELESS = {"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError"}
SLOW = {"ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff"}
"""Reasons why a container waits: it will wait for ever, or it may come."""


def ensure(api: KubernetesApi, documents: Sequence[Document], annotation: str, *, keep_replicas: bool) -> None:
    """Create what is not there and change what was written otherwise.

    ``keep_replicas``: an autoscaler decides about them once the Deployment is there.
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
        api.merge(document)


def await_ready(
    api: KubernetesApi, name: str, labels: Mapping[str, str], *, seconds: float, again: Callable[[], None]
) -> None:
    """Return once the Deployment has all its pods ready. ``again`` makes it anew if it is gone.

    Raises ``Refused`` if a pod says that it never will be, or if its image cannot be pulled or it ends again and again
    when the time is over; ``Unavailable`` if the cluster only had no room or was slow.
    """
    deadline = time.monotonic() + seconds
    while True:
        deployment = api.read("apps/v1", "Deployment", name)
        if deployment is None:
            again()
        elif _complete(deployment):
            return
        final, waiting = reasons(api.select("v1", "Pod", labels))
        if final:
            raise Refused(f"the pods of {name} will never be ready", final)
        if time.monotonic() > deadline:
            problems = [*waiting, *_conditions(deployment), *_warned(api, labels)]
            subject = f"the pods of {name} were not ready within {seconds:g} s"
            if any("cannot be pulled" in problem or "ends again and again" in problem for problem in problems):
                raise Refused(subject, problems)
            raise Unavailable(f"{subject}: {'; '.join(problems) or 'the cluster says nothing about them'}")
        time.sleep(0.5)


def _complete(deployment: Document) -> bool:
    """Whether every wanted pod is of the newest template and available, and no old one is left."""
    status, replicas = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) >= replicas
        and status.get("availableReplicas", 0) >= replicas
        and status.get("replicas", 0) == status.get("updatedReplicas", 0)
    )


def reasons(pods: Sequence[Document]) -> tuple[list[str], list[str]]:
    """Why pods are not ready: what will not change by itself, and what may."""
    final: list[str] = []
    waiting: list[str] = []
    for pod in pods:
        for status in pod.get("status", {}).get("containerStatuses", []):
            state, last = status.get("state", {}), status.get("lastState", {})
            ended = state.get("terminated") or last.get("terminated") or {}
            if ended.get("exitCode") == EXIT_REFUSED:
                final.append(_last_words(ended) or "the gateway refused its bundle")
                continue
            held = state.get("waiting") or {}
            reason = f"{held.get('reason')}: {held.get('message', '')}".strip(": ")
            if held.get("reason") in HOPELESS:
                final.append(reason)
            elif held.get("reason") == "CrashLoopBackOff":
                waiting.append(f"it ends again and again, with exit code {ended.get('exitCode')}: {_last_words(ended)}")
            elif held.get("reason") in SLOW:
                waiting.append(f"its image {status.get('image')} cannot be pulled ({reason})")
        waiting += [
            f"no node takes it: {condition.get('message', condition.get('reason', ''))}"
            for condition in pod.get("status", {}).get("conditions", [])
            if condition["type"] == "PodScheduled" and condition["status"] == "False"
        ]
    return list(dict.fromkeys(final)), list(dict.fromkeys(waiting))


def _last_words(ended: Mapping[str, Any]) -> str:
    """The end of what the container said, without the log lines before it."""
    lines = [line for line in str(ended.get("message", "")).strip().splitlines() if " INFO " not in line]
    return "\n".join(lines[-6:])


def _conditions(deployment: Document | None) -> list[str]:
    conditions = (deployment or {}).get("status", {}).get("conditions", [])
    return [
        f"{condition['reason']}: {condition['message']}"
        for condition in conditions
        if condition["type"] == "ReplicaFailure"
    ]


def _warned(api: KubernetesApi, labels: Mapping[str, str]) -> list[str]:
    pods = api.select("v1", "Pod", labels)
    return list(dict.fromkeys(line for pod in pods[:3] for line in api.warnings("Pod", pod["metadata"]["name"])))


def read_counters(
    api: KubernetesApi, pods: Sequence[Document], port: int, limits: Sequence[float], names: MetricNames = GATEWAY
) -> dict[str, PodCounts]:
    """What each ready pod has counted. ``Unavailable`` if one does not answer."""
    headers, counts = key_headers(), {}
    for pod in pods:
        if is_ready(pod):
            name = pod["metadata"]["name"]
            counts[name] = parse(api.pod_text(name, port, "/metrics", headers), limits, names)
    return counts


def none_ready(model: str, served: Served, route: Route) -> AirworthyError:
    """What it means that nobody serves a version: a candidate's callers need help now, anybody else may come back."""
    subject = f"no pod of {model} version {served.version} is ready"
    if served == route.candidate and route.share():
        return Refused(f"{subject}, and {route.share() / 100:g} % of the requests go there: roll it back")
    return Unavailable(f"{subject} now; try again")


def key_headers() -> dict[str, str]:
    """What a gateway knows the installation by."""
    key = os.environ.get("AIRWORTHY_GATEWAY_KEY")
    return {"x-api-key": key} if key else {}


def is_ready(pod: Document) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
