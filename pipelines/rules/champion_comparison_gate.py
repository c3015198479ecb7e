"""A candidate passes if the whole interval of its gain over the champion lies at or above ``-margin``."""

from __future__ import annotations

from pipelines.messages.evaluation import EvaluateResult, Interval
from pipelines.rules.minimum_metrics_gate import ROUNDING_TOLERANCE, bound_text, is_measured
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "champion_comparison_gate"


def judge_candidate(result: EvaluateResult, spec: ModelSpec) -> Verdict:
    """PASS if the low end of the interval reaches ``-margin``, or with ``require_improvement`` lies above zero.

    A low end of exactly ``-margin`` passes; one of exactly zero is no improvement. Without a champion the verdict is
    PASS, and the facts say so.
    """
    declared = spec.evaluation.comparison
    if result.champion is None:
        facts = {"version": result.version, "champion": "no champion"}
        return Verdict.of(RULE, findings=["there is no champion to compare with"], facts=dict(facts))
    interval = result.comparison
    if interval is None:
        reasons = [f"comparison with champion {result.champion} not measured", *result.notes]
        return Verdict.of(RULE, unknowns=reasons, facts={"version": result.version, "champion": result.champion})
    failures: list[str] = []
    unknowns = _interval_unknowns(interval, spec)
    span = f"[{interval.low:+.4f}, {interval.high:+.4f}]"
    if not unknowns and declared.require_improvement and interval.low <= 0:
        failures.append(f"gain of {interval.metric} {interval.gain:+.4f} may be chance: its interval {span} reaches 0")
    elif not unknowns and interval.low < -declared.margin - ROUNDING_TOLERANCE:
        low = bound_text(f"low end of the gain of {interval.metric}", interval.low, "<", -declared.margin)
        failures.append(f"{low} (gain {interval.gain:+.4f}, interval {span}, {interval.rows} rows)")
    gain = f"gain of {interval.metric} over version {result.champion} {interval.gain:+.4f}, interval {span}"
    limit = "must lie above 0" if declared.require_improvement else f"must begin at {-declared.margin:g} or above"
    details: dict[str, object] = {
        "version": result.version,
        "champion": result.champion,
        **interval.model_dump(exclude={"schema_"}),
        "margin": declared.margin,
        "require_improvement": declared.require_improvement,
        "compared_from": result.compared_from,
    }
    findings = [f"{gain}, which {limit} ({interval.rows} rows)"]
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=details)


def _interval_unknowns(interval: Interval, spec: ModelSpec) -> list[str]:
    declared = spec.evaluation.comparison
    unknowns = [
        f"{name} of the gain of {interval.metric} not measured"
        for name, value in (("low end", interval.low), ("high end", interval.high), ("estimate", interval.gain))
        if not is_measured(value)
    ]
    if interval.metric != declared.metric:
        unknowns.append(f"{interval.metric} was compared, {declared.metric} is declared")
    if interval.confidence < declared.confidence:
        unknowns.append(f"confidence {interval.confidence} of the interval is below the declared {declared.confidence}")
    if interval.resamples < declared.resamples:
        unknowns.append(f"{interval.resamples} resamples were drawn, {declared.resamples} are declared")
    return unknowns
