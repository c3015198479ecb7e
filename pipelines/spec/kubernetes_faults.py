"""Lists each declared field of a deployment that an HTTPRoute or KServe does not support, with the reason."""

from __future__ import annotations

from pipelines.spec.declared import field_faults
from pipelines.spec.deployment import Deployment, HttpRoute

NOT_STICKY_REASON = "each request draws its version, so no user keeps an arm; use request_id, or the embedded target"
NO_FALLBACK_REASON = "no proxy answers in the candidate's place; use the embedded target, or remove it"
GATEWAY_BALANCES_REASON = "the Gateway's implementation balances by its own policy; remove it"
KUBELET_PROBES_REASON = "the kubelet probes every pod; use health_check.interval"
CACHE_PER_GATEWAY_REASON = "each gateway has its own cache; declare it in the gateway.yaml that the pods mount"

GPU_FAULT = "resources.accelerator: the gateway predicts on the CPU; use none"
NO_PROBE_FAULT = "health_check.enabled: a pod without a probe gets requests before it can answer; leave it true"


def http_route_faults(deployment: Deployment, target: HttpRoute) -> list[str]:
    """Faults without ``deployment.``, each as ``<place>: <reason>``."""
    faults = _weighted_split_faults(deployment)
    if deployment.load_test is not None and target.url is None:
        faults.append("load_test: declare the Gateway's URL as target.url")
    if deployment.load_test is None and target.url is not None:
        faults.append("target.url: only a load test uses it; declare load_test, or remove it")
    resources, shadow = deployment.resources, deployment.shadow_plan
    if resources.accelerator == "gpu":
        faults.append(GPU_FAULT)
    if not deployment.health_check.enabled:
        faults.append(NO_PROBE_FAULT)
    if resources.autoscaling is not None and resources.autoscaling.metric == "cpu":
        twice = "with metric: cpu the percentage is target_value; remove one of them"
        faults += field_faults("resources.autoscaling", resources.autoscaling, {"cpu_utilization": twice})
    if shadow is not None:
        faults.append(
            "shadow: the proxy discards the answers of mirrored requests, so they cannot be compared; "
            "shadow the candidate on the embedded target first"
        )
    return faults + _scaling_faults(deployment)


def kserve_faults(deployment: Deployment) -> list[str]:
    """Faults without ``deployment.``, each as ``<place>: <reason>``."""
    faults = _weighted_split_faults(deployment)
    if deployment.load_test is not None:
        faults.append("load_test: KServe cannot address a candidate without traffic; test it on the embedded target")
    resources = deployment.resources
    if resources.accelerator == "gpu":
        faults.append(GPU_FAULT)
    if deployment.shadow_plan is not None:
        faults.append("shadow: KServe mirrors no requests; shadow the candidate on the embedded target first")
    if deployment.routing.segments:
        faults.append("routing.segments: KServe splits only by weight; remove them, or use kind: http_route")
    if fractions := [share for share in deployment.shares() if share % 100]:
        percents = ", ".join(f"{share / 100:g} %" for share in fractions)
        faults.append(f"{deployment.strategy}: KServe splits by whole percents, not by {percents}")
    if not deployment.health_check.enabled:
        faults.append(NO_PROBE_FAULT)
    if deployment.load_balancing.session_affinity.enabled:
        faults.append("load_balancing.session_affinity: KServe creates the services; remove it")
    scaling = resources.autoscaling
    if scaling is not None and scaling.enabled:
        if resources.min_replicas not in (None, resources.replicas):
            faults.append(
                f"resources.replicas: KServe begins with min_replicas, {resources.min_replicas}, and not with "
                f"{resources.replicas}; declare one number for both"
            )
        if scaling.cpu_utilization is not None or scaling.memory_utilization is not None:
            faults.append(
                "resources.autoscaling: KServe scales by one metric; use metric: cpu with target_value, "
                "and remove cpu_utilization and memory_utilization"
            )
        if scaling.target_value != round(scaling.target_value):
            faults.append(
                f"resources.autoscaling.target_value: KServe takes whole numbers, not {scaling.target_value:g}"
            )
    return faults + _scaling_faults(deployment)


def _weighted_split_faults(deployment: Deployment) -> list[str]:
    """Fields that no proxy that splits by weight supports."""
    balancing = deployment.load_balancing
    faults = []
    if deployment.is_sticky:
        faults.append(f"routing.key: {NOT_STICKY_REASON}")
    faults += field_faults("routing", deployment.routing, {"deadline_ms": NO_FALLBACK_REASON})
    if balancing.algorithm == "least-connections":
        faults.append(f"load_balancing.algorithm: {GATEWAY_BALANCES_REASON}")
    if balancing.geo_routing.enabled:
        faults.append(f"load_balancing.geo_routing: {GATEWAY_BALANCES_REASON}")
    if deployment.rollback.drill is not None:
        faults.append("rollback.drill: a drill times the embedded gateway only; remove it")
    faults += field_faults("load_balancing", balancing, {"health_check_interval": KUBELET_PROBES_REASON})
    if deployment.cache.enabled:
        faults.append(f"cache.enabled: {CACHE_PER_GATEWAY_REASON}")
    return faults


def _scaling_faults(deployment: Deployment) -> list[str]:
    """Utilization without a resource request, and bounds of replicas without autoscaling."""
    resources, scaling = deployment.resources, deployment.resources.autoscaling
    if scaling is None or not scaling.enabled:
        why = "it needs autoscaling; declare autoscaling, or use replicas"
        return field_faults("resources", resources, {"min_replicas": why, "max_replicas": why})
    percentages = {"cpu": scaling.cpu_utilization, "memory": scaling.memory_utilization}
    if scaling.metric == "cpu":
        percentages["cpu"] = round(scaling.target_value)
    return [
        f"resources.autoscaling: the percentage of {kind} is relative to {kind}_request; declare it"
        for kind, percent in percentages.items()
        if percent is not None and not getattr(resources, f"{kind}_request")
    ]
