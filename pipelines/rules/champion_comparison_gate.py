"""A candidate passes if the whole interval of its gain over champion and anchor lies at or above ``-margin``."""

from __future__ import annotations

from pipelines.messages.evaluation import EvaluateResult
from pipelines.rules.gain_interval import judge_interval
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "champion_comparison_gate"


def judge_candidate(result: EvaluateResult, spec: ModelSpec) -> Verdict:
    """PASS if the low end of both intervals reaches ``-margin``; against the champion, with ``require_improvement``, 0.

    A low end of exactly ``-margin`` passes; one of exactly zero is no improvement. UNKNOWN if fewer than 20 units were
    compared, unless the declaration lets the gain alone decide; the findings then say so. Without a champion the
    verdict is PASS, and the facts say so.
    """
    declared = spec.evaluation.comparison
    if result.champion is None:
        facts = {"version": result.version, "champion": "no champion"}
        return Verdict.of(RULE, findings=["there is no champion to compare with"], facts=dict(facts))
    interval = result.comparison
    if interval is None:
        reasons = [f"comparison with champion {result.champion} not measured", *result.notes]
        return Verdict.of(RULE, unknowns=reasons, facts={"version": result.version, "champion": result.champion})
    failures, unknowns, findings = judge_interval(
        interval, declared, f"version {result.champion}", declared.require_improvement
    )
    if result.anchor is not None and result.anchor_comparison is not None:
        anchored = judge_interval(result.anchor_comparison, declared, f"anchor {result.anchor}", improvement=False)
        failures, unknowns, findings = [a + b for a, b in zip((failures, unknowns, findings), anchored, strict=True)]
    elif result.anchor_notes:
        findings.append("no anchor could be compared, the champion alone decides: " + "; ".join(result.anchor_notes))
    if unknowns:
        unknowns += result.notes
    details: dict[str, object] = {
        "version": result.version,
        "champion": result.champion,
        **interval.model_dump(exclude={"schema_"}),
        "margin": declared.allowed_loss(interval.champion),
        "require_improvement": declared.require_improvement,
        "compared_from": result.compared_from,
        "test_part": result.test_part,
    }
    if result.anchor_comparison is not None:
        details["anchor"] = {"version": result.anchor, **result.anchor_comparison.model_dump(exclude={"schema_"})}
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=details)
