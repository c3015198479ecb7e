"""Lists each declared field of a deployment that its target or its strategy has no use for, with the reason."""

from __future__ import annotations

from pipelines.spec.declared import field_faults
from pipelines.spec.deployment import Deployment, Embedded, HttpRoute, KServe, SageMaker
from pipelines.spec.kubernetes_faults import http_route_faults, kserve_faults
from pipelines.spec.sagemaker_faults import sagemaker_faults
from pipelines.spec.strategy_faults import strategy_faults


def deployment_faults(deployment: Deployment) -> list[str]:
    """Each declared field that would do nothing, with one reason or what to do instead."""
    faults = _general_faults(deployment)
    if isinstance(deployment.target, Embedded):
        faults += _embedded_faults(deployment)
    elif isinstance(deployment.target, HttpRoute):
        faults += http_route_faults(deployment, deployment.target)
    elif isinstance(deployment.target, KServe):
        faults += kserve_faults(deployment)
    elif isinstance(deployment.target, SageMaker):
        faults += sagemaker_faults(deployment, deployment.target)
    places = tuple(fault.partition(":")[0] for fault in faults)
    faults += [
        fault
        for fault in strategy_faults(deployment)
        if not any(f"{fault.partition(':')[0]}.".startswith(f"{place}.") for place in places)
    ]
    return [f"deployment.{fault}" for fault in faults]


def _general_faults(deployment: Deployment) -> list[str]:
    cache, faults = deployment.cache, []
    if cache.backend == "redis":
        faults.append("cache.backend: a call to redis takes longer than the prediction it would save; use memory")
    if cache.key_pattern is not None:
        faults.append("cache.key_pattern: a key without version and rows would match another version; remove it")
    return faults


def _embedded_faults(deployment: Deployment) -> list[str]:
    kernel = "the workers share one socket and the kernel distributes its connections; remove it"
    machine = "the embedded gateway has no replicas; remove it, or use target: {kind: http_route, …}"
    process = "one gateway serves every model; limit its process in the operating system"
    supervisor = "the gateway's supervisor watches its workers and replaces a dead one at once; remove it"
    faults = field_faults(
        "resources",
        deployment.resources,
        dict.fromkeys(("min_replicas", "max_replicas", "autoscaling"), machine)
        | dict.fromkeys(("cpu_request", "cpu_limit", "memory_request", "memory_limit"), process),
    )
    if deployment.resources.accelerator == "gpu":
        faults.append("resources.accelerator: the gateway predicts on the CPU; use none")
    faults += field_faults(
        "health_check",
        deployment.health_check,
        dict.fromkeys(
            ("path", "interval", "timeout", "success_threshold", "failure_threshold", "initial_delay"), supervisor
        ),
    )
    if not deployment.health_check.enabled:
        faults.append(f"health_check.enabled: {supervisor}")
    faults += field_faults(
        "load_balancing", deployment.load_balancing, dict.fromkeys(("algorithm", "health_check_interval"), kernel)
    )
    if deployment.load_balancing.session_affinity.enabled:
        faults.append("load_balancing.session_affinity: all workers are alike; routing.key keeps users in their arm")
    if deployment.load_balancing.geo_routing.enabled:
        faults.append("load_balancing.geo_routing: the embedded gateway runs on one machine; remove it")
    if deployment.cache.enabled:
        faults.append("cache.enabled: the embedded gateway keeps one cache for all models; declare it in gateway.yaml")
    return faults
