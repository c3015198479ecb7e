"""Turns a model's ``deployment`` into the target's plan and the limits of the analysis."""

from __future__ import annotations

from typing import Any

from pipelines.rollout.analysis import AnalysisPlan, make_plan
from pipelines.spec.deployment import Deployment
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import BlueGreen, Canary, MetricDemand

BAD = "bad"
"""An answer that is an error, is no answer, or came after the deadline."""
NEVER = 0.99
"""Share of slow answers that no working version reaches: the target counts them and sets no limit of its own."""


def slow(over_ms: float) -> str:
    """Name of the event of an answer that took longer than so many milliseconds."""
    return f"slow_{over_ms:g}"


def target_plan(spec: ModelSpec, *, supersede: bool = False) -> dict[str, Any]:
    """The plan that a target holds a rollout to without anybody's help.

    Half of ``analysis.alpha`` is the guard's and half is the analysis's, so that both together stay within it.
    ``supersede`` ends a rollout that still runs.
    """
    declared = spec.deployment
    limits = [
        {"over_ms": metric.over_ms, "max_share": metric.max_rate or NEVER}
        for metric in declared.analysis.metrics
        if metric.over_ms is not None
    ]
    routing: dict[str, Any] = {
        "key": declared.routing.key,
        "segments": [rule.model_dump() for rule in declared.routing.segments],
    }
    if declared.ab is not None and declared.ab.experiment_id:
        routing["salt"] = declared.ab.experiment_id
    shadow = declared.shadows
    plan: dict[str, Any] = {
        "strategy": "shadow" if declared.strategy == "all_at_once" else declared.strategy,
        "lease_seconds": declared.lease,
        "guard": {"max_error_rate": declared.error_threshold, "latency": limits, "alpha": declared.analysis.alpha / 2},
        "routing": routing,
        "comparison": {"tolerance": shadow.tolerance if shadow else 0.05, "threshold": spec.evaluation.threshold},
        "deadline_ms": declared.routing.deadline_ms,
    }
    return plan | ({"supersede": True} if supersede else {})


def analysis_plan(deployment: Deployment) -> AnalysisPlan:
    """By what each step is judged: the strategy's ``error_threshold``, and what ``analysis.metrics`` demand.

    Raises ``Refused`` with every reason for demands that cannot be decided.
    """
    demanded = deployment.analysis
    metrics: list[dict[str, Any]] = [
        {"name": "error_rate", "event": BAD, "role": "guardrail", "max_rate": deployment.error_threshold}
    ]
    for metric in demanded.metrics:
        metrics += _limits(metric)
    return make_plan(
        {
            "metrics": metrics,
            "unit": unit(deployment),
            "sticky": deployment.sticky,
            "alpha": demanded.alpha / 2,
            "srm_alpha": demanded.srm_alpha,
            "minimum_units": demanded.minimum_units,
        },
        measured={BAD, *(slow(metric.over_ms) for metric in demanded.metrics if metric.over_ms is not None)},
    )


def unit(deployment: Deployment) -> str:
    """Keys where users stick to their arm, and where segment rules take requests out of the lottery."""
    counted = "key" if deployment.sticky or deployment.routing.segments else "request"
    return deployment.analysis.unit or counted


def bake_seconds(deployment: Deployment) -> float:
    """How long each step stays at least."""
    if deployment.strategy == "blue_green":
        return (deployment.blue_green or BlueGreen()).validation_duration
    return (deployment.canary or Canary()).increment_interval


def step_seconds(deployment: Deployment) -> float:
    """Until when a step must have been decided."""
    if deployment.strategy == "blue_green":
        declared = deployment.blue_green or BlueGreen()
        return declared.max_duration or 2 * declared.validation_duration
    return (deployment.canary or Canary()).max_step_duration


def idle_lease(deployment: Deployment) -> float:
    """Seconds that a candidate without traffic may wait for the next task, and for people where they are asked."""
    return deployment.lease + (deployment.approval.timeout if deployment.approval.requires_approval else 0.0)


def _limits(metric: MetricDemand) -> list[dict[str, Any]]:
    """One demand as the statistics take it: a guardrail must pass, a deterioration can only fail."""
    event = BAD if metric.over_ms is None else slow(metric.over_ms)
    metrics: list[dict[str, Any]] = []
    if metric.role == "guardrail" and (metric.max_rate is not None or metric.max_ratio is not None):
        limits = {"max_rate": metric.max_rate, "max_ratio": metric.max_ratio}
        if metric.max_ratio is not None:
            limits["fail_ratio"] = metric.fail_ratio or 1.0
        metrics.append({"name": metric.name, "event": event, "role": "guardrail", **limits})
    if metric.fail_ratio is not None and metric.max_ratio is None:
        name = f"{metric.name}_ratio" if metrics else metric.name
        metrics.append({"name": name, "event": event, "role": "deterioration", "fail_ratio": metric.fail_ratio})
    return metrics
