"""Builds the spec of an InferenceService from a model's route, and reads its weights: pure functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.adapters.kubernetes.http_route_objects import limits_and_requests
from pipelines.errors import Refused
from pipelines.rollout.transitions import FULL_SHARE, Route, Served
from pipelines.spec.deployment import KServe
from pipelines.spec.sizing import HealthCheck, Resources

Document = dict[str, Any]

DEPLOYMENT_MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
STANDARD_MODES = ("Standard", "RawDeployment")
"""The current name of the mode and its former one."""
BPS_PER_PERCENT = 100
"""Basis points."""


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
    route: Route, unused: Iterable[Served], *, target: KServe, resources: Resources, health: HealthCheck, store: str
) -> Document:
    """``spec`` of the InferenceService: the live version, and as canaries candidate, former version and ``unused``.

    The candidate gets its share; the other canaries get none and only stay ready. Raises ``Refused`` for shares that
    are not whole percents.
    """
    shares = traffic_split(route)
    if fractions := {version: share for version, share in shares.items() if share % BPS_PER_PERCENT}:
        raise Refused(f"KServe splits by whole percents; {fractions} basis points are not whole percents")
    if sum(shares.values()) != FULL_SHARE:
        raise Refused(f"the shares {shares} sum to {sum(shares.values())}, not to {FULL_SHARE}")
    beside = [served for served in (route.candidate, route.previous, *unused) if served is not None]
    different = {predictor_name(served): served for served in beside if served != route.live}

    def predictor(served: Served, *, live: bool) -> Document:
        return _predictor(served, live=live, target=target, resources=resources, health=health, store=store)

    canaries = [
        {
            "trafficPercent": shares.get(served.version, 0) // BPS_PER_PERCENT if served == route.candidate else 0,
            "predictor": predictor(served, live=False),
        }
        for served in different.values()
    ]
    return {"predictor": predictor(route.live, live=True), "canary": canaries or None}


def traffic_split(route: Route) -> dict[str, int]:
    return dict(route.split) or {route.live.version: FULL_SHARE}


def read_weights(spec: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
    """Basis points by version, as an InferenceService has them; ``names``: predictors to versions."""
    percents = {canary["predictor"].get("name"): int(canary["trafficPercent"]) for canary in spec.get("canary") or []}
    live = spec["predictor"].get("name", "")
    shares = {names.get(live, live): FULL_SHARE - BPS_PER_PERCENT * sum(percents.values())}
    shares |= {names.get(name or "", name or ""): BPS_PER_PERCENT * percent for name, percent in percents.items()}
    return {version: share for version, share in shares.items() if share}


def _predictor(
    served: Served, *, live: bool, target: KServe, resources: Resources, health: HealthCheck, store: str
) -> Document:
    model: Document = {
        "modelFormat": {"name": target.model_format},
        "storageUri": _storage_uri(served.bundle, store, target.storage_prefix),
        "resources": limits_and_requests(resources),
    }
    if target.runtime:
        model["runtime"] = target.runtime
    if "path" in health.model_fields_set:
        model["readinessProbe"] = {
            "httpGet": {"path": health.path, "port": 8080},
            "periodSeconds": health.interval,
            "timeoutSeconds": health.timeout,
            "successThreshold": health.success_threshold,
            "failureThreshold": health.failure_threshold,
            "initialDelaySeconds": health.initial_delay,
        }
    scaling = resources.autoscaling if resources.autoscaling and resources.autoscaling.enabled else None
    least = resources.min_replicas or resources.replicas if scaling else resources.replicas
    predictor: Document = {"name": predictor_name(served), "minReplicas": least, "model": model}
    if live:  # a canary predictor must not declare scaling
        predictor["maxReplicas"] = (resources.max_replicas if scaling else None) or resources.replicas
        if scaling is not None:
            predictor["scaleMetric"] = "cpu" if scaling.metric == "cpu" else "rps"
            predictor["scaleTarget"] = round(scaling.target_value)
    return predictor


def _storage_uri(bundle: str, store: str, prefix: str | None) -> str:
    """URI of the bundle as seen from the cluster."""
    root = store.rstrip("/")
    if prefix is not None and bundle.startswith(f"{root}/"):
        return f"{prefix.rstrip('/')}/{bundle.removeprefix(f'{root}/')}"
    if "://" not in bundle:
        hint = "set deployment.target.storage_prefix to its URI in the cluster, or keep the store on s3://"
        raise Refused(f"the cluster cannot read the local folder {bundle}", [hint])
    return bundle
