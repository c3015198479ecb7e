"""Builds the pod in which a gateway serves one version, from a pod template and the declaration: pure functions."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pipelines.errors import Refused
from pipelines.rollout.transitions import Served
from pipelines.spec.sizing import HealthCheck, Resources, parse_cores

Document = dict[str, Any]

GATEWAY_CONTAINER = "gateway"
"""The container of the pod template that serves."""
STATE_FOLDER = "/home/airworthy/gateway"
"""The folder of a gateway's state; the pod template mounts something writable there."""
START_TIMEOUT_SECONDS = 300


def gateway_pod(
    model: str,
    served: Served,
    *,
    image: str,
    port: int,
    resources: Resources,
    health: HealthCheck,
    template: Document,
    store: str,
    environment: Mapping[str, str],
) -> tuple[Document, Document]:
    """``spec`` of a pod without restart policy, and its serving container, which listens on ``port``.

    Raises ``Refused`` if the template has no such container, or mounts no folder in which the store or bundle is.
    """
    spec = copy.deepcopy(template["spec"])
    container = next((container for container in spec["containers"] if container["name"] == GATEWAY_CONTAINER), None)
    if container is None:
        raise Refused(
            f"the pod template {template['metadata'].get('name')!r} has no container named {GATEWAY_CONTAINER!r}"
        )
    mounted = [mount["mountPath"].rstrip("/") for mount in container.get("volumeMounts", [])]
    faults = [
        f"the pod does not mount the folder of {what}, {uri}; use s3://, or mount it at the same path"
        for what, uri in (("the store", store), ("the bundle", served.bundle))
        if "://" not in uri and not any(uri == path or uri.startswith(f"{path}/") for path in mounted)
    ]
    if faults:
        raise Refused(f"a pod of {model} version {served.version} could not reach its files", faults)
    container["image"] = image
    container.setdefault("command", ["python", "-m", "pipelines.serving"])
    container["args"] = [
        *("--host", "0.0.0.0", "--port", str(port), "--workers", str(_worker_count(resources))),  # noqa: S104 # nosec B104 - inside its own pod
        *("--state", STATE_FOLDER, "--store", store),
        *("--serve", model, served.version, served.bundle, served.sha256),
    ]
    container["env"] = container.get("env", []) + [{"name": key, "value": value} for key, value in environment.items()]
    declared = {kind: amount for kind, amount in _limits_and_requests(resources).items() if amount}
    container["resources"] = declared or container.get("resources", {})
    container |= _probes(health, port)
    # Kubernetes removes the endpoint from the service before the gateway stops listening.
    container.setdefault("lifecycle", {"preStop": {"exec": {"command": ["sleep", "5"]}}})
    container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    return spec, container


def _worker_count(resources: Resources) -> int:
    """One worker for each whole core of the limit."""
    return max(1, int(parse_cores(resources.cpu_limit))) if resources.cpu_limit else 1


def _limits_and_requests(resources: Resources) -> Document:
    """Limits and requests in Kubernetes' form; amounts that are not declared are left out."""
    limits = {"cpu": resources.cpu_limit, "memory": resources.memory_limit}
    requests = {"cpu": resources.cpu_request, "memory": resources.memory_request}
    declared = {"limits": limits, "requests": requests}
    return {kind: {name: amount for name, amount in each.items() if amount} for kind, each in declared.items()}


def _probes(health: HealthCheck, port: int) -> Document:
    """Startup and readiness probes of the declared page, and a liveness probe of ``/health``."""
    timing = {
        "periodSeconds": health.interval,
        "timeoutSeconds": health.timeout,
        "failureThreshold": health.failure_threshold,
    }
    return {
        "startupProbe": {
            "httpGet": {"path": health.path, "port": port},
            "initialDelaySeconds": health.initial_delay,
            "periodSeconds": 2,
            "timeoutSeconds": health.timeout,
            "failureThreshold": START_TIMEOUT_SECONDS // 2,
        },
        "readinessProbe": {"httpGet": {"path": health.path, "port": port}}
        | timing
        | {"successThreshold": health.success_threshold},
        "livenessProbe": {"httpGet": {"path": "/health", "port": port}} | timing,
    }
