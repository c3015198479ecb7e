"""Builds the manifests of an HTTPRoute target from the declaration: pure functions that call no cluster."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.adapters.kubernetes.gateway_pods import gateway_pod
from pipelines.errors import Refused
from pipelines.rollout.transitions import FULL_SHARE, Route, Served
from pipelines.spec.deployment import HttpRoute
from pipelines.spec.sizing import HealthCheck, LoadBalancing, Resources

Document = dict[str, Any]

PORT, SERVICE_PORT = 8900, 80
DIGEST_ANNOTATION = "airworthy.dev/rendered"
"""Annotation with the digest of the written document, so that an unchanged document is not written again."""
PROBE_HEADER = "x-rollout-probe"
REQUESTS_METRIC = "gateway_requests_per_second"
"""The metric of each pod that a custom metrics adapter must provide."""


def slug(model: str) -> str:
    """The model's name as a valid Kubernetes name."""
    return model.replace("_", "-")


def object_name(model: str, served: Served) -> str:
    """Name of all objects of one version; another bundle of the same version has another name."""
    version = re.sub(r"[^a-z0-9]+", "-", served.version.lower()).strip("-")[:12]
    digest = hashlib.sha256(f"{model}/{served.version}/{served.sha256}".encode()).hexdigest()[:8]
    return f"{slug(model)[:36].rstrip('-')}-{version or 'v'}-{digest}"


def object_labels(model: str, served: Served) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "airworthy-gateway",
        "app.kubernetes.io/managed-by": "airworthy",
        "airworthy.dev/model": model,
        "airworthy.dev/serves": object_name(model, served),
    }


def version_objects(
    model: str,
    served: Served,
    *,
    target: HttpRoute,
    resources: Resources,
    health: HealthCheck,
    balancing: LoadBalancing,
    template: Document,
    store: str,
    environment: Mapping[str, str],
    scaler_version: str,
    budget_version: str,
) -> list[Document]:
    """Service, Deployment, budget and (where declared) autoscaler of one version, in the order of their creation."""
    name, labels = object_name(model, served), object_labels(model, served)
    selector = {"airworthy.dev/serves": name}
    metadata = {"name": name, "labels": labels, "annotations": {"airworthy.dev/version": served.version}}
    pod = _pod_template(model, served, target.image, resources, health, template, store, environment)
    pod["metadata"] = {"labels": labels | (template["metadata"].get("labels") or {})}
    affinity = balancing.session_affinity
    affinity_config = {"clientIP": {"timeoutSeconds": affinity.timeout}} if affinity.enabled else None
    service: Document = {
        "selector": selector,
        "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": PORT}],
        "sessionAffinity": "ClientIP" if affinity.enabled else "None",
        "sessionAffinityConfig": affinity_config,
    }
    deployment = {
        "replicas": resources.replicas,
        "selector": {"matchLabels": selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "revisionHistoryLimit": 2,
        "template": pod,
    }
    documents = [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {
            "apiVersion": budget_version,
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}},
        },
    ]
    if has_autoscaler(resources):
        scaler = _autoscaler(name, resources)
        documents.append(
            {"apiVersion": scaler_version, "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": scaler}
        )
    return [_with_digest_annotation(copy.deepcopy(document)) for document in documents]


def has_autoscaler(resources: Resources) -> bool:
    """Whether the autoscaler decides about replicas."""
    return resources.autoscaling is not None and resources.autoscaling.enabled


def _with_digest_annotation(document: Document) -> Document:
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document["metadata"]["annotations"][DIGEST_ANNOTATION] = digest
    return document


def _pod_template(
    model: str,
    served: Served,
    image: str,
    resources: Resources,
    health: HealthCheck,
    template: Document,
    store: str,
    environment: Mapping[str, str],
) -> Document:
    spec, container = gateway_pod(
        model,
        served,
        image=image,
        port=PORT,
        resources=resources,
        health=health,
        template=template,
        store=store,
        environment=environment,
    )
    container["ports"] = [{"name": "http", "containerPort": PORT}]
    spec["restartPolicy"] = "Always"
    return {"spec": spec}


def _autoscaler(name: str, resources: Resources) -> Document:
    scaling = resources.autoscaling
    assert scaling is not None
    metrics: list[Document] = []
    utilization: dict[str, int | None] = {"cpu": scaling.cpu_utilization, "memory": scaling.memory_utilization}
    if scaling.metric == "cpu":
        utilization["cpu"] = round(scaling.target_value)
    else:
        average = {"type": "AverageValue", "averageValue": f"{round(scaling.target_value * 1000)}m"}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": REQUESTS_METRIC}, "target": average}})
    metrics += [
        {
            "type": "Resource",
            "resource": {"name": kind, "target": {"type": "Utilization", "averageUtilization": percent}},
        }
        for kind, percent in utilization.items()
        if percent is not None
    ]
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": resources.min_replicas or resources.replicas,
        "maxReplicas": resources.max_replicas or resources.replicas,
        "metrics": metrics,
    }


# ---- the route -------------------------------------------------------------------------------------------------------


def route_spec(model: str, route: Route, target: HttpRoute) -> Document:
    """An HTTPRoute's ``spec``: probes and segments by header, then all other requests by weight, 10,000 in all."""
    paths = [f"/models/{model}", f"/v2/models/{model}"]
    shares = traffic_split(route)
    if sum(shares.values()) != FULL_SHARE or min(shares.values()) < 0:
        raise Refused(f"the shares {shares} of {model} must be 0 or more and sum to {FULL_SHARE} basis points")
    rules: list[Document] = []
    record = route.rollout
    if route.candidate is not None and record is not None:
        arms = {"champion": route.live, "candidate": route.candidate}
        rules.append(_route_rule(paths, [(route.candidate, 1)], model, header=(PROBE_HEADER, record.probe)))
        if route.share():
            rules += [
                _route_rule(paths, [(arms[segment.arm], 1)], model, header=(segment.header, segment.equals))
                for segment in record.plan.routing.segments
            ]
    known = [served for served in (route.live, route.candidate) if served is not None]
    everybody = _route_rule(paths, [(served, shares.get(served.version, 0)) for served in known], model)
    if route.mirror is not None and route.candidate is not None:
        copied: Document = {"backendRef": _backend_ref(object_name(model, route.candidate))}
        if route.mirror.basis_points < FULL_SHARE:
            copied["fraction"] = {"numerator": route.mirror.basis_points, "denominator": FULL_SHARE}
        everybody["filters"] = [{"type": "RequestMirror", "requestMirror": copied}]
    rules.append(everybody)
    return _spec(target, rules)


def unreleased_route_spec(model: str, served: Served, probe: str, target: HttpRoute) -> Document:
    """``spec`` of the HTTPRoute of a model's first version under test: only requests with the probe reach it."""
    paths = [f"/models/{model}", f"/v2/models/{model}"]
    return _spec(target, [_route_rule(paths, [(served, 1)], model, header=(PROBE_HEADER, probe))])


def _spec(target: HttpRoute, rules: list[Document]) -> Document:
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": target.gateway}
    if target.gateway_namespace:
        parent["namespace"] = target.gateway_namespace
    return {"parentRefs": [parent], "hostnames": list(target.hostnames), "rules": rules}


def traffic_split(route: Route) -> dict[str, int]:
    """Basis points by version, 10,000 in all."""
    return dict(route.split) or {route.live.version: FULL_SHARE}


def read_weights(spec: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
    """Basis points of an HTTPRoute's last rule by version; ``names`` maps backends to versions."""
    backends = spec["rules"][-1].get("backendRefs", [])
    shares = {names.get(backend["name"], backend["name"]): int(backend.get("weight", 1)) for backend in backends}
    return {version: weight for version, weight in shares.items() if weight} or shares


def _route_rule(
    paths: Sequence[str], shares: Sequence[tuple[Served, int]], model: str, *, header: tuple[str, str] | None = None
) -> Document:
    matches: list[Document] = [{"path": {"type": "PathPrefix", "value": path}} for path in paths]
    if header is not None:
        matches = [match | {"headers": [{"type": "Exact", "name": header[0], "value": header[1]}]} for match in matches]
    backends = [_backend_ref(object_name(model, served)) | {"weight": weight} for served, weight in shares]
    return {"matches": matches, "backendRefs": backends}


def _backend_ref(name: str) -> Document:
    return {"kind": "Service", "name": name, "port": SERVICE_PORT}


def differs(written: Any, stored: Any) -> bool:
    """Whether ``stored`` lacks or changes a part of ``written``; fields that the server added are ignored."""
    if isinstance(written, Mapping):
        return not isinstance(stored, Mapping) or any(differs(written[name], stored.get(name)) for name in written)
    if isinstance(written, list):
        return (
            not isinstance(stored, list)
            or len(written) != len(stored)
            or any(differs(part, stored_part) for part, stored_part in zip(written, stored, strict=True))
        )
    return bool(written != stored)
