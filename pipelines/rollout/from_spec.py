"""Turns a model's ``deployment`` into the target's plan and the limits of the analysis."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from pipelines.errors import Refused
from pipelines.messages.rollout import WatchLimit
from pipelines.rollout.analysis import AnalysisPlan, make_analysis_plan
from pipelines.rollout.error_budget import error_budget
from pipelines.rollout.plan import RolloutPlan
from pipelines.spec.deployment import Deployment
from pipelines.spec.model import ModelSpec
from pipelines.spec.strategy import ERRORS_TO_CHAMPION, LATENCY_TO_CHAMPION, BlueGreen, Canary, MetricSpec

BAD_EVENT = "bad"
"""The event of an answer that is an error, is invalid, or came after the deadline."""
BEYOND_P99_EVENT = "beyond_p99"
"""The event of an answer that was slower than the champion's 99th percentile of the minute before."""
UNREACHABLE_MAX_SHARE = 0.99
"""Limit on slow answers that no working version exceeds: the target counts slow answers without enforcing a limit."""


def slow_event(over_ms: float) -> str:
    """Name of the event of an answer that took longer than ``over_ms`` milliseconds."""
    return f"slow_{over_ms:g}"


def target_plan(spec: ModelSpec, *, supersede: bool = False) -> dict[str, Any]:
    """The plan of a rollout that the target enforces by itself.

    ``supersede`` ends a rollout that is still active.
    """
    declared = spec.deployment
    limits = [
        {"over_ms": metric.over_ms, "max_share": metric.max_rate or UNREACHABLE_MAX_SHARE}
        for metric in declared.analysis.metrics
        if metric.over_ms is not None
    ]
    routing: dict[str, Any] = {
        "key": declared.routing.key,
        "segments": [rule.model_dump() for rule in declared.routing.segments],
    }
    if declared.ab is not None and declared.ab.experiment_id:
        routing["salt"] = declared.ab.experiment_id
    shadow = declared.shadow_plan
    watch = {"seconds": declared.watch_seconds, "max_error_rate": declared.rollback.error_threshold}
    plan: dict[str, Any] = {
        "strategy": "shadow" if declared.strategy == "all_at_once" and shadow else declared.strategy,
        "lease_seconds": declared.lease,
        "watch": watch,
        "guard": {"max_error_rate": declared.error_threshold, "latency": limits, "alpha": error_budget(declared).guard},
        "routing": routing,
        "comparison": {"tolerance": shadow.tolerance if shadow else 0.05, "threshold": spec.evaluation.threshold},
        "deadline_ms": declared.routing.deadline_ms,
    }
    return plan | ({"supersede": True} if supersede else {})


def plan_faults(spec: ModelSpec) -> list[str]:
    """Every reason why the declared rollout could not fail, be decided, or be executed; empty if it can."""
    faults = msgspec.convert(target_plan(spec), RolloutPlan).faults()
    if not spec.deployment.compares_versions:
        return faults
    try:
        analysis_plan(spec.deployment)
    except Refused as error:
        faults += error.reasons or [error.subject]
    return faults


def analysis_plan(deployment: Deployment) -> AnalysisPlan:
    """The limits of each stage: the strategy's ``error_threshold``, the comparison with the champion, and those of
    ``analysis.metrics``.

    Raises ``Refused`` with every reason for limits that cannot be decided.
    """
    analysis = deployment.analysis
    metrics: list[dict[str, Any]] = [
        {"name": "error_rate", "event": BAD_EVENT, "role": "guardrail", "max_rate": deployment.error_threshold}
    ]
    for metric in analysis.metrics:
        metrics += _limits(metric)
    metrics += _default_comparisons(deployment)
    return make_analysis_plan(
        {
            "metrics": metrics,
            "unit": counted_unit(deployment),
            "sticky": deployment.is_sticky,
            "alpha": error_budget(deployment).analysis or analysis.alpha,
            "srm_alpha": analysis.srm_alpha,
            "minimum_units": analysis.minimum_units,
            "stages": max(1, len(deployment.shares())),
        },
        measured={
            BAD_EVENT,
            BEYOND_P99_EVENT,
            *(slow_event(metric.over_ms) for metric in analysis.metrics if metric.over_ms is not None),
        },
    )


def _default_comparisons(deployment: Deployment) -> list[dict[str, Any]]:
    """Comparisons with the champion that need no declaration; a declared comparison of bad answers takes the place of
    that of errors. Slow answers are compared where the target counts them."""
    analysis = deployment.analysis
    compares_errors = any(m.event == BAD_EVENT and (m.max_ratio or m.fail_ratio) for m in analysis.metrics)
    comparisons: list[dict[str, Any]] = []
    if analysis.error_ratio is not None and not compares_errors:
        comparisons.append({"name": ERRORS_TO_CHAMPION, "event": BAD_EVENT, "fail_ratio": analysis.error_ratio})
    if analysis.slow_ratio is not None and deployment.guards_itself:
        comparisons.append(
            {
                "name": LATENCY_TO_CHAMPION,
                "event": BEYOND_P99_EVENT,
                "fail_ratio": analysis.slow_ratio,
                "required": False,
            }
        )
    return [comparison | {"role": "deterioration"} for comparison in comparisons]


def watch_limits(deployment: Deployment) -> list[WatchLimit]:
    """The limits of a promoted version: on bad answers, and on answers that are slower than declared."""
    slow = [metric for metric in deployment.analysis.metrics if metric.over_ms is not None and metric.max_rate]
    return [
        WatchLimit(max_share=deployment.promoted_error_threshold),
        *(WatchLimit(max_share=float(metric.max_rate or 0), over_ms=metric.over_ms) for metric in slow),
    ]


def watch_alpha(deployment: Deployment, step: int) -> float:
    """Chance of a false alarm of the watch after the promotion, which is stage ``step``: the guard's part.

    Where the target guards itself it judges the same counts at the stage's share of alpha: the same threshold here
    costs nothing more.
    """
    guard = error_budget(deployment).guard
    return guard * 6 / (math.pi * max(1, step)) ** 2 if deployment.guards_itself else guard


def counted_unit(deployment: Deployment) -> str:
    """The declared unit; by default keys where the gateway keeps users in their arm or has segment rules."""
    keys = deployment.guards_itself and (deployment.is_sticky or deployment.routing.segments)
    default = "key" if keys else "request"
    return deployment.analysis.unit or default


def bake_seconds(deployment: Deployment) -> float:
    """Minimum duration of each stage."""
    if deployment.strategy == "blue_green":
        return (deployment.blue_green or BlueGreen()).validation_duration
    return (deployment.canary or Canary()).increment_interval


def max_stage_seconds(deployment: Deployment) -> float:
    """Time after which a stage must have been decided."""
    if deployment.strategy == "blue_green":
        declared = deployment.blue_green or BlueGreen()
        return declared.max_duration or 2 * declared.validation_duration
    return (deployment.canary or Canary()).max_step_duration


def idle_lease_seconds(deployment: Deployment) -> float:
    """Seconds that a candidate without traffic may wait for the next task, including the time for approvals."""
    return deployment.lease + (deployment.approval.timeout if deployment.approval.requires_approval else 0.0)


def _limits(metric: MetricSpec) -> list[dict[str, Any]]:
    """One metric's limits for the analysis: a guardrail must pass, a deterioration can only fail."""
    event = BAD_EVENT if metric.over_ms is None else slow_event(metric.over_ms)
    metrics: list[dict[str, Any]] = []
    if metric.role == "guardrail" and (metric.max_rate is not None or metric.max_ratio is not None):
        limits = {"max_rate": metric.max_rate, "max_ratio": metric.max_ratio}
        if metric.max_ratio is not None:
            limits["fail_ratio"] = metric.fail_ratio or 1.0
        metrics.append({"name": metric.name, "event": event, "role": "guardrail", **limits})
    if metric.fail_ratio is not None and (metric.role == "deterioration" or metric.max_ratio is None):
        name = f"{metric.name}_ratio" if metrics else metric.name
        metrics.append({"name": name, "event": event, "role": "deterioration", "fail_ratio": metric.fail_ratio})
    return metrics
