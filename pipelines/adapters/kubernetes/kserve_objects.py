"""Builds the spec of an InferenceService from a model's route, and reads its weights: pure functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pipelines.adapters.kubernetes.gateway_pods import gateway_pod, worker_count
from pipelines.errors import Refused
from pipelines.rollout.transitions import FULL_SHARE, Route, Served
from pipelines.spec.deployment import Deployment, KServe
from pipelines.spec.sizing import Resources, parse_cores

Document = dict[str, Any]

DEPLOYMENT_MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
STANDARD_MODES = ("Standard", "RawDeployment")
"""The current name of the mode and its former one."""
BPS_PER_PERCENT = 100
"""Basis points."""
PREDICTOR_CONTAINER = "kserve-container"
"""The name that KServe wants of the container that predicts."""
PORT = 8080


class GatewayPods(msgspec.Struct, frozen=True):
    """What the pods of all versions have in common."""

    image: str
    template: Document
    store: str
    environment: dict[str, str]


def service_name(model: str, target: KServe) -> str:
    return target.service or model.replace("_", "-")


def predictor_name(served: Served) -> str:
    """Name of one version within its InferenceService; another bundle of the same version has another name."""
    version = re.sub(r"[^a-z0-9]+", "-", served.version.lower()).strip("-")[:12]
    digest = hashlib.sha256(f"{served.version}/{served.sha256}".encode()).hexdigest()[:6]
    return f"v{version}-{digest}"


def workload_name(service: str, served: Served) -> str:
    """Name of the Deployment and of the Service that KServe makes for a named predictor."""
    return f"{service}-{predictor_name(served)}-predictor"


def inference_spec(
    model: str, route: Route, unused: Iterable[Served], *, declared: Deployment, pods: GatewayPods
) -> Document:
    """``spec`` of the InferenceService: the live version, and as canaries candidate, former version and ``unused``.

    The candidate gets its share; the other canaries get none and only stay ready. None is what an earlier write may
    have left in the live predictor and must go. Raises ``Refused`` for shares that are not whole percents.
    """
    shares = traffic_split(route)
    if fractions := {version: share for version, share in shares.items() if share % BPS_PER_PERCENT}:
        raise Refused(f"KServe splits by whole percents; {fractions} basis points are not whole percents")
    if sum(shares.values()) != FULL_SHARE:
        raise Refused(f"the shares {shares} sum to {sum(shares.values())}, not to {FULL_SHARE}")
    beside = [served for served in (route.candidate, route.previous, *unused) if served is not None]
    different = {predictor_name(served): served for served in beside if served != route.live}
    canaries = [
        {
            "trafficPercent": shares.get(served.version, 0) // BPS_PER_PERCENT if served == route.candidate else 0,
            "predictor": _predictor(model, served, declared, pods),
        }
        for served in different.values()
    ]
    live = {**_predictor(model, route.live, declared, pods), **_scaling(declared.resources), "model": None}
    return {"predictor": live, "canary": canaries or None}


def without_none(document: Document) -> Document:
    """The document without fields that are None, as it is created."""
    return {
        name: without_none(value) if isinstance(value, dict) else value
        for name, value in document.items()
        if value is not None
    }


def traffic_split(route: Route) -> dict[str, int]:
    return dict(route.split) or {route.live.version: FULL_SHARE}


def read_weights(spec: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
    """Basis points by version, as an InferenceService has them; ``names``: predictors to versions."""
    percents = {canary["predictor"].get("name"): int(canary["trafficPercent"]) for canary in spec.get("canary") or []}
    live = spec["predictor"].get("name", "")
    shares = {names.get(live, live): FULL_SHARE - BPS_PER_PERCENT * sum(percents.values())}
    shares |= {names.get(name or "", name or ""): BPS_PER_PERCENT * percent for name, percent in percents.items()}
    return {version: share for version, share in shares.items() if share}


def _predictor(model: str, served: Served, declared: Deployment, pods: GatewayPods) -> Document:
    """A custom predictor: pods of our image, which take the version to serve from their environment."""
    resources = declared.resources
    variables = {
        "AIRWORTHY_SERVE_MODEL": model,
        "AIRWORTHY_SERVE_VERSION": served.version,
        "AIRWORTHY_SERVE_BUNDLE": served.bundle,
        "AIRWORTHY_SERVE_SHA256": served.sha256,
        "AIRWORTHY_SERVE_WORKERS": str(worker_count(resources)),
        "AIRWORTHY_STORE": pods.store,
    }
    spec, container = gateway_pod(
        model,
        served,
        image=pods.image,
        port=PORT,
        resources=resources,
        health=declared.health_check,
        template=pods.template,
        store=pods.store,
        environment={**pods.environment, **variables},
    )
    command = container.get("command", ["python", "-m", "pipelines"])
    container["name"] = PREDICTOR_CONTAINER
    container["command"] = ["pipelines" if word == "pipelines.serving" else word for word in command]
    container["args"] = ["serve"]
    container["ports"] = [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}]
    container["resources"] = _as_kubernetes_writes(container["resources"])
    spec["containers"] = [container, *(other for other in spec["containers"] if other is not container)]
    labels = pods.template["metadata"].get("labels") or {}
    least = resources.min_replicas or resources.replicas if _scales(resources) else resources.replicas
    return {**spec, "name": predictor_name(served), "minReplicas": least} | ({"labels": labels} if labels else {})


def _scaling(resources: Resources) -> Document:
    """Of the live predictor alone: a canary predictor must not declare scaling."""
    scaling = resources.autoscaling
    if scaling is None or not scaling.enabled:
        return {"maxReplicas": resources.replicas, "scaleMetric": None, "scaleTarget": None}
    return {
        "maxReplicas": resources.max_replicas or resources.replicas,
        "scaleMetric": "cpu" if scaling.metric == "cpu" else "rps",
        "scaleTarget": round(scaling.target_value),
    }


def _scales(resources: Resources) -> bool:
    return resources.autoscaling is not None and resources.autoscaling.enabled


def _as_kubernetes_writes(resources: Document) -> Document:
    """Amounts as KServe's webhook writes them back, so that what is read can be compared with what was written."""
    return {
        kind: {
            name: _canonical_cpu(amount) if name == "cpu" else _canonical_size(amount) for name, amount in each.items()
        }
        for kind, each in resources.items()
    }


def _canonical_cpu(amount: str) -> str:
    """``0.5`` to ``500m``, ``1000m`` to ``1``."""
    thousandths = round(parse_cores(amount) * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def _canonical_size(amount: str) -> str:
    """``1024Mi`` to ``1Gi``."""
    match = re.fullmatch(r"([0-9]+)Mi", amount)
    return f"{int(match[1]) // 1024}Gi" if match and int(match[1]) % 1024 == 0 else amount
