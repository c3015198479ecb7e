"""What a target cannot do is refused field by field, with the reason; nothing that is declared is silently ignored."""

from __future__ import annotations

from pipelines.spec.deployment import Deployment, Embedded


def deployment_faults(deployment: Deployment) -> list[str]:
    """Every declared field that the declared target has no means for."""
    found = []
    if deployment.cache.backend == "redis":
        found.append("cache.backend redis: asking it takes longer than the prediction it would save; say memory")
    if isinstance(deployment.target, Embedded):
        found += _embedded(deployment)
    return [f"deployment.{fault}" for fault in found]


def _embedded(deployment: Deployment) -> list[str]:
    resources, found = deployment.resources, []
    if resources.autoscaling and resources.autoscaling.enabled:
        found.append("resources.autoscaling: one machine has no more replicas; say target: {kind: http_route, …}")
    return found
