"""Weighs the counts of a rollout's stages into evidence, metric by metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pipelines.rollout.analysis import AnalysisPlan, MetricEvidence, MetricLimits, RolloutEvidence, StageCounts
from pipelines.statistics.e_values import (
    StageEvents,
    log_e_rate_ratio,
    log_e_sample_ratio,
    log_e_value,
    rate_ratio_interval,
)


def compute_evidence(
    plan: AnalysisPlan,
    stages: Sequence[StageCounts],
    *,
    newest: int | None = None,
    errors: Mapping[str, str] | None = None,
) -> RolloutEvidence:
    """Evidence of all stages together. ``errors`` names the events that could not be read, and why."""
    units = [StageEvents(stage.weight, stage.candidate.units, stage.champion.units) for stage in stages]
    return RolloutEvidence(
        split_log_e=log_e_sample_ratio(units),
        metrics=tuple(_metric_evidence(metric, plan, stages, errors or {}) for metric in plan.metrics),
        stages=list(stages),
        newest=newest,
    )


def _metric_evidence(
    metric: MetricLimits, plan: AnalysisPlan, stages: Sequence[StageCounts], errors: Mapping[str, str]
) -> MetricEvidence:
    if faults := _count_faults(metric.event, stages, errors):
        return MetricEvidence(metric=metric.name, faults=tuple(faults))
    counts = [
        StageEvents(stage.weight, stage.candidate.events[metric.event], stage.champion.events[metric.event])
        for stage in stages
    ]
    return MetricEvidence(
        metric=metric.name,
        candidate=sum(count.candidate for count in counts),
        candidate_units=sum(stage.candidate.units for stage in stages),
        champion=sum(count.champion for count in counts),
        champion_units=sum(stage.champion.units for stage in stages),
        **_max_rate_evidence(metric, plan, stages),
        **(_ratio_to_champion(metric, plan, counts) if metric.compares_with_champion else {}),
    )


def _count_faults(event: str, stages: Sequence[StageCounts], errors: Mapping[str, str]) -> list[str]:
    if event in errors:
        return [f"{event} could not be read: {errors[event]}"]
    faults = []
    for place, stage in enumerate(stages, start=1):
        for name, arm in (("candidate", stage.candidate), ("champion", stage.champion)):
            units = arm.events.get(event)
            if units is None:
                faults.append(f"stage {place} has no count of {event} for the {name}")
            elif units > arm.units:
                faults.append(f"stage {place} has {units} {event} among {arm.units} units of the {name}")
            elif arm.requests is not None and not 0 <= arm.request_events.get(event, -1) <= arm.requests:
                requests = arm.request_events.get(event, "no count of")
                faults.append(f"stage {place} has {requests} {event} among {arm.requests} requests of the {name}")
    return faults


def _max_rate_evidence(metric: MetricLimits, plan: AnalysisPlan, stages: Sequence[StageCounts]) -> dict[str, object]:
    """Evidence for ``max_rate``, from requests: keys that return in later stages would lower a rate of keys."""
    if metric.max_rate is None:
        return {}
    by_stage = [stage.candidate.request_counts(metric.event) for stage in stages]
    bad, requests = sum(bad for bad, _ in by_stage), sum(requests for _, requests in by_stage)
    above, below = (
        log_e_value(bad, requests, metric.max_rate, alternative=side, concentration=plan.concentration)
        for side in ("greater", "less")
    )
    return {"candidate_requests": (bad, requests), "above_log_e": above, "below_log_e": below}


def _ratio_to_champion(metric: MetricLimits, plan: AnalysisPlan, counts: Sequence[StageEvents]) -> dict[str, object]:
    low, high = rate_ratio_interval(counts, alpha=plan.alpha, concentration=plan.concentration)

    def evidence(limit: float, *, worse: bool) -> float:
        margin = limit if metric.better == "lower" else 1.0 / limit
        side: Literal["greater", "less"] = "greater" if worse == (metric.better == "lower") else "less"
        return log_e_rate_ratio(counts, margin=margin, alternative=side, concentration=plan.concentration)

    return {
        "ratio_low": low,
        "ratio_high": high if math.isfinite(high) else None,
        "worse_log_e": None if metric.fail_ratio is None else evidence(metric.fail_ratio, worse=True),
        "pass_log_e": None if metric.role == "deterioration" else evidence(metric.pass_ratio, worse=False),
    }
