"""Lists each declared field of a deployment that SageMaker does not support, with the reason."""

from __future__ import annotations

from pipelines.spec.declared import field_faults
from pipelines.spec.deployment import Deployment, SageMaker
from pipelines.spec.strategy import BlueGreen, Canary

MAX_WAIT_SECONDS = 3600
"""Maximum seconds that SageMaker waits between two stages and before old instances stop."""
MAX_UPDATE_SECONDS = 28800
"""Maximum seconds of a whole update."""
MIN_LINEAR_PERCENT = 10
"""Minimum percent of an even stage."""


def sagemaker_faults(deployment: Deployment, target: SageMaker) -> list[str]:
    """Faults without ``deployment.``, each as ``<place>: <reason>``."""
    faults = (
        _routing_faults(deployment)
        + _probe_faults(deployment)
        + _resource_faults(deployment)
        + _balancing_faults(deployment)
    )
    if deployment.strategy == "ab":
        faults.append("strategy: SageMaker cannot keep a user in an arm, so ab is not valid; use canary")
    if deployment.shadow_plan is not None:
        faults.append("shadow: the answers of SageMaker's shadow variants are not compared; use another target")
    if deployment.cache.enabled:
        faults.append("cache.enabled: each instance would have its own cache; remove it")
    if deployment.load_test is not None:
        faults.append("load_test: AWS needs signed requests; use SageMaker's Inference Recommender")
    if deployment.rollback.drill is not None:
        faults.append("rollback.drill: AWS takes tens of seconds for a rollback; remove it, or use the embedded target")
    return faults + (
        _guardrail_mode_faults(deployment, target) if target.mode == "guardrail" else _variants_mode_faults(target)
    )


def _routing_faults(deployment: Deployment) -> list[str]:
    faults = field_faults(
        "routing",
        deployment.routing,
        {"deadline_ms": "the champion does not answer for a late candidate; AWS stops after 60 s; remove it"},
    )
    if deployment.is_sticky:
        faults.append(
            f"routing.key: SageMaker draws a variant for each request; use request_id, not {deployment.routing.key}"
        )
    if deployment.routing.segments:
        faults.append("routing.segments: SageMaker reads no headers; callers may name a variant (TargetVariant)")
    return faults


def _probe_faults(deployment: Deployment) -> list[str]:
    fixed = "SageMaker requests /ping at its own interval; remove it"
    names = ("path", "interval", "timeout", "success_threshold", "failure_threshold")
    faults = field_faults("health_check", deployment.health_check, dict.fromkeys(names, fixed))
    if not deployment.health_check.enabled:
        faults.append("health_check.enabled: SageMaker always requests /ping; use true")
    delay = deployment.health_check.initial_delay
    if delay and not 60 <= delay <= MAX_WAIT_SECONDS:
        faults.append(f"health_check.initial_delay: it must be 60 to {MAX_WAIT_SECONDS} s on SageMaker, not {delay}")
    return faults


def _resource_faults(deployment: Deployment) -> list[str]:
    size, scaling = deployment.resources, deployment.resources.autoscaling
    reason = "SageMaker sizes whole instances; use target.instance_type"
    names = ("cpu_request", "cpu_limit", "memory_request", "memory_limit")
    faults = field_faults("resources", size, dict.fromkeys(names, reason))
    if size.accelerator != "none":
        faults.append("resources.accelerator: the gateway predicts on the CPU; use none")
    if scaling is None or not scaling.enabled:
        reason = "it needs autoscaling; remove it, or declare autoscaling"
        return faults + field_faults("resources", size, dict.fromkeys(("min_replicas", "max_replicas"), reason))
    reason = "SageMaker scales by requests; use metric: requests-per-second with target_value"
    faults += field_faults(
        "resources.autoscaling", scaling, dict.fromkeys(("cpu_utilization", "memory_utilization"), reason)
    )
    if scaling.metric != "requests-per-second":
        faults.append(f"resources.autoscaling.metric: {reason}")
    return faults


def _balancing_faults(deployment: Deployment) -> list[str]:
    balancing = deployment.load_balancing
    faults = field_faults("load_balancing", balancing, {"health_check_interval": "SageMaker sets it; remove it"})
    if "algorithm" in balancing.model_fields_set and balancing.algorithm == "round-robin":
        faults.append("load_balancing.algorithm: SageMaker draws at random; use least-connections or remove it")
    if balancing.session_affinity.enabled:
        faults.append("load_balancing.session_affinity: all instances are alike; remove it")
    if balancing.geo_routing.enabled:
        faults.append("load_balancing.geo_routing: an endpoint is in one region; remove it")
    return faults


def _variants_mode_faults(target: SageMaker) -> list[str]:
    reason = "in mode variants the analysis judges; alarms need mode: guardrail"
    return field_faults("target", target, {"alarms": reason, "bake": "it needs mode: guardrail"})


def _guardrail_mode_faults(deployment: Deployment, target: SageMaker) -> list[str]:
    faults = []
    if not target.alarms:
        faults.append("target.alarms: a guarded update without an alarm cannot fail; declare 1 to 10")
    if len(target.alarms) > 10:
        faults.append(f"target.alarms: SageMaker takes up to 10 alarms, not {len(target.alarms)}")
    if deployment.rollback.window > MAX_WAIT_SECONDS:
        faults.append(f"rollback.window: SageMaker keeps old instances {MAX_WAIT_SECONDS} s; use mode: variants")
    if deployment.strategy == "canary":
        faults += _linear_faults(deployment, deployment.canary or Canary())
    if deployment.strategy == "blue_green":
        trial = deployment.blue_green or BlueGreen()
        faults += _stage_faults(deployment, "blue_green", [trial.test_traffic_percentage], trial.validation_duration)
    return faults


def _linear_faults(deployment: Deployment, canary: Canary) -> list[str]:
    shares = [share / 100 for share in canary.shares()]
    faults = _stage_faults(deployment, "canary", shares, canary.increment_interval)
    if len(shares) == 1:
        return faults
    if any(abs(share - shares[0] * place) > 1e-9 for place, share in enumerate(shares, start=1)):
        steps = ", ".join(f"{share:g}" for share in shares)
        faults.append(f"canary: steps {steps} are not even; use one step, or even ones such as 10, 20, 30")
    if shares[0] < MIN_LINEAR_PERCENT:
        faults.append(f"canary: an even step has at least {MIN_LINEAR_PERCENT} percent, not {shares[0]:g}")
    waits = -(-100 // shares[0]) * canary.increment_interval
    if waits > MAX_UPDATE_SECONDS:
        faults.append(f"canary: all steps to 100 percent take {waits:g} s; the maximum is {MAX_UPDATE_SECONDS} s")
    return faults


def _stage_faults(deployment: Deployment, place: str, shares: list[float], interval: float) -> list[str]:
    faults = []
    if interval > MAX_WAIT_SECONDS:
        faults.append(f"{place}: SageMaker waits {MAX_WAIT_SECONDS} s at most, not {interval:g}; or say mode: variants")
    if any(share != round(share) for share in shares):
        faults.append(f"{place}: SageMaker takes whole percents only; or say mode: variants")
    if deployment.resources.replicas < 2:
        faults.append("resources.replicas: SageMaker shifts whole instances, at most half of them first; use 2 or more")
    return faults
