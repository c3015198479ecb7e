"""Builds the worker pods of a distributed training, owned by its first pod: Kubernetes deletes them with it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

ROLE_LABEL = "airworthy.dev/role"


def worker_pods(pod: Any, created: Any, run: str, count: int) -> list[Any]:
    """``count`` copies of the requested ``pod`` that join the launch at ``run``, owned by the ``created`` pod.

    They find their coordinator through the store, so they need no service.
    """
    from kubernetes.client import models as k8s

    owner = k8s.V1OwnerReference(
        api_version="v1",
        kind="Pod",
        name=created.metadata.name,
        uid=created.metadata.uid,
        controller=False,
        block_owner_deletion=False,
    )
    workers = []
    for number in range(1, count + 1):
        worker = deepcopy(pod)
        worker.metadata.name = f"{pod.metadata.name}-w{number}"
        worker.metadata.labels = {**pod.metadata.labels, ROLE_LABEL: "worker"}
        worker.metadata.owner_references = [owner]
        worker.spec.containers[0].args = ["work", "--run", run]
        workers.append(worker)
    return workers
