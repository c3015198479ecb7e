"""Lists each declared field of a deployment that its strategy never uses, with what to declare instead."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.spec.declared import field_faults
from pipelines.spec.deployment import Deployment
from pipelines.spec.strategy import MetricSpec

STAGED = ("canary", "blue_green")
"""Strategies whose stages are judged by counts of both versions."""
STAGES_REASON = "only stages of a canary or a blue-green trial are judged by it; remove it, or use strategy: canary"
ALARMS_REASON = "in mode guardrail the alarms judge; remove it"
STEPS_REASON = "steps stand in its place; remove one of them"


def strategy_faults(deployment: Deployment) -> list[str]:
    """Faults without ``deployment.``, each as ``<place>: <reason>``."""
    faults = _rollback_faults(deployment) + _switched_off_faults(deployment) + _canary_faults(deployment)
    if deployment.is_delegated_to_target:
        return faults + _unjudged_faults(deployment)
    return faults + _analysis_faults(deployment) + _metric_faults(deployment) + _routing_faults(deployment)


def _analysis_faults(deployment: Deployment) -> list[str]:
    reasons: dict[str, str] = {}
    if deployment.strategy not in STAGED:
        reasons |= dict.fromkeys(("unit", "minimum_units", "srm_alpha", "error_ratio", "slow_ratio"), STAGES_REASON)
    if deployment.strategy == "ab":
        reasons |= {
            "unit": "an experiment counts users; remove it",
            "minimum_units": "use ab.minimum_sample_size",
            "srm_alpha": "use ab.srm_alpha",
        }
    elif deployment.analysis.unit == "key" and not deployment.guards_itself:
        reasons["unit"] = "this target counts requests; use request, or remove it"
    elif deployment.analysis.unit == "key" and not (deployment.is_sticky or deployment.routing.segments):
        reasons["unit"] = "with routing.key: request_id each request is a key of its own; remove it"
    if deployment.strategy in STAGED:
        reasons |= _comparison_reasons(deployment)
    sized = ("expected_ratio",) if deployment.shadow_plan is not None else ("expected_ratio", "expected_rate")
    if not deployment.shares():
        reasons |= dict.fromkeys(
            sized, "no stage gives a candidate callers' requests; remove it, or use strategy: canary"
        )
    elif deployment.ab is not None and "error_rate" not in deployment.ab.metrics:
        reasons |= dict.fromkeys(sized, "only error_rate needs it, which is not among ab.metrics; remove it")
    if not deployment.compares_versions:
        reasons["consecutive_errors"] = "nothing is compared before the switch; remove it"
        if deployment.guards_itself or not deployment.watch_seconds:
            reasons["interval"] = "nothing is compared before the switch, and the gateway itself watches; remove it"
        if deployment.load_test is None and not deployment.watch_seconds:
            reasons["alpha"] = "nothing is tested, compared or watched; remove it"
    return field_faults("analysis", deployment.analysis, reasons)


def _comparison_reasons(deployment: Deployment) -> dict[str, str]:
    """Comparisons with the champion that the target cannot make, or that another metric makes."""
    reasons, analysis = {}, deployment.analysis
    if not deployment.guards_itself:
        reasons["slow_ratio"] = "this target does not count answers slower than the champion's; remove it"
    comparing = [m.name for m in analysis.metrics if m.event == "bad" and (m.max_ratio or m.fail_ratio)]
    if comparing:
        reasons["error_ratio"] = f"metrics.{comparing[0]} compares bad answers in its place; remove it"
    elif analysis.error_ratio is None:
        reasons["expected_ratio"] = "nothing compares bad answers; remove it, or declare error_ratio"
    return reasons


def _metric_faults(deployment: Deployment) -> list[str]:
    """Limits that neither a stage, nor the guard, nor the watch of a promoted version enforces."""
    unused = _unused_limits_of_stages if deployment.strategy in STAGED else _unjudged_limits
    return [
        f"analysis.metrics.{metric.name}: {reason}"
        for metric in deployment.analysis.metrics
        for reason in unused(metric, deployment)
    ]


def _unused_limits_of_stages(metric: MetricSpec, deployment: Deployment) -> Iterable[str]:
    enforced = deployment.guards_itself or deployment.watch_seconds
    if metric.role == "deterioration" and metric.max_rate is not None and not enforced:
        yield "max_rate: nobody watches the version after its promotion; remove it, or use role: guardrail"


def _unjudged_limits(metric: MetricSpec, deployment: Deployment) -> Iterable[str]:
    """Without stages only limits on slow answers act, by the guard and by the watch."""
    ratios = [name for name in ("max_ratio", "fail_ratio") if getattr(metric, name) is not None]
    if ratios:
        yield f"{' and '.join(ratios)}: {STAGES_REASON}"
    if metric.event == "bad":
        limit = "ab.error_threshold" if deployment.strategy == "ab" else "rollback.error_threshold"
        yield f"bad answers are limited by {limit}; remove it"
    elif deployment.strategy != "ab" and not deployment.watch_seconds:
        yield "nobody watches the version after its promotion; declare rollback.window, or remove it"


def _routing_faults(deployment: Deployment) -> list[str]:
    if deployment.shares():
        return []
    whole = "no request is routed by it, because all callers get one version; remove it"
    return field_faults("routing", deployment.routing, dict.fromkeys(("key", "segments"), whole))


def _rollback_faults(deployment: Deployment) -> list[str]:
    declared, reasons = deployment.rollback, {}
    if declared.drill is None:
        reasons["max_seconds"] = "it limits a drill, and none is declared; declare rollback.drill, or remove it"
    if deployment.is_delegated_to_target:
        reasons |= dict.fromkeys(("automatic", "error_threshold"), ALARMS_REASON)
    elif not declared.window:
        unwatched = "nobody watches the version after its promotion; declare a rollback.window, or remove it"
        reasons |= dict.fromkeys(("automatic", "error_threshold"), unwatched)
    elif not declared.automatic:
        reasons["error_threshold"] = "nobody watches the version after its promotion; declare automatic: true"
    return field_faults("rollback", declared, reasons)


def _canary_faults(deployment: Deployment) -> list[str]:
    canary = deployment.canary
    if canary is None:
        return []
    if canary.steps is not None:
        names = ("canary_percentage", "increment_percentage", "max_percentage")
        return field_faults("canary", canary, dict.fromkeys(names, STEPS_REASON))
    if len(canary.shares()) > 1:
        return []
    return field_faults("canary", canary, {"increment_percentage": "the first stage is the largest; remove it"})


def _unjudged_faults(deployment: Deployment) -> list[str]:
    """What the deploy run would judge, where SageMaker's alarms do."""
    faults = field_faults(
        "analysis", deployment.analysis, dict.fromkeys(type(deployment.analysis).model_fields, ALARMS_REASON)
    )
    for place, block in (("canary", deployment.canary), ("blue_green", deployment.blue_green)):
        names = ("error_threshold", "max_step_duration", "max_duration")
        faults += field_faults(place, block, dict.fromkeys(names, ALARMS_REASON))
    if deployment.canary is not None and len(deployment.canary.shares()) > 1:
        even = "SageMaker goes on by even steps to 100 percent; remove it"
        faults += field_faults("canary", deployment.canary, {"max_percentage": even})
    if deployment.strategy != "all_at_once":
        waits = "canary.increment_interval" if deployment.strategy == "canary" else "blue_green.validation_duration"
        faults += field_faults("target", deployment.target, {"bake": f"it is that of all_at_once; use {waits}"})
    return faults


def _switched_off_faults(deployment: Deployment) -> list[str]:
    """Details of a block that is off: by its default, or by ``enabled: false``."""
    balancing, scaling, approval = deployment.load_balancing, deployment.resources.autoscaling, deployment.approval
    off = "it is off; declare enabled: true, or remove it"
    blocks = (
        ("load_balancing.session_affinity", balancing.session_affinity, off),
        ("load_balancing.geo_routing", balancing.geo_routing, "it is off, and no target has it; remove it"),
        ("cache", deployment.cache, "it is off; declare the cache in gateway.yaml, and remove it here"),
        ("resources.autoscaling", scaling, off),
    )
    faults: list[str] = []
    for place, block, reason in blocks:
        if block is not None and not block.enabled:
            details = sorted(block.model_fields_set - {"enabled"})
            faults += field_faults(place, block, dict.fromkeys(details, reason))
    if not approval.requires_approval:
        nobody = "nobody is asked; declare requires_approval: true, or remove it"
        faults += field_faults("approval", approval, dict.fromkeys(("approvers", "approval_count", "timeout"), nobody))
    return faults
