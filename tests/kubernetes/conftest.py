"""Each run of these tests has a namespace of its own on the cluster of ``KUBECONFIG``, and takes it away again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kubernetes.waiting import until

ANSWER_SECONDS = (5, 30)
"""To connect, and to answer."""


@pytest.fixture(scope="session")
def core_api() -> Any:
    """A ``kubernetes.client.CoreV1Api``; without ``KUBECONFIG`` the test is skipped, with one it has to answer."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("no cluster: set KUBECONFIG to run the tests that need one")
    import kubernetes_asyncio.config  # noqa: F401 - it keeps the KUBECONFIG of its import, which a test may change
    from kubernetes import client, config

    config.load_kube_config()
    api = client.CoreV1Api()
    api.list_namespace(limit=1, _request_timeout=ANSWER_SECONDS)
    return api


@pytest.fixture
def namespace(core_api: Any) -> Iterator[str]:
    """The name of an empty namespace, deleted with all that is in it when the test ends."""
    yield from _made_namespace(core_api)


@pytest.fixture(scope="module")
def module_namespace(core_api: Any) -> Iterator[str]:
    """The same for all tests of a module."""
    yield from _made_namespace(core_api)


def _made_namespace(core_api: Any) -> Iterator[str]:
    name = f"airworthy-test-{secrets.token_hex(4)}"
    core_api.create_namespace({"metadata": {"name": name}}, _request_timeout=ANSWER_SECONDS)
    try:
        _await_service_account(core_api, name)
        yield name
    finally:
        core_api.delete_namespace(name, _request_timeout=ANSWER_SECONDS)


def _await_service_account(core_api: Any, namespace: str) -> None:
    """A namespace takes pods only once the controllers have made its service account (and, once, its token)."""
    from kubernetes.client import ApiException

    pod = {"metadata": {"generateName": "probe-"}, "spec": {"containers": [{"name": "probe", "image": "probe"}]}}

    def takes_pods() -> bool:
        try:
            core_api.create_namespaced_pod(namespace, pod, dry_run="All", _request_timeout=ANSWER_SECONDS)
        except ApiException:
            return False
        return True

    until(takes_pods, lambda: f"namespace {namespace} takes no pods")
