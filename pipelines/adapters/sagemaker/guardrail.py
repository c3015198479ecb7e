"""Builds the ``DeploymentConfig`` of a guarded update: how traffic shifts and which alarms roll it back."""

from __future__ import annotations

from typing import Any

from pipelines.errors import Refused
from pipelines.spec.deployment import Deployment, SageMaker
from pipelines.spec.strategy import BlueGreen, Canary

INSTANCE_START_SECONDS = 1800
"""Time allowed for instances to start and stop, in addition to all waits."""
MIN_TIMEOUT, MAX_TIMEOUT = 600, 28800
"""Seconds that SageMaker accepts as time limit of a whole update."""


def guarded_config(deployment: Deployment) -> dict[str, Any]:
    """``DeploymentConfig`` of an update: all at once, canary (two stages) or linear (even stages), as declared."""
    target = deployment.target
    assert isinstance(target, SageMaker)
    if not target.alarms:
        raise Refused("deployment.target.alarms: a guarded update without an alarm cannot fail; name an alarm")
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": _traffic_routing(deployment, target),
            "TerminationWaitInSeconds": _termination_wait_seconds(deployment),
            "MaximumExecutionTimeoutInSeconds": _max_update_seconds(deployment, target),
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in target.alarms]},
    }


def immediate_config() -> dict[str, Any]:
    """``DeploymentConfig`` of a rollback: all at once, without waits, and without alarms that could stop it."""
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 0}}


def longest_update_seconds(deployment: Deployment) -> float:
    """Seconds that an update and SageMaker's own rollback may take together."""
    assert isinstance(deployment.target, SageMaker)
    return _max_update_seconds(deployment, deployment.target) + INSTANCE_START_SECONDS


def _traffic_routing(deployment: Deployment, target: SageMaker) -> dict[str, Any]:
    if deployment.strategy == "canary":
        canary = deployment.canary or Canary()
        shares = canary.shares()
        size = {"Type": "CAPACITY_PERCENT", "Value": shares[0] // 100}
        named = {"CanarySize": size} if len(shares) == 1 else {"LinearStepSize": size}
        kind = "CANARY" if len(shares) == 1 else "LINEAR"
        return {"Type": kind, "WaitIntervalInSeconds": int(canary.increment_interval), **named}
    if deployment.strategy == "blue_green":
        trial = deployment.blue_green or BlueGreen()
        size = {"Type": "CAPACITY_PERCENT", "Value": int(trial.test_traffic_percentage)}
        return {"Type": "CANARY", "WaitIntervalInSeconds": int(trial.validation_duration), "CanarySize": size}
    return {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": target.bake}


def _termination_wait_seconds(deployment: Deployment) -> int:
    return int(deployment.rollback.window)


def _max_update_seconds(deployment: Deployment, target: SageMaker) -> int:
    routing = _traffic_routing(deployment, target)
    step: int = routing.get("LinearStepSize", {}).get("Value", 100)
    waits = -(-100 // step)
    whole: int = (
        waits * routing["WaitIntervalInSeconds"] + _termination_wait_seconds(deployment) + INSTANCE_START_SECONDS
    )
    return min(max(whole, MIN_TIMEOUT), MAX_TIMEOUT)
