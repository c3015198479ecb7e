"""What the interval of a gain over one other version shows, and what it cannot."""

from __future__ import annotations

from pipelines.messages.evaluation import Interval
from pipelines.rules.minimum_metrics_gate import ROUNDING_TOLERANCE, bound_text, is_measured
from pipelines.spec.model import MINIMUM_UNITS, WANTED_UNITS, ComparisonSpec

CONFIDENCE_TOLERANCE = 1e-9


def judge_interval(
    interval: Interval, declared: ComparisonSpec, other: str, improvement: bool
) -> tuple[list[str], list[str], list[str]]:
    """Failures, unknowns and findings of the comparison with one other version."""
    margin = declared.allowed_loss(interval.champion)
    unknowns = _interval_unknowns(interval, declared)
    limit = "must lie above 0" if improvement else f"must begin at {-margin:g} or above"
    units = f"{interval.units} {_unit_name(interval.unit)}, {interval.rows} rows"
    if unknowns:
        return [], unknowns, []
    if _has_too_few_units(interval):
        return _judge_by_gain(interval, declared, other, improvement, margin)
    assert interval.low is not None
    assert interval.high is not None
    span = f"[{interval.low:+.4f}, {interval.high:+.4f}]"
    gain = f"gain of {interval.metric} over {other} {interval.gain:+.4f}, interval {span}"
    findings = [f"{gain}, which {limit} ({units}{_method_text(interval)})", *_power_findings(interval, margin)]
    if improvement and interval.low <= 0:
        chance = f"gain of {interval.metric} over {other} {interval.gain:+.4f} may be chance"
        return [f"{chance}: its interval {span} reaches 0"], [], findings
    if interval.low < -margin - ROUNDING_TOLERANCE:
        low = bound_text(f"low end of the gain of {interval.metric} over {other}", interval.low, "<", -margin)
        return [f"{low} (gain {interval.gain:+.4f}, interval {span}, {units})"], [], findings
    return [], [], findings


def _has_too_few_units(interval: Interval) -> bool:
    return interval.units < MINIMUM_UNITS or interval.low is None


def _judge_by_gain(
    interval: Interval, declared: ComparisonSpec, other: str, improvement: bool, margin: float
) -> tuple[list[str], list[str], list[str]]:
    """Too few units for an interval: nobody decides, or the declared weaker rule, and the findings say so."""
    few = f"{interval.units} {_unit_name(interval.unit)} compared with {other}, {MINIMUM_UNITS} are needed"
    gain = f"gain of {interval.metric} over {other} {interval.gain:+.4f}"
    if declared.too_few_units == "unknown":
        advice = (
            f"wait for more days, split off a longer test part, or declare evaluation.comparison.too_few_units: "
            f"point_estimate ({gain})"
        )
        return [], [f"{few}, {WANTED_UNITS} are wanted; {advice}"], []
    limit, failed = f"≥ {-margin:g}", interval.gain < -margin - ROUNDING_TOLERANCE
    if improvement:
        limit, failed = "> 0", interval.gain <= 0
    weaker = f"{few}: it cannot be shown that nothing is lost, the declared weaker rule decides by the gain alone"
    if failed:
        return [f"{gain}, the weaker rule wants {limit} ({few})"], [], [weaker]
    return [], [], [weaker, f"{gain} {limit}"]


def _power_findings(interval: Interval, margin: float) -> list[str]:
    findings = []
    if is_measured(interval.equal_passes):
        shortfall = f"; {WANTED_UNITS} are wanted" if interval.units < WANTED_UNITS else ""
        findings.append(
            f"a candidate as good as it passes with {interval.equal_passes:.0%} at margin {margin:g} "
            f"on {interval.units} {_unit_name(interval.unit)}{shortfall}"
        )
    if interval.attempt > 1:
        findings.append(
            f"candidate {interval.attempt} compared on this test part: its interval has confidence "
            f"{interval.confidence:.2%}, so that all attempts together are wrong no more often than declared"
        )
    return findings


def _method_text(interval: Interval) -> str:
    return "" if interval.method == "held_out" else f", by {interval.method.replace('_', ' ')}"


def _unit_name(unit: str) -> str:
    return "days" if unit == "day" else f"units by {unit}"


def _interval_unknowns(interval: Interval, declared: ComparisonSpec) -> list[str]:
    unknowns = [] if is_measured(interval.gain) else [f"estimate of the gain of {interval.metric} not measured"]
    ends = (("low end", interval.low), ("high end", interval.high))
    if interval.units >= MINIMUM_UNITS:
        unknowns += [
            f"{name} of the gain of {interval.metric} not measured" for name, value in ends if not is_measured(value)
        ]
    if interval.metric != declared.metric:
        unknowns.append(f"{interval.metric} was compared, {declared.metric} is declared")
    if interval.unit != declared.unit:
        unknowns.append(f"the interval is by {interval.unit}, {declared.unit} is declared; measure the candidate again")
    level = declared.level(interval.attempt)
    if interval.confidence < level - CONFIDENCE_TOLERANCE:
        unknowns.append(f"confidence {interval.confidence:g} of the interval is below the declared {level:g}")
    return unknowns
