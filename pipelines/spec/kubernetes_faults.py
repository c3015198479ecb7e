"""Lists, field by field and with the reason, what a model declares that an HTTPRoute or KServe cannot do."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from pipelines.spec.deployment import Deployment, HttpRoute

NOT_STICKY = "weights are drawn anew for each request, so nobody keeps an arm; say request_id, or serve on embedded"
NO_FALLBACK = "no proxy answers in the candidate's place; serve on embedded, or leave it out"
GATEWAY_BALANCES = "the Gateway's implementation balances, and has its own policy for that; leave it out"
KUBELET_PROBES = "the kubelet probes every pod; say health_check.interval"
CACHE_PER_GATEWAY = "each gateway keeps its own; declare it in the gateway.yaml that the pods mount"


def http_route_faults(deployment: Deployment, target: HttpRoute) -> list[str]:
    """Faults without ``deployment.``, each as ``<place>: <reason>``."""
    faults = _weighted_faults(deployment)
    if deployment.load_test is not None and target.url is None:
        faults.append("load_test: say where the Gateway answers, by target.url")
    resources, shadow = deployment.resources, deployment.shadows
    if resources.accelerator == "gpu":
        faults.append("resources.accelerator: the gateway predicts on the CPU; say none")
    if not deployment.health_check.enabled:
        faults.append("health_check.enabled: a pod without a probe gets requests before it can answer; leave it true")
    if shadow is not None:
        faults.append(
            "shadow: a mirrored request's answer is thrown away by the proxy, so nothing can be compared; "
            "shadow the candidate on embedded first"
        )
    return faults + _scaling_faults(deployment)


def kserve_faults(deployment: Deployment) -> list[str]:
    """Faults without ``deployment.``, each as ``<place>: <reason>``."""
    faults = _weighted_faults(deployment)
    if deployment.load_test is not None:
        faults.append("load_test: KServe has no door to a candidate without traffic; try it on embedded")
    resources, health = deployment.resources, deployment.health_check
    if deployment.shadows is not None:
        faults.append("shadow: KServe mirrors no requests; shadow the candidate on embedded first")
    if deployment.routing.segments:
        faults.append("routing.segments: KServe splits by weight alone; leave them out, or say kind: http_route")
    if fractions := [share for share in deployment.shares() if share % 100]:
        percents = ", ".join(f"{share / 100:g} %" for share in fractions)
        faults.append(f"{deployment.strategy}: KServe splits by whole percents, not by {percents}")
    if not health.enabled:
        faults.append("health_check.enabled: a pod without a probe gets requests before it can answer; leave it true")
    if health.model_fields_set - {"enabled", "path"} and "path" not in health.model_fields_set:
        faults.append("health_check.path: name the page by which the runtime says ready, such as /v2/health/ready")
    if deployment.load_balancing.session_affinity.enabled:
        faults.append("load_balancing.session_affinity: KServe makes the services; leave it out")
    scaling = resources.autoscaling
    if scaling is not None and scaling.enabled:
        if scaling.cpu_utilization is not None or scaling.memory_utilization is not None:
            faults.append(
                "resources.autoscaling: KServe scales by one metric; say metric: cpu with target_value, "
                "and leave cpu_utilization and memory_utilization out"
            )
        if scaling.target_value != round(scaling.target_value):
            faults.append(
                f"resources.autoscaling.target_value: KServe takes whole numbers, not {scaling.target_value:g}"
            )
    return faults + _scaling_faults(deployment)


def _weighted_faults(deployment: Deployment) -> list[str]:
    """What no proxy that splits by weight can do."""
    balancing = deployment.load_balancing
    faults = []
    if deployment.sticky:
        faults.append(f"routing.key: {NOT_STICKY}")
    faults += _field_faults("routing", deployment.routing, {"deadline_ms": NO_FALLBACK})
    if balancing.algorithm == "least-connections":
        faults.append(f"load_balancing.algorithm: {GATEWAY_BALANCES}")
    if balancing.geo_routing.enabled:
        faults.append(f"load_balancing.geo_routing: {GATEWAY_BALANCES}")
    if deployment.rollback.drill is not None:
        faults.append("rollback.drill: a drill times the installation's own gateway; leave it out")
    faults += _field_faults("load_balancing", balancing, {"health_check_interval": KUBELET_PROBES})
    if deployment.cache.enabled:
        faults.append(f"cache.enabled: {CACHE_PER_GATEWAY}")
    return faults


def _scaling_faults(deployment: Deployment) -> list[str]:
    """Percentages of a request need a request; replicas that nobody scales need no bounds."""
    resources, scaling = deployment.resources, deployment.resources.autoscaling
    if scaling is None or not scaling.enabled:
        why = "nothing scales between them; declare autoscaling, or say replicas"
        return _field_faults("resources", resources, {"min_replicas": why, "max_replicas": why})
    percentages = {"cpu": scaling.cpu_utilization, "memory": scaling.memory_utilization}
    if scaling.metric == "cpu":
        percentages["cpu"] = round(scaling.target_value)
    return [
        f"resources.autoscaling: a percentage of {kind} is one of {kind}_request; declare it"
        for kind, percent in percentages.items()
        if percent is not None and not getattr(resources, f"{kind}_request")
    ]


def _field_faults(place: str, block: BaseModel, reasons: Mapping[str, str]) -> list[str]:
    return [f"{place}.{name}: {reason}" for name, reason in reasons.items() if name in block.model_fields_set]
