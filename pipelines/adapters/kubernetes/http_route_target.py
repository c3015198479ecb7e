"""One HTTPRoute holds a model's traffic and its rollout's record, so that one atomic write changes both."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pipelines.adapters.kubernetes import http_route_objects as objects
from pipelines.adapters.kubernetes.annotated_rollouts import AnnotatedRollouts
from pipelines.adapters.kubernetes.api import Document, KubernetesApi
from pipelines.adapters.kubernetes.http_route_objects import PORT, object_labels, object_name, route_spec
from pipelines.adapters.kubernetes.pod_readings import PodCounts
from pipelines.adapters.kubernetes.rollout_record import RECORD_ANNOTATION, ObservedRecord, ServingRecord, used_versions
from pipelines.adapters.kubernetes.served_pods import (
    api_key_headers,
    apply_all,
    await_answer,
    await_ready,
    no_ready_pod_error,
    read_counters,
)
from pipelines.errors import Refused, Unavailable
from pipelines.ports import Clock
from pipelines.rollout.plan import RolloutPlan
from pipelines.rollout.transitions import Route, Served
from pipelines.spec.deployment import Deployment, HttpRoute

API_GROUP = "gateway.networking.k8s.io"
UNRELEASED_ANNOTATION = "airworthy.dev/unreleased"
"""Annotation of the HTTPRoute of a model's first version under test, in place of the record."""
POD_VARIABLES = ("AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP")
"""Environment variables of the store that a pod needs; its credentials are in the cluster's secrets."""


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds for a version's pods to be ready, for a controller to accept a new split, and for proxies to apply it."""

    ready_seconds: float = 600
    applied_seconds: float = 15
    linger_seconds: float = 5


class UnreleasedRoute(msgspec.Struct, frozen=True):
    """A first version under test, and the secret of the requests that reach it."""

    served: Served
    probe: str


class HttpRouteTarget(AnnotatedRollouts):
    """``DeploymentTarget`` of one model: a Deployment, Service, budget and autoscaler per version, and one HTTPRoute.

    ``template``: pod template of every version. ``store``: where the gateways write their prediction log.
    """

    def __init__(
        self,
        deployment: Deployment,
        open_client: Callable[[], Any],
        *,
        template: Document,
        store: str,
        clock: Clock,
        timeouts: Timeouts | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(clock)
        target = deployment.target
        if not isinstance(target, HttpRoute):
            raise Refused(f"deployment.target.kind is {target.kind}, not http_route")
        self._deployment, self._target = deployment, target
        self._template, self._store, self._timeouts = template, store, timeouts or Timeouts()
        self.linger_seconds = self._timeouts.linger_seconds
        self._environment = os.environ if environment is None else environment
        self._api = KubernetesApi(open_client, target.namespace)

    # ---- the record and the traffic -----------------------------------------------------------------------------

    def _observe(self, model: str) -> ObservedRecord | None:
        """``split`` is the split in the object; ``applied`` says whether a controller has accepted it."""
        document = self._read_route(model)
        if document is None or _is_unreleased(document):
            return None
        content = (document["metadata"].get("annotations") or {}).get(RECORD_ANNOTATION)
        if content is None:
            raise Refused(
                f"HTTPRoute {objects.slug(model)} does not belong to this installation: it has no {RECORD_ANNOTATION}",
                ["delete it, or serve the model in another namespace"],
            )
        record = ServingRecord.parse(f"HTTPRoute {objects.slug(model)}", content)
        known = {object_name(model, served): served.version for served in used_versions(record.route)}
        split = objects.read_weights(document["spec"], known)
        return ObservedRecord(
            record=record,
            resource_version=document["metadata"]["resourceVersion"],
            split=split,
            applied=_is_accepted(document),
            workers=self._pods_ready(model, record.route.live),
        )

    def _write(self, model: str, record: ServingRecord, before: ObservedRecord | None) -> None:
        metadata: Document = {"name": objects.slug(model), "annotations": {RECORD_ANNOTATION: record.text()}}
        spec = self._route_spec(model, record.route)
        document = {"apiVersion": self._route_version(), "kind": "HTTPRoute", "metadata": metadata, "spec": spec}
        written = self._write_route(model, document, before.resource_version if before else None)
        if objects.differs(spec, written["spec"]):
            raise Refused(
                f"HTTPRoute {objects.slug(model)} differs from what was written to it",
                ["something in the cluster changes it, or its Gateway API is too old: a mirrored share needs 1.3"],
            )

    def _write_route(self, model: str, document: Document, resource_version: str | None) -> Document:
        """Create the route, or change it if nobody did meanwhile; that of a version under test is taken over."""
        metadata = document["metadata"]
        existing = self._read_route(model) if resource_version is None else None
        if existing is not None and _is_unreleased(existing):
            metadata["annotations"].setdefault(UNRELEASED_ANNOTATION, None)
            resource_version = existing["metadata"]["resourceVersion"]
        if resource_version is None:
            metadata["labels"] = {"app.kubernetes.io/managed-by": "airworthy", "airworthy.dev/model": model}
            return self._api.create(document)
        metadata["resourceVersion"] = resource_version
        return self._api.merge_patch(document)

    def _read_route(self, model: str) -> Document | None:
        return self._api.read(self._route_version(), "HTTPRoute", objects.slug(model))

    def _route_spec(self, model: str, route: Route) -> Document:
        return route_spec(model, route, self._target)

    def _route_version(self) -> str:
        return self._api.served_api_version(API_GROUP, ["v1", "v1beta1"])

    # ---- versions -----------------------------------------------------------------------------------------------

    def _deploy_version(self, model: str, served: Served) -> None:
        documents = self._version_documents(model, served)
        keep = objects.has_autoscaler(self._deployment.resources)

        def write() -> None:
            self._record_unused(model, served)
            apply_all(self._api, documents, objects.DIGEST_ANNOTATION, keep_replicas=keep)

        write()
        name, seconds = object_name(model, served), self._timeouts.ready_seconds
        await_ready(self._api, name, {"airworthy.dev/serves": name}, seconds=seconds, recreate=write)
        await_answer(self._api, name, objects.SERVICE_PORT, self._deployment.health_check.path, seconds=seconds)

    def _delete_version(self, model: str, served: Served) -> None:
        for document in reversed(self._version_documents(model, served)):
            self._api.delete(document["apiVersion"], document["kind"], document["metadata"]["name"])

    def _version_documents(self, model: str, served: Served) -> list[Document]:
        declared = self._deployment
        return objects.version_objects(
            model,
            served,
            target=self._target,
            resources=declared.resources,
            health=declared.health_check,
            balancing=declared.load_balancing,
            template=self._template,
            store=self._store,
            environment={name: self._environment[name] for name in POD_VARIABLES if name in self._environment},
            scaler_version=self._api.served_api_version("autoscaling", ["v2", "v2beta2"]),
            budget_version=self._api.served_api_version("policy", ["v1", "v1beta1"]),
        )

    def _wait_applied(self, model: str) -> bool:
        deadline = time.monotonic() + self._timeouts.applied_seconds
        while True:
            document = self._read_route(model)
            if document is None or _is_accepted(document):
                return document is not None
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)

    def probe_endpoint(self, model: str, probe: str) -> tuple[str, dict[str, str]]:
        """URL and headers by which the Gateway sends a request to the version with this probe, whatever its share."""
        url = self._target.url
        if url is None:
            raise Refused(f"{model}: deployment.target.url is not declared; declare the Gateway's URL")
        return f"{url.rstrip('/')}/models/{model}/invocations", {objects.PROBE_HEADER: probe} | api_key_headers()

    # ---- a first version under test -----------------------------------------------------------------------------

    def load_unreleased(self, model: str, version: str, bundle: str, sha256: str, *, seconds: float) -> str:  # noqa: ARG002
        """Its pods stay until it is released or unloaded; ``seconds`` is the test's, which nothing here watches."""
        observed, served = self._observe(model), Served(version, bundle, sha256)
        if observed is not None:
            live = observed.record.route.live.version
            raise Refused(f"version {live} of {model} is live; begin a rollout to test another one")
        known = self._unreleased(model)
        if known is not None and known.served != served:
            self.unload_unreleased(model)
        probe = known.probe if known is not None and known.served == served else secrets.token_urlsafe(18)
        with self._delete_if_refused(model, served):
            self._deploy_version(model, served)
        content = msgspec.json.encode(UnreleasedRoute(served, probe)).decode()
        metadata: Document = {"name": objects.slug(model), "annotations": {UNRELEASED_ANNOTATION: content}}
        spec = objects.unreleased_route_spec(model, served, probe, self._target)
        document = {"apiVersion": self._route_version(), "kind": "HTTPRoute", "metadata": metadata, "spec": spec}
        self._write_route(model, document, None)
        if not self._wait_applied(model):
            raise Unavailable(f"no controller has accepted HTTPRoute {objects.slug(model)} yet; is the Gateway there?")
        return probe

    def unload_unreleased(self, model: str) -> None:
        known = self._unreleased(model)
        if known is None:
            return
        self._api.delete(self._route_version(), "HTTPRoute", objects.slug(model))
        self._delete_version(model, known.served)

    def _unreleased(self, model: str) -> UnreleasedRoute | None:
        document = self._read_route(model)
        if document is None or not _is_unreleased(document):
            return None
        return msgspec.json.decode(document["metadata"]["annotations"][UNRELEASED_ANNOTATION], type=UnreleasedRoute)

    # ---- the pods' counters -------------------------------------------------------------------------------------

    def _read_pods(self, model: str, route: Route) -> dict[str, tuple[str, PodCounts]]:
        record = route.rollout
        limits = [limit.over_ms for limit in record.plan.guard.latency] if record else []
        readings: dict[str, tuple[str, PodCounts]] = {}
        for served in (route.live, route.candidate):
            if served is None:
                continue
            pods = self._pods(model, served)
            counters = read_counters(self._api, pods, PORT, limits)
            if not counters:
                raise no_ready_pod_error(model, served, route)
            readings |= {pod: (served.version, reading) for pod, reading in counters.items()}
        return readings

    def _pods(self, model: str, served: Served) -> list[Document]:
        return self._api.list_by_labels(
            "v1", "Pod", {"airworthy.dev/serves": object_labels(model, served)["airworthy.dev/serves"]}
        )

    def _pods_ready(self, model: str, served: Served) -> int:
        deployment = self._api.read("apps/v1", "Deployment", object_name(model, served)) or {}
        return int(deployment.get("status", {}).get("availableReplicas", 0))

    def _plan_faults(self, plan: RolloutPlan) -> list[str]:
        if plan.routing.key != "request_id":
            return [f"routing.key {plan.routing.key}: weights are drawn for each request; only request_id is possible"]
        return []


def read_template(path: Path) -> Document:
    """Read the pod template of every version. ``Refused`` if there is none."""
    try:
        template = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Refused(f"pod template {path} cannot be read: {error}") from error
    if not isinstance(template, dict) or not {"metadata", "spec"} <= template.keys():
        raise Refused(f"{path} is not a pod template: it has no metadata and spec")
    return template


def _is_unreleased(document: Document) -> bool:
    annotations = document["metadata"].get("annotations") or {}
    return UNRELEASED_ANNOTATION in annotations and RECORD_ANNOTATION not in annotations


def _is_accepted(document: Document) -> bool:
    """Whether a Gateway's controller has accepted the newest write."""
    newest = document["metadata"].get("generation", 0)
    accepted = [
        condition
        for parent in document.get("status", {}).get("parents", [])
        for condition in parent.get("conditions", [])
        if condition["type"] == "Accepted"
    ]
    return bool(accepted) and all(
        condition["status"] == "True" and condition.get("observedGeneration", 0) >= newest for condition in accepted
    )
