"""Refuses a pod that takes of its node: folders, namespaces, ports, and rights beyond those of an ordinary user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.errors import Refused

HOST_NAMESPACES = {
    "hostNetwork": "the node's network",
    "hostPID": "the node's processes",
    "hostIPC": "the node's memory",
}
CONTAINER_GROUPS = ("containers", "initContainers", "ephemeralContainers")
HARMLESS_CAPABILITIES = {"NET_BIND_SERVICE"}
HINT = "remove it, or set AIRWORTHY_ALLOW_HOST_ACCESS=true for the whole installation"


def check_host_access(subject: str, spec: Mapping[str, Any], *, allowed: bool) -> None:
    """``Refused`` with ``subject`` and everything of the node in ``spec``, unless the installation allows it."""
    taken = [] if allowed else host_access(spec)
    if taken:
        raise Refused(subject, [*taken, HINT])


def host_access(spec: Mapping[str, Any]) -> list[str]:
    """One text for each thing of the node in a pod's ``spec`` (as JSON), where it is declared; empty for none.

    These are the controls of Kubernetes' pod security standard *baseline*.
    """
    return list(_of_pod(spec)) + [
        text for group in CONTAINER_GROUPS for container in spec.get(group) or () for text in _of_container(container)
    ]


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for name, what in HOST_NAMESPACES.items():
        if spec.get(name):
            yield f"{name}: {what}"
    for volume in spec.get("volumes") or ():
        if volume.get("hostPath"):
            yield f"volume {volume.get('name')}: the node's folder {volume['hostPath'].get('path')}"
    yield from _of_context("the pod", spec.get("securityContext") or {})


def _of_container(container: Mapping[str, Any]) -> Iterator[str]:
    name, context = f"container {container.get('name')}", container.get("securityContext") or {}
    if context.get("privileged"):
        yield f"{name}: privileged"
    added: Sequence[str] = (context.get("capabilities") or {}).get("add") or ()
    for capability in sorted(set(added) - HARMLESS_CAPABILITIES):
        yield f"{name}: capability {capability}"
    if context.get("procMount") not in (None, "Default"):
        yield f"{name}: procMount {context['procMount']}"
    for port in container.get("ports") or ():
        if port.get("hostPort"):
            yield f"{name}: the node's port {port['hostPort']}"
    yield from _of_context(name, context)


def _of_context(where: str, context: Mapping[str, Any]) -> Iterator[str]:
    if (context.get("seccompProfile") or {}).get("type") == "Unconfined":
        yield f"{where}: seccompProfile Unconfined"
    if (context.get("appArmorProfile") or {}).get("type") == "Unconfined":
        yield f"{where}: appArmorProfile Unconfined"
