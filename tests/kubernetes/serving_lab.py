"""What serving is tried with on a real API server: resource definitions, declared targets, and clients that break."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipelines.adapters.kubernetes.api import open_client
from pipelines.adapters.kubernetes.http_route_objects import DIGEST_ANNOTATION
from pipelines.adapters.kubernetes.http_route_target import HttpRouteTarget, Timeouts
from pipelines.adapters.kubernetes.kserve_target import KServeTarget
from pipelines.adapters.kubernetes.pod_readings import PodCounts
from pipelines.adapters.kubernetes.served_pods import apply_all
from pipelines.rollout.transitions import Route, Served
from pipelines.settings import REPOSITORY
from pipelines.spec.deployment import Deployment
from tests.kubernetes.lab import IMAGE, template
from tests.kubernetes.waiting import until

CRDS = Path(__file__).parent / "crds"


class Moments:
    """Now, and never twice the same."""

    def __call__(self) -> Any:
        from datetime import UTC, datetime

        return datetime.now(UTC)


@contextmanager
def definition(name: str) -> Iterator[None]:
    """A resource definition, unless the cluster has one of its own. One that is being deleted is waited for."""
    from kubernetes import client

    api = client.ApiextensionsV1Api(open_client())
    document = yaml.safe_load((CRDS / f"{name}.yaml").read_text())
    full = document["metadata"]["name"]
    until(lambda: not _is_being_deleted(_read_definition(api, full)), lambda: f"{full} is still being deleted")
    present = _read_definition(api, full)
    if present is None:
        api.create_custom_resource_definition(document)
    until(lambda: _is_established(_read_definition(api, full)), lambda: f"{full} is not served")
    until(lambda: _is_answered(document["spec"]), lambda: f"{full} is established, and not answered")
    try:
        yield
    finally:
        if present is None:
            api.delete_custom_resource_definition(full)


def _read_definition(api: Any, name: str) -> Any:
    """The definition; None if there is none."""
    from kubernetes.client import ApiException

    try:
        return api.read_custom_resource_definition(name)
    except ApiException as error:
        if error.status != 404:
            raise
        return None


def _is_being_deleted(present: Any) -> bool:
    return present is not None and present.metadata.deletion_timestamp is not None


def _is_established(present: Any) -> bool:
    conditions = (present.status.conditions or []) if present is not None else []
    return any(condition.type == "Established" and condition.status == "True" for condition in conditions)


def _is_answered(spec: dict[str, Any]) -> bool:
    """Whether the API server takes requests for this resource, which it does a moment after it says so."""
    from kubernetes import client

    api = client.CustomObjectsApi(open_client())
    try:
        for version in spec["versions"]:
            api.list_cluster_custom_object(spec["group"], version["name"], spec["names"]["plural"], limit=1)
    except client.ApiException as error:
        if error.status != 404:
            raise
        return False
    return True


def declared(namespace: str, kind: str = "http_route", **blocks: Any) -> Deployment:
    target: dict[str, Any] = {"kind": kind, "namespace": namespace, "image": IMAGE}
    if kind == "http_route":
        target["gateway"] = "public"
    return Deployment.model_validate({"strategy": "canary", "target": target, **blocks})


def nowhere() -> dict[str, Any]:
    """A pod template that no node takes: its objects are real, and cost nothing."""
    container = {"name": "gateway", "image": IMAGE, "volumeMounts": [{"name": "all", "mountPath": "/bundles"}]}
    spec = {
        "containers": [container],
        "volumes": [{"name": "all", "emptyDir": {}}],
        "nodeSelector": {"nobody": "has-this"},
        "terminationGracePeriodSeconds": 0,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gateway"}, "spec": spec}


def host_template(folder: Path, door: str = "door") -> dict[str, Any]:
    """A pod template that runs the gateway with this machine's Python, over this machine's ``folder``."""
    found = template()
    container = found["spec"]["containers"][0]
    container["name"] = "gateway"
    container["command"] = [*container["command"][:1], "-m", "pipelines.serving"]
    container["env"] = [{"name": "AIRWORTHY_GATEWAY_CONFIG", "value": "/etc/airworthy/gateway.yaml"}]
    container["volumeMounts"] += [
        {"name": "home", "mountPath": "/home/airworthy"},
        {"name": "store", "mountPath": str(folder)},
        {"name": "door", "mountPath": "/etc/airworthy"},
    ]
    found["spec"]["volumes"] += [
        {"name": "home", "emptyDir": {}},
        {"name": "store", "hostPath": {"path": str(folder)}},
        {"name": "door", "configMap": {"name": door}},
    ]
    found["spec"].pop("restartPolicy")
    found["spec"]["terminationGracePeriodSeconds"] = 20
    return found


class Unawaited(HttpRouteTarget):
    """Writes every object as the real one does, but asks no pod: ``counted`` says what they answer."""

    counted: Mapping[str, tuple[str, PodCounts]] = {}

    def _deploy_version(self, model: str, served: Served) -> None:
        self._record_unused(model, served)
        apply_all(self._api, self._version_documents(model, served), DIGEST_ANNOTATION, keep_replicas=False)

    def _read_pods(self, model: str, route: Route) -> dict[str, tuple[str, PodCounts]]:
        return dict(self.counted)


def http_route_target(
    namespace: str,
    opened: Callable[[], Any] = open_client,
    kind: type[Unawaited] = Unawaited,
    drained: float = 0,
    **blocks: Any,
) -> Unawaited:
    return kind(
        declared(namespace, **blocks),
        opened,
        template=nowhere(),
        store="s3://bucket",
        clock=Moments(),
        timeouts=Timeouts(ready_seconds=30, applied_seconds=drained, linger_seconds=0),
    )


class UnawaitedKServe(KServeTarget):
    """The same for KServe, whose controller is not there."""

    counted: Mapping[str, tuple[str, PodCounts]] = {}

    def _wait_ready(self, model: str, served: Served) -> None:
        pass

    def _read_pods(self, model: str, route: Route) -> dict[str, tuple[str, PodCounts]]:
        return dict(self.counted)


def kserve_target(
    namespace: str,
    opened: Callable[[], Any] = open_client,
    kind: type[KServeTarget] = UnawaitedKServe,
    ready: float = 60,
    **blocks: Any,
) -> Any:
    return kind(
        declared(namespace, "kserve", **blocks),
        opened,
        template=nowhere(),
        store="s3://bucket",
        clock=Moments(),
        timeouts=Timeouts(ready_seconds=ready, applied_seconds=0, linger_seconds=0),
    )


class Killed(BaseException):
    """The process ends here."""


class Client:
    """A real client that sees every request.

    ``kill``: its process ends right after the request of this number. ``account``: it speaks as this service account.
    """

    def __init__(self, *, kill: int | None = None, account: str | None = None) -> None:
        self._real, self._kill, self._account = open_client(), kill, account
        self.requests: list[str] = []

    def call_api(self, path: str, method: str, *, header_params: dict[str, str], **rest: Any) -> Any:
        self.requests.append(f"{method} {path}")
        if self._account is not None:
            header_params = header_params | {"Impersonate-User": f"system:serviceaccount:{self._account}"}
        try:
            return self._real.call_api(path, method, header_params=header_params, **rest)
        finally:
            if len(self.requests) == self._kill:
                raise Killed


def grant(namespace: str) -> None:
    """The role that the product ships for serving, in this namespace; returns once the API server heeds it."""
    from kubernetes import client

    opened = open_client()
    api, reviews = client.RbacAuthorizationV1Api(opened), client.AuthorizationV1Api(opened)
    shipped = list(yaml.safe_load_all((REPOSITORY / "deploy" / "kubernetes" / "serving.yaml").read_text()))
    (role,) = (document for document in shipped if document["kind"] == "Role")
    (binding,) = (document for document in shipped if document["kind"] == "RoleBinding")
    for document in (role, binding):
        document["metadata"]["namespace"] = namespace
    api.create_namespaced_role(namespace, role)
    api.create_namespaced_role_binding(namespace, binding)
    (account,) = binding["subjects"]
    review = {
        "spec": {
            "user": f"system:serviceaccount:{account['namespace']}:{account['name']}",
            "resourceAttributes": {"namespace": namespace, "verb": "list", "resource": "pods"},
        }
    }
    until(
        lambda: reviews.create_subject_access_review(review).status.allowed,
        lambda: f"{account['name']} has no rights in {namespace}",
    )
