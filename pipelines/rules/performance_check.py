"""A live model's days are held against those of its certificate; what is not shown to be worse is not a detection."""

from __future__ import annotations

from pipelines.messages.monitoring import AnchorComparison, DayComparison, PerformanceResult
from pipelines.rules.monitoring_gap import TOO_LITTLE_DATA
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "performance_check"


def judge_performance(result: PerformanceResult, spec: ModelSpec) -> Verdict:
    """FAIL when the days are shown to be worse than the certificate's: the sum of losses passed its limit, or the whole
    interval of the window's drop lies above ``max_drop``.

    Both keep their promise over a year of daily looks: at most one year in ten has a false alarm. The drop is in the
    metric's unit, positive for worse whichever way the metric points. UNKNOWN when fewer than ``minimum_labels`` labels
    have arrived, or when the metric or its reference was not measured.
    ``facts["performance"]`` holds the outcome, for the retrain request; ``facts["alarm"]`` what it rests on.
    """
    performance = spec.monitoring.performance
    metric = performance.metric
    value, reference = result.window_metrics.get(metric), result.reference.get(metric)
    failures, unknowns, alarms = list[str](), list[str](), list[str]()
    if result.window_labelled < performance.minimum_labels:
        needed = f"minimum_labels: {performance.minimum_labels}"
        arrived = f"{result.window_labelled} labels of {result.window_predictions} predictions"
        unknowns.append(f"{arrived} arrived in the window (needs monitoring.performance.{needed})")
    if result.version is None:
        unknowns.append("no prediction was logged in the window, so no version is judged")
    elif reference is None:
        unknowns.append(f"version {result.version} has no test metric {metric!r} on record to compare with")
    if value is None:
        unknowns.append(f"{metric} was not measured over the window")
    comparison = result.comparison
    if not unknowns and comparison is None:
        unknowns.append(_too_few_days(metric, result.uncompared))
    if comparison is not None and not unknowns:
        failures, alarms = _losses(comparison, performance.max_drop)
    drop = -comparison.difference if comparison is not None else None
    findings = [f"{result.window_labelled} labels of {result.window_predictions} predictions in the window"]
    if comparison is not None:
        findings = [*_measured(comparison, result, performance.max_drop), *findings]
    if result.anchor is not None:
        findings.append(_beside_anchor(result.anchor, metric, performance.max_drop))
    if value is not None and reference is not None:
        findings.append(f"over all rows of the window {metric} {value:.4f}, of its test {reference:.4f}")
    facts: dict[str, object] = {
        TOO_LITTLE_DATA: bool(unknowns) and (result.version is None or reference is not None),
        "version": result.version,
        "metric": metric,
        "value": value,
        "reference": reference,
        "drop": drop,
        "half_width": comparison.half_width if comparison else None,
        "cusum": comparison.cusum if comparison else None,
        "cusum_limit": comparison.cusum_limit if comparison else None,
        "alarm": alarms,
        **({} if result.anchor is None else {"anchor": result.anchor.model_dump()}),
        **({} if result.right is None else {"right": result.right}),
        "labelled": result.window_labelled,
        "predictions": result.window_predictions,
    }
    verdict = Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)
    return verdict.model_copy(update={"facts": {**facts, "performance": verdict.outcome.value}})


def _too_few_days(metric: str, days: tuple[int, int] | None) -> str:
    if days is None:
        return f"{metric} was measured within fewer than two days of the window"
    return (
        f"{metric} was measured on {days[0]} day(s) of the window and {days[1]} of the certificate's test rows; a "
        "comparison needs two of each"
    )


def _losses(comparison: DayComparison, max_drop: float) -> tuple[list[str], list[str]]:
    """The reasons of a detection, and the names of what detected it."""
    failures, alarms, limit = [], [], comparison.cusum_limit
    if comparison.cusum is not None and limit is not None and comparison.cusum > limit:
        since = f" since {comparison.cusum_since}" if comparison.cusum_since else ""
        failures.append(
            f"{comparison.metric} has been worse than on the {comparison.certificate_days} days of the certificate"
            f"{since}: sum of losses {comparison.cusum:.1f} > {limit:.1f}"
        )
        alarms.append("cusum")
    smallest_drop = -comparison.difference - comparison.limit_half_width
    if smallest_drop > max_drop:
        failures.append(
            f"{comparison.metric} is worse than the certificate's by {-comparison.difference:.4f}, at the least "
            f"{smallest_drop:.4f} > {max_drop} ({comparison.window_days} days)"
        )
        alarms.append("interval")
    return failures, alarms


def _beside_anchor(anchor: AnchorComparison, metric: str, max_drop: float) -> str:
    """Losses that no single release shows add up here; told only, because the anchor's days are of another time."""
    shown = " is shown to be worse by more than the limit" if -anchor.difference - anchor.half_width > max_drop else ""
    change = _change_text(metric, anchor.difference, anchor.half_width)
    days = f"{anchor.certificate_days} days of its certificate"
    return f"beside the anchor, version {anchor.version}: {change} ({days}){shown}"


def _change_text(metric: str, difference: float, half_width: float) -> str:
    """``mae 5.8904 worse ± 18.2349``: in words, because less is better of some metrics."""
    return f"{metric} {abs(difference):.4f} {'worse' if difference < 0 else 'better'} ± {half_width:.4f}"


def _measured(comparison: DayComparison, result: PerformanceResult, max_drop: float) -> list[str]:
    certificate = f"{n} of the certificate" if (n := comparison.certificate_days) else "the whole test"
    days = f"{comparison.window_days} days against {certificate}"
    change = _change_text(comparison.metric, comparison.difference, comparison.half_width)
    losses = f"no sum of losses: the certificate has {comparison.certificate_days} days (needs 14)"
    if comparison.cusum is not None:
        losses = (
            f"sum of losses {comparison.cusum:.1f}, limit {comparison.cusum_limit:.1f} ({comparison.watched_days} days)"
        )
    return [f"version {result.version}: {change} ({days}), limit {max_drop:g} worse", losses]
