"""A live model may lose at most ``max_drop`` against its own test metric; too few labels give UNKNOWN."""

from __future__ import annotations

from pipelines.messages.monitoring import PerformanceResult
from pipelines.rules.monitoring_gap import TOO_LITTLE_DATA
from pipelines.spec.model import LOWER_IS_BETTER, ModelSpec
from pipelines.verdict import Verdict

RULE = "performance_check"


def judge_performance(result: PerformanceResult, spec: ModelSpec) -> Verdict:
    """FAIL when the metric over the window is worse than the reference by more than ``max_drop``.

    The drop is ``reference - value``, or ``value - reference`` for a metric whose lower values are better. UNKNOWN when
    fewer than ``minimum_labels`` labels have arrived, or when the metric or its reference was not measured.
    ``facts["performance"]`` holds the outcome, for the retrain request.
    """
    performance = spec.monitoring.performance
    metric = performance.metric
    value, reference = result.window_metrics.get(metric), result.reference.get(metric)
    failures: list[str] = []
    unknowns: list[str] = []
    if result.window_labelled < performance.minimum_labels:
        needed = f"minimum_labels: {performance.minimum_labels}"
        arrived = f"{result.window_labelled} labels of {result.window_predictions} predictions"
        unknowns.append(f"{arrived} arrived in the window (needs monitoring.performance.{needed})")
    if result.version is None:
        unknowns.append("no prediction was logged in the window, so no version is judged")
    elif reference is None:
        unknowns.append(f"version {result.version} has no test metric {metric!r} in the registry to compare with")
    if value is None:
        unknowns.append(f"{metric} was not measured over the window")
    drop: float | None = None
    if value is not None and reference is not None:
        drop = value - reference if metric in LOWER_IS_BETTER else reference - value
    if drop is not None and not unknowns and drop > performance.max_drop:
        failures.append(
            f"{metric} {value:.4f} is worse than the test's {reference:.4f} by {drop:.4f} > {performance.max_drop}"
            f" ({result.window_labelled} labels)"
        )
    findings = [f"{result.window_labelled} labels of {result.window_predictions} predictions in the window"]
    if value is not None and drop is not None:
        against = f"version {result.version}: {metric} {value:.4f}, in its test {reference:.4f}"
        findings.insert(0, f"{against}: worse by {drop:+.4f}, limit {performance.max_drop:g}")
    facts: dict[str, object] = {
        TOO_LITTLE_DATA: bool(unknowns) and (result.version is None or reference is not None),
        "version": result.version,
        "metric": metric,
        "value": value,
        "reference": reference,
        "drop": drop,
        "labelled": result.window_labelled,
        "predictions": result.window_predictions,
    }
    verdict = Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)
    return verdict.model_copy(update={"facts": {**facts, "performance": verdict.outcome.value}})
