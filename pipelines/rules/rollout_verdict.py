"""A rollout passes or fails only on significant evidence, and is UNKNOWN otherwise.

The rule is that of Schultzberg, Ankargren and Frånberg, *Risk-aware product decisions in A/B tests with multiple
metrics* (Spotify, 2024): ship if at least one success metric is superior, all guardrails are non-inferior, nothing
deteriorated, and the split of the units is as declared. Only the tests for deterioration share ``alpha``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pipelines.rollout.analysis import AnalysisPlan, MetricEvidence, MetricLimits, RolloutEvidence
from pipelines.verdict import Outcome, Verdict

RULE = "rollout_verdict"


def judge_evidence(plan: AnalysisPlan, evidence: RolloutEvidence) -> Verdict:
    """FAIL if any metric fails, else PASS if every required metric passes, else UNKNOWN.

    If the split of units is refuted, comparisons of the arms are UNKNOWN; the candidate's own rate can still fail.
    ``facts["metrics"]`` has the outcome, counts, evidence and limits of each metric.
    """
    limit = math.log(1.0 / plan.srm_alpha)
    split_mismatch = evidence.split_log_e >= limit
    judged = {
        metric.name: _judge_metric(metric, plan, metric_evidence, split_mismatch=split_mismatch)
        for metric, metric_evidence in zip(plan.metrics, evidence.metrics, strict=True)
    }
    failures = [reason for verdict in judged.values() if verdict.outcome is Outcome.FAIL for reason in verdict.reasons]
    unknowns = [
        reason for verdict in judged.values() if verdict.outcome is Outcome.UNKNOWN for reason in verdict.reasons
    ]
    mismatch = [_split_mismatch_text(plan, evidence, limit)] if split_mismatch else []
    facts: dict[str, object] = {
        "split_log_e": evidence.split_log_e,
        "split_needed": limit,
        "alpha": plan.alpha,
        "unit": plan.unit,
        "metrics": {name: {"outcome": verdict.outcome.value, **verdict.facts} for name, verdict in judged.items()},
    }
    if failures:
        return Verdict(rule=RULE, outcome=Outcome.FAIL, reasons=(*mismatch, *failures, *unknowns), facts=facts)
    if _all_required_passed(plan, judged):
        unknowns = []
    return Verdict.of(RULE, unknowns=[*mismatch, *unknowns], facts=facts)


def _all_required_passed(plan: AnalysisPlan, judged: Mapping[str, Verdict]) -> bool:
    """Whether every guardrail passed, nothing deteriorated, and one success metric, if there are any, is better."""
    passed = {metric.name: judged[metric.name].passed for metric in plan.metrics}
    successes = [passed[metric.name] for metric in plan.metrics if metric.role == "success"]
    return all(passed[metric.name] for metric in plan.metrics if metric.role != "success") and (
        not successes or any(successes)
    )


def _split_mismatch_text(plan: AnalysisPlan, evidence: RolloutEvidence, limit: float) -> str:
    candidate = sum(stage.candidate.units for stage in evidence.stages)
    units = candidate + sum(stage.champion.units for stage in evidence.stages)
    shown = f"log evidence {evidence.split_log_e:.2f} >= {limit:.2f} of a mismatch"
    return f"split of units: the candidate has {candidate} of {units} {plan.unit}s, {shown}"


def _judge_metric(
    metric: MetricLimits, plan: AnalysisPlan, evidence: MetricEvidence, *, split_mismatch: bool
) -> Verdict:
    facts: dict[str, object] = {
        **evidence.model_dump(
            exclude={"metric", "faults", "newest_candidate", "newest_champion", "below_counts"}, exclude_none=True
        ),
        **metric.model_dump(include={"max_rate", "fail_ratio"}, exclude_none=True),
        "fail_needed": _log_evidence_to_fail(plan),
        "pass_needed": math.log(1.0 / plan.alpha),
    }
    failed, lacking = _judge_max_rate(metric, plan, evidence)
    if metric.compares_with_champion and split_mismatch:
        lacking.append("the arms cannot be compared, because the units were not split as declared")
    elif metric.compares_with_champion:
        facts["pass_ratio"] = metric.pass_ratio
        worse, unshown = _judge_ratio(metric, plan, evidence)
        failed, lacking = failed + worse, lacking + unshown
    units = evidence.candidate_units, evidence.champion_units
    if min(units if metric.compares_with_champion else units[:1]) < plan.minimum_units:
        has = f"candidate {units[0]}, champion {units[1]}"
        lacking.insert(0, f"too few {plan.unit}s ({has}; {plan.minimum_units} needed in each)")
    if evidence.faults:
        failed, lacking = [], list(evidence.faults)

    def named(reasons: Sequence[str]) -> list[str]:
        return [f"{metric.name}: {reason}" for reason in reasons]

    return Verdict.of(RULE, failures=named(failed), unknowns=[] if failed else named(lacking), facts=facts)


def _judge_max_rate(metric: MetricLimits, plan: AnalysisPlan, evidence: MetricEvidence) -> tuple[list[str], list[str]]:
    if metric.max_rate is None or evidence.newest_candidate is None:
        return [], []
    above, below = evidence.above_log_e or 0.0, evidence.below_log_e or 0.0
    fail, needed = _log_evidence_to_fail(plan), math.log(1.0 / plan.alpha)
    if above >= fail:
        rate = _rate_text(plan, evidence.newest_candidate)
        broken = f"{rate} > {metric.max_rate:g} (log evidence {above:.2f} >= {fail:.2f})"
        worse = evidence.beyond_champion_log_e
        if worse is None or worse >= fail:
            return [broken], []
        return [], [f"{broken}, but {_champion_text(plan, evidence)}: not shown worse ({worse:.2f} < {fail:.2f})"]
    if below < needed:
        rate = _rate_text(plan, evidence.below_counts or evidence.newest_candidate)
        return [], [f"{rate} not shown < {metric.max_rate:g} (log evidence {below:.2f} < {needed:.2f})"]
    return [], []


def _rate_text(plan: AnalysisPlan, counts: tuple[int, int]) -> str:
    return f"{counts[0]} of {counts[1]} {plan.unit}s of the candidate"


def _champion_text(plan: AnalysisPlan, evidence: MetricEvidence) -> str:
    bad, units = evidence.newest_champion or (0, 0)
    return f"the champion has {bad} of {units} {plan.unit}s"


def _judge_ratio(metric: MetricLimits, plan: AnalysisPlan, evidence: MetricEvidence) -> tuple[list[str], list[str]]:
    fail, needed = _log_evidence_to_fail(plan), math.log(1.0 / plan.alpha)
    low, high = evidence.ratio_low or 0.0, math.inf if evidence.ratio_high is None else evidence.ratio_high
    ratio = f"ratio to the champion {low:.3g} to {high:.3g}"
    if metric.fail_ratio is not None and (worse := evidence.worse_log_e or 0.0) >= fail:
        return [f"{ratio}, worse than {metric.fail_ratio:g} times (log evidence {worse:.2f} >= {fail:.2f})"], []
    if evidence.pass_log_e is not None and evidence.pass_log_e < needed:
        aim = "better" if metric.role == "success" else f"within {metric.pass_ratio:g} times"
        return [], [f"{ratio}, not shown {aim} (log evidence {evidence.pass_log_e:.2f} < {needed:.2f})"]
    return [], []


def _log_evidence_to_fail(plan: AnalysisPlan) -> float:
    return math.log(plan.failure_test_count / plan.alpha)
