"""Weighs the counts of a rollout's stages into evidence, metric by metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pipelines.rollout.analysis import (
    AnalysisPlan,
    ArmEvents,
    MetricEvidence,
    MetricLimits,
    RolloutEvidence,
    StageCounts,
)
from pipelines.statistics.e_values import (
    StageEvents,
    log_e_rate_ratio,
    log_e_sample_ratio,
    log_e_since_any_stage,
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
    return RolloutEvidence(
        split_log_e=_split_evidence(plan, stages),
        metrics=tuple(_metric_evidence(metric, plan, stages, errors or {}) for metric in plan.metrics),
        stages=list(stages),
        newest=newest,
    )


def _split_evidence(plan: AnalysisPlan, stages: Sequence[StageCounts]) -> float:
    """Evidence that the units were not split as declared, each of them once in the whole rollout.

    Keys that return are counted in every stage by a target that does not know which are new: the same keys are no new
    evidence, so that its stages are tested one by one, stage n at ``6 / (pi n)^2`` of alpha.
    """
    arms = [(stage.candidate, stage.champion) for stage in stages]
    if plan.unit == "request":
        units = [(candidate.units, champion.units) for candidate, champion in arms]
    else:
        units = [(candidate.new_units, champion.new_units) for candidate, champion in arms]  # type: ignore[misc]
    if not any(None in pair for pair in units):
        return log_e_sample_ratio([StageEvents(stage.weight, *pair) for stage, pair in zip(stages, units, strict=True)])
    by_stage = (
        log_e_sample_ratio([StageEvents(stage.weight, stage.candidate.units, stage.champion.units)])
        + math.log(6 / (math.pi * number) ** 2)
        for number, stage in enumerate(stages, start=1)
    )
    return max(0.0, *by_stage)


def _metric_evidence(
    metric: MetricLimits, plan: AnalysisPlan, stages: Sequence[StageCounts], errors: Mapping[str, str]
) -> MetricEvidence:
    candidate_units, champion_units = (sum(arm.units for arm in arms) for arms in _arms_of(stages))
    units = {"candidate_units": candidate_units, "champion_units": champion_units}
    if not metric.required and not _is_counted(metric.event, stages):
        return MetricEvidence(metric=metric.name, **units)
    if faults := _count_faults(metric.event, stages, errors):
        return MetricEvidence(metric=metric.name, faults=tuple(faults))
    counts = [
        StageEvents(stage.weight, stage.candidate.events[metric.event], stage.champion.events[metric.event])
        for stage in stages
    ]
    return MetricEvidence(
        metric=metric.name,
        candidate=sum(count.candidate for count in counts),
        champion=sum(count.champion for count in counts),
        **units,
        **(_max_rate_evidence(metric, plan, stages, counts) if metric.max_rate is not None else {}),
        **(_ratio_to_champion(metric, plan, counts) if metric.compares_with_champion else {}),
    )


def _arms_of(stages: Sequence[StageCounts]) -> tuple[list[ArmEvents], list[ArmEvents]]:
    return [stage.candidate for stage in stages], [stage.champion for stage in stages]


def _is_counted(event: str, stages: Sequence[StageCounts]) -> bool:
    return all(event in arm.events for arms in _arms_of(stages) for arm in arms)


def _count_faults(event: str, stages: Sequence[StageCounts], errors: Mapping[str, str]) -> list[str]:
    if event in errors:
        return [f"{event} could not be read: {errors[event]}"]
    faults = []
    for place, stage in enumerate(stages, start=1):
        for name, arm in (("candidate", stage.candidate), ("champion", stage.champion)):
            if event not in arm.events or (arm.stage_events and event not in arm.stage_events):
                faults.append(f"stage {place} has no count of {event} for the {name}")
            elif (units := max(arm.events[event], arm.units_with(event))) > arm.units:
                faults.append(f"stage {place} has {units} {event} among {arm.units} units of the {name}")
    return faults


def _max_rate_evidence(
    metric: MetricLimits, plan: AnalysisPlan, stages: Sequence[StageCounts], counts: Sequence[StageEvents]
) -> dict[str, object]:
    """Evidence for ``max_rate``, in which each unit and its failure count once.

    That it is broken is tested in the newest stage alone, so that good stages before it cannot hide that; that every
    stage has a chance of a false alarm is paid for by ``plan.stages``. That it is kept is shown by the requests of all
    stages, or by the keys of the newest one: keys return.
    """
    if metric.max_rate is None or not stages:
        return {"above_log_e": 0.0, "below_log_e": 0.0}
    newest = stages[-1]
    candidate, champion = ((arm.units_with(metric.event), arm.units) for arm in (newest.candidate, newest.champion))
    whole = sum(count.candidate for count in counts), sum(stage.candidate.units for stage in stages)
    below_counts = candidate if plan.unit == "key" else whole
    above = log_e_value(*candidate, metric.max_rate, concentration=plan.concentration)
    below = log_e_value(*below_counts, metric.max_rate, alternative="less", concentration=plan.concentration)
    return {
        "newest_candidate": candidate,
        "newest_champion": champion,
        "above_log_e": above - math.log(max(plan.stages, len(stages))),
        "below_log_e": below,
        "below_counts": below_counts,
        "beyond_champion_log_e": _worse_evidence(metric, plan, counts, 1.0) if newest.champion.units else None,
    }


def _ratio_to_champion(metric: MetricLimits, plan: AnalysisPlan, counts: Sequence[StageEvents]) -> dict[str, object]:
    low, high = rate_ratio_interval(counts, alpha=plan.alpha, concentration=plan.concentration)
    margin = metric.pass_ratio if metric.better == "lower" else 1.0 / metric.pass_ratio
    side: Literal["greater", "less"] = "less" if metric.better == "lower" else "greater"
    better = log_e_rate_ratio(counts, margin=margin, alternative=side, concentration=plan.concentration)
    return {
        "ratio_low": low,
        "ratio_high": high if math.isfinite(high) else None,
        "worse_log_e": None if metric.fail_ratio is None else _worse_evidence(metric, plan, counts, metric.fail_ratio),
        "pass_log_e": None if metric.role == "deterioration" else better,
    }


def _worse_evidence(
    metric: MetricLimits, plan: AnalysisPlan, counts: Sequence[StageEvents], fail_ratio: float
) -> float:
    """Evidence that from some stage on the candidate has been worse than ``fail_ratio`` times the champion."""
    margin = fail_ratio if metric.better == "lower" else 1.0 / fail_ratio
    side: Literal["greater", "less"] = "greater" if metric.better == "lower" else "less"
    by_stage = [
        log_e_rate_ratio([count], margin=margin, alternative=side, concentration=plan.concentration) for count in counts
    ]
    return log_e_since_any_stage(by_stage, stages=plan.stages)
