"""Builds the spec of an InferenceService from a model's route, and reads its weights: pure functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pipelines.adapters.kubernetes.gateway_pods import gateway_pod
from pipelines.errors import Refused
from pipelines.rollout.transitions import FULL_SHARE, Route, Served
from pipelines.spec.deployment import Deployment, KServe
from pipelines.spec.sizing import Resources

Document = dict[str, Any]

DEPLOYMENT_MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
STANDARD_MODES = ("Standard", "RawDeployment")
"""The current name of the mode and its former one."""
BPS_PER_PERCENT = 100
"""Basis points."""
PREDICTOR_CONTAINER = "kserve-container"
"""The name that KServe wants of the container that predicts."""
PORT = 8080
SCALING_FIELDS = ("maxReplicas", "scaleMetric", "scaleTarget")


class GatewayPods(msgspec.Struct, frozen=True):
    """What the pods of all versions have in common. ``image``: None if none is declared."""

    image: str | None
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
    model: str,
    route: Route,
    unused: Iterable[Served] = (),
    *,
    declared: Deployment,
    pods: GatewayPods,
    stored: Mapping[str, Document] | None = None,
) -> Document:
    """``spec`` of the InferenceService: the live version, and as canaries candidate, former version and ``unused``.

    The candidate gets its share; the other canaries get none and only stay ready. A version of the route keeps the pods
    that the service has for it (``stored``, by name): a promotion or a rollback starts no pod anew, and needs no image.
    Raises ``Refused`` for shares that are not whole percents, and without an image for new pods.
    """
    shares = traffic_split(route)
    if fractions := {version: share for version, share in shares.items() if share % BPS_PER_PERCENT}:
        raise Refused(f"KServe splits by whole percents; {fractions} basis points are not whole percents")
    if sum(shares.values()) != FULL_SHARE:
        raise Refused(f"the shares {shares} sum to {sum(shares.values())}, not to {FULL_SHARE}")
    routed = [served for served in (route.live, route.candidate, route.previous) if served is not None]
    different = {predictor_name(served): served for served in (*routed, *unused)}
    predictors = {
        name: _predictor(model, served, declared, pods, (stored or {}).get(name), keep=served in routed)
        for name, served in different.items()
    }
    live = predictors.pop(predictor_name(route.live))
    canaries = [
        {
            "trafficPercent": shares.get(different[name].version, 0) // BPS_PER_PERCENT
            if different[name] == route.candidate
            else 0,
            "predictor": predictor,
        }
        for name, predictor in predictors.items()
    ]
    return {"predictor": {**live, **_scaling(declared.resources)}, "canary": canaries or None}


def stored_predictors(spec: Mapping[str, Any]) -> dict[str, Document]:
    """Every predictor by its name."""
    predictors = [spec["predictor"], *(canary["predictor"] for canary in spec.get("canary") or [])]
    return {predictor.get("name", ""): predictor for predictor in predictors}


def replacement(before: Any, after: Any) -> Any:
    """The merge patch that makes ``after`` of ``before``: what is not in ``after`` is taken out."""
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return after
    removed = dict.fromkeys(before.keys() - after.keys())
    return removed | {name: replacement(before.get(name), value) for name, value in after.items()}


def essentials(spec: Mapping[str, Any]) -> list[Document]:
    """Of each predictor its share, and what runs for it: all that has to be stored as it was written.

    KServe's webhook writes other fields in its own way: amounts in their shortest form, zeros not at all.
    """
    canaries = spec.get("canary") or []
    shares = [
        {"percent": int(canary.get("trafficPercent", 0)), **_served_by(canary["predictor"])} for canary in canaries
    ]
    return [_served_by(spec["predictor"]), *shares]


def _served_by(predictor: Mapping[str, Any]) -> Document:
    container: Document = next(iter(predictor.get("containers", [])), {})
    return {"name": predictor.get("name")} | {name: container.get(name) for name in ("image", "command", "args")}


def traffic_split(route: Route) -> dict[str, int]:
    return dict(route.split) or {route.live.version: FULL_SHARE}


def read_weights(spec: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
    """Basis points by version, as an InferenceService has them; ``names``: predictors to versions."""
    percents = {
        canary["predictor"].get("name"): int(canary.get("trafficPercent", 0)) for canary in spec.get("canary") or []
    }
    live = spec["predictor"].get("name", "")
    shares = {names.get(live, live): FULL_SHARE - BPS_PER_PERCENT * sum(percents.values())}
    shares |= {names.get(name or "", name or ""): BPS_PER_PERCENT * percent for name, percent in percents.items()}
    return {version: share for version, share in shares.items() if share}


def _predictor(
    model: str, served: Served, declared: Deployment, pods: GatewayPods, stored: Document | None, *, keep: bool
) -> Document:
    """A custom predictor: pods of the gateway's image that serve this version, as they run (``keep``) or as declared.

    Those of a model server (before 0.2.0) are replaced once there is an image.
    """
    resources = declared.resources
    least = resources.min_replicas or resources.replicas if _scales(resources) else resources.replicas
    size = {"name": predictor_name(served), "minReplicas": least}
    if stored is not None and ((keep and "containers" in stored) or pods.image is None):
        return {name: value for name, value in stored.items() if name not in SCALING_FIELDS} | size
    if pods.image is None:
        hint = "declare deployment.target.image, or set AIRWORTHY_POD_IMAGE (the Dockerfile's target step)"
        raise Refused(f"{model} has no image that could serve it on KServe", [hint])
    spec, container = gateway_pod(
        model,
        served,
        image=pods.image,
        port=PORT,
        resources=resources,
        health=declared.health_check,
        template=pods.template,
        store=pods.store,
        environment=pods.environment,
    )
    container["name"] = PREDICTOR_CONTAINER
    container["ports"] = [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}]
    spec["containers"] = [container, *(other for other in spec["containers"] if other is not container)]
    labels = pods.template["metadata"].get("labels") or {}
    return {**spec, **size} | ({"labels": labels} if labels else {})


def _scaling(resources: Resources) -> Document:
    """Of the live predictor alone: a canary predictor must not declare scaling."""
    scaling = resources.autoscaling
    if scaling is None or not scaling.enabled:
        return {"maxReplicas": resources.replicas}
    return {
        "maxReplicas": resources.max_replicas or resources.replicas,
        "scaleMetric": "cpu" if scaling.metric == "cpu" else "rps",
        "scaleTarget": round(scaling.target_value),
    }


def _scales(resources: Resources) -> bool:
    return resources.autoscaling is not None and resources.autoscaling.enabled
