"""Builds the ``DeploymentConfig`` of a guarded update: how traffic shifts and which alarms roll it back."""

from __future__ import annotations

from typing import Any

from pipelines.errors import Refused
from pipelines.spec.deployment import Deployment, SageMaker
from pipelines.spec.strategy import BlueGreen, Canary

STARTING_SECONDS = 1800
"""Allowed for instances to start and stop, on top of all waits."""
LEAST, MOST = 600, 28800
"""What SageMaker takes as time limit of a whole update."""


def guarded(deployment: Deployment) -> dict[str, Any]:
    """``DeploymentConfig`` of an update: all at once, canary (two steps) or linear (even steps), as declared."""
    target = deployment.target
    assert isinstance(target, SageMaker)
    if not target.alarms:
        raise Refused("deployment.target.alarms: a guarded update without an alarm has no way to fail; name one")
    return {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": _routing(deployment, target),
            "TerminationWaitInSeconds": _termination(deployment),
            "MaximumExecutionTimeoutInSeconds": _timeout(deployment, target),
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in target.alarms]},
    }


def back_at_once() -> dict[str, Any]:
    """``DeploymentConfig`` of a way back: nothing is waited for, and an alarm that rings already does not stop it."""
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 0}}


def longest(deployment: Deployment) -> float:
    """Seconds that an update and SageMaker's own way back may take together."""
    assert isinstance(deployment.target, SageMaker)
    return _timeout(deployment, deployment.target) + STARTING_SECONDS


def _routing(deployment: Deployment, target: SageMaker) -> dict[str, Any]:
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


def _termination(deployment: Deployment) -> int:
    return int(deployment.rollback.window)


def _timeout(deployment: Deployment, target: SageMaker) -> int:
    routing = _routing(deployment, target)
    step: int = routing.get("LinearStepSize", {}).get("Value", 100)
    waits = -(-100 // step)
    whole: int = waits * routing["WaitIntervalInSeconds"] + _termination(deployment) + STARTING_SECONDS
    return min(max(whole, LEAST), MOST)
