"""A rollout is judged from counts alone: PASS is shown, FAIL is shown, and everything else holds the traffic.

The rule is that of Schultzberg, Ankargren and Frånberg, *Risk-aware product decisions in A/B tests with multiple
metrics* (Spotify, 2024): ship if at least one success metric is superior, all guardrails are non-inferior, nothing
deteriorated, and the split of the units is as declared. Only the tests for deterioration share ``alpha``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from pipelines.rollout.analysis import AnalysisPlan, MetricLimits, MetricVerdict, Outcome, RolloutVerdict, StepCounts
from pipelines.statistics.e_values import Step, log_e_rate_ratio, log_e_sample_ratio, log_e_value, rate_ratio_interval


def judge_rollout(
    plan: AnalysisPlan, steps: Sequence[StepCounts], *, errors: Mapping[str, str] | None = None
) -> RolloutVerdict:
    """FAIL if any metric fails, else ERROR if any could not be measured, else PASS if all that is demanded was shown.

    ``errors`` names the events that could not be read, and why. Where the split of units is refuted, what compares the
    arms is INCONCLUSIVE; the candidate's own rate still fails.
    """
    units = [Step(step.weight, step.candidate.units, step.champion.units) for step in steps]
    split, limit = log_e_sample_ratio(units), math.log(1.0 / plan.srm_alpha)
    invalid = split >= limit
    judged = tuple(_judge(metric, plan, steps, errors or {}, invalid=invalid) for metric in plan.metrics)
    outcome, reasons = _over_all(judged)
    if invalid:
        counted = f"{sum(unit.candidate for unit in units)} of {sum(unit.total for unit in units)} {plan.unit}s"
        mismatch = f"split of units: the candidate has {counted}, log evidence {split:.2f} >= {limit:.2f} of a mismatch"
        reasons = (mismatch, *reasons)
        outcome = Outcome.INCONCLUSIVE if outcome is Outcome.PASS else outcome
    facts: dict[str, float | int | str | None] = {
        "split_log_e": split,
        "split_needed": limit,
        "alpha": plan.alpha,
        "unit": plan.unit,
    }
    return RolloutVerdict(outcome=outcome, reasons=reasons, metrics=judged, facts=facts)


def _over_all(judged: Sequence[MetricVerdict]) -> tuple[Outcome, tuple[str, ...]]:
    reasons = tuple(reason for verdict in judged for reason in verdict.reasons if verdict.outcome is not Outcome.PASS)
    outcomes = {verdict.outcome for verdict in judged}
    for decisive in (Outcome.FAIL, Outcome.ERROR):
        if decisive in outcomes:
            return decisive, reasons
    successes = [verdict for verdict in judged if verdict.role == "success"]
    superior = not successes or any(verdict.outcome is Outcome.PASS for verdict in successes)
    others = all(verdict.outcome is Outcome.PASS for verdict in judged if verdict.role != "success")
    return (Outcome.PASS, ()) if superior and others else (Outcome.INCONCLUSIVE, reasons)


def _judge(
    metric: MetricLimits, plan: AnalysisPlan, steps: Sequence[StepCounts], errors: Mapping[str, str], *, invalid: bool
) -> MetricVerdict:
    facts: dict[str, float | int | str | None] = {}

    def verdict(outcome: Outcome, *reasons: str) -> MetricVerdict:
        named = tuple(f"{metric.name}: {reason}" for reason in reasons)
        return MetricVerdict(metric=metric.name, role=metric.role, outcome=outcome, reasons=named, facts=facts)

    if wrong := _unusable(metric, steps, errors):
        return verdict(Outcome.ERROR, *wrong)
    counts = [
        Step(step.weight, step.candidate.events[metric.event], step.champion.events[metric.event]) for step in steps
    ]
    bad, units = sum(count.candidate for count in counts), sum(step.candidate.units for step in steps)
    others, champion = sum(count.champion for count in counts), sum(step.champion.units for step in steps)
    facts |= {"candidate": bad, "candidate_units": units, "champion": others, "champion_units": champion}
    failed, lacking = _own_rate(metric, plan, steps, facts)
    if metric.compares:
        if invalid:
            lacking.append("the arms cannot be compared, because the units were not split as declared")
        else:
            worse, unshown = _against_champion(metric, plan, counts, facts)
            failed, lacking = failed + worse, lacking + unshown
    if failed:
        return verdict(Outcome.FAIL, *failed)
    if min(units, champion if metric.compares else units) < plan.minimum_units:
        has = f"candidate {units}, champion {champion}"
        lacking.insert(0, f"too few {plan.unit}s ({has}; {plan.minimum_units} needed in each)")
    return verdict(Outcome.INCONCLUSIVE, *lacking) if lacking else verdict(Outcome.PASS)


def _unusable(metric: MetricLimits, steps: Sequence[StepCounts], errors: Mapping[str, str]) -> list[str]:
    if metric.event in errors:
        return [f"{metric.event} could not be read: {errors[metric.event]}"]
    wrong = []
    for place, step in enumerate(steps, start=1):
        for name, arm in (("candidate", step.candidate), ("champion", step.champion)):
            found = arm.events.get(metric.event)
            if found is None:
                wrong.append(f"step {place} has no count of {metric.event} for the {name}")
            elif found > arm.units:
                wrong.append(f"step {place} has {found} {metric.event} among {arm.units} units of the {name}")
            elif arm.requests is not None and not 0 <= arm.request_events.get(metric.event, -1) <= arm.requests:
                told = arm.request_events.get(metric.event, "no count of")
                wrong.append(f"step {place} has {told} {metric.event} among {arm.requests} requests of the {name}")
    return wrong


def _own_rate(
    metric: MetricLimits, plan: AnalysisPlan, steps: Sequence[StepCounts], facts: dict[str, float | int | str | None]
) -> tuple[list[str], list[str]]:
    """An absolute limit is about requests. Keys summed over steps would be diluted by those that came back."""
    if metric.max_rate is None:
        return [], []
    asked = [step.candidate.asked(metric.event) for step in steps]
    bad, units = sum(found for found, _ in asked), sum(of for _, of in asked)
    above, below = (
        log_e_value(bad, units, metric.max_rate, alternative=side, concentration=plan.concentration)
        for side in ("greater", "less")
    )
    fail, needed = _needed_to_fail(plan), math.log(1.0 / plan.alpha)
    facts |= {"max_rate": metric.max_rate, "above_log_e": above, "below_log_e": below, "fail_needed": fail}
    said = f"{bad} of {units} requests of the candidate"
    if above >= fail:
        return [f"{said} > {metric.max_rate:g} (log evidence {above:.2f} >= {fail:.2f})"], []
    if below < needed:
        return [], [f"{said} not shown < {metric.max_rate:g} (log evidence {below:.2f} < {needed:.2f})"]
    return [], []


def _against_champion(
    metric: MetricLimits, plan: AnalysisPlan, counts: Sequence[Step], facts: dict[str, float | int | str | None]
) -> tuple[list[str], list[str]]:
    low, high = rate_ratio_interval(counts, alpha=plan.alpha, concentration=plan.concentration)
    fail, needed = _needed_to_fail(plan), math.log(1.0 / plan.alpha)
    facts |= {"ratio_low": low, "ratio_high": high if math.isfinite(high) else None, "fail_needed": fail}
    said = f"ratio to the champion {low:.3g} to {high:.3g}"

    def evidence(limit: float, *, worse: bool) -> float:
        margin = limit if metric.better == "lower" else 1.0 / limit
        side: Literal["greater", "less"] = "greater" if worse == (metric.better == "lower") else "less"
        return log_e_rate_ratio(counts, margin=margin, alternative=side, concentration=plan.concentration)

    if metric.fail_ratio is not None:
        facts |= {"fail_ratio": metric.fail_ratio, "worse_log_e": (worse := evidence(metric.fail_ratio, worse=True))}
        if worse >= fail:
            return [f"{said}, worse than {metric.fail_ratio:g} times (log evidence {worse:.2f} >= {fail:.2f})"], []
    if metric.role == "deterioration":
        return [], []
    limit = 1.0 if metric.role == "success" else metric.max_ratio or 1.0
    facts |= {"pass_ratio": limit, "pass_log_e": (shown := evidence(limit, worse=False)), "pass_needed": needed}
    if shown < needed:
        aim = "better" if metric.role == "success" else f"within {limit:g} times"
        return [], [f"{said}, not shown {aim} (log evidence {shown:.2f} < {needed:.2f})"]
    return [], []


def _needed_to_fail(plan: AnalysisPlan) -> float:
    return math.log(sum(metric.ways_to_fail for metric in plan.metrics) / plan.alpha)
