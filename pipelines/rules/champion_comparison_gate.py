"""A candidate passes if the whole interval of its gain over the champion lies at or above ``-margin``."""

from __future__ import annotations

from pipelines.messages.evaluation import EvaluateResult, Interval
from pipelines.rules.minimum_metrics_gate import ROUNDING, broken, measured
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "champion_comparison_gate"


def judge_candidate(result: EvaluateResult, spec: ModelSpec) -> Verdict:
    """PASS if the low end of the interval reaches ``-margin``, or with ``require_improvement`` lies above zero.

    A low end of exactly ``-margin`` passes; one of exactly zero is no improvement. Without a champion there is
    nothing to be worse than: PASS, and the facts say so.
    """
    declared = spec.evaluation.comparison
    if result.champion is None:
        return Verdict.of(RULE, facts={"version": result.version, "champion": "no champion"})
    found = result.comparison
    if found is None:
        reasons = [f"comparison with champion {result.champion} not measured", *result.notes]
        return Verdict.of(RULE, unknowns=reasons, facts={"version": result.version, "champion": result.champion})
    failures: list[str] = []
    unknowns = _unmeasured(found, spec)
    span = f"[{found.low:+.4f}, {found.high:+.4f}]"
    if not unknowns and declared.require_improvement and found.low <= 0:
        failures.append(f"gain of {found.metric} {found.gain:+.4f} may be chance: its interval {span} reaches 0")
    elif not unknowns and found.low < -declared.margin - ROUNDING:
        low = broken(f"low end of the gain of {found.metric}", found.low, "<", -declared.margin)
        failures.append(f"{low} (gain {found.gain:+.4f}, interval {span}, {found.rows} rows)")
    facts: dict[str, object] = {
        "version": result.version,
        "champion": result.champion,
        **found.model_dump(exclude={"schema_"}),
        "margin": declared.margin,
        "require_improvement": declared.require_improvement,
        "compared_from": result.compared_from,
    }
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, facts=facts)


def _unmeasured(found: Interval, spec: ModelSpec) -> list[str]:
    declared = spec.evaluation.comparison
    unknowns = [
        f"{name} of the gain of {found.metric} not measured"
        for name, value in (("low end", found.low), ("high end", found.high), ("estimate", found.gain))
        if not measured(value)
    ]
    if found.metric != declared.metric:
        unknowns.append(f"{found.metric} was compared, {declared.metric} is declared")
    if found.confidence < declared.confidence:
        unknowns.append(f"confidence {found.confidence} of the interval is below the declared {declared.confidence}")
    if found.resamples < declared.resamples:
        unknowns.append(f"{found.resamples} resamples were drawn, {declared.resamples} are declared")
    return unknowns
