"""Callers' rows that break the view's constraints, differ from the offline features, or left their own past, fail."""

from __future__ import annotations

from pipelines.messages.live_inputs import InputMeasure, LiveInputsResult
from pipelines.rules.drift_findings import finding_text, matters
from pipelines.rules.live_input_findings import largest_skew, told_of_rows
from pipelines.rules.monitoring_gap import TOO_LITTLE_DATA
from pipelines.spec.live_inputs import LiveInputs
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE = "live_input_check"


def judge_live_inputs(result: LiveInputsResult, spec: ModelSpec) -> Verdict:
    """FAIL for each column with too many values beyond its limits or without a value, too many that differ from the
    offline features, or a finding of the fault lane. What differs from training, from the rows just before, or was
    never seen in training is told and fails nothing.

    UNKNOWN with fewer than ``live_inputs.minimum_rows`` rows in the window. A past of the callers' rows that is shorter
    than 28 days is told: some models are asked once a week. ``facts["faults"]`` are the columns that fail,
    ``facts["by_column"]`` their reasons.
    """
    limits = spec.monitoring.live_inputs
    has_rows = result.rows >= limits.minimum_rows
    by_column: dict[str, list[str]] = {}
    if has_rows:
        for measure in result.measures:
            for text in (*_constraint_faults(measure, limits), *_skew_faults(measure, limits)):
                by_column.setdefault(measure.name, []).append(text)
    for finding in result.findings:
        if finding.lane == "fault":
            by_column.setdefault(finding.column, []).append(f"left its own past: {finding_text(finding)}")
    failures = [f"{name}: {text}" for name, texts in by_column.items() for text in texts]

    unknowns: list[str] = []
    if result.version is None:
        unknowns.append("no version is live: callers' rows have no training to be compared with")
    elif not has_rows:
        needed = f"monitoring.live_inputs.minimum_rows: {limits.minimum_rows}"
        unknowns.append(f"callers sent {result.rows} rows in {len(result.window)} days (needs {needed})")
    facts: dict[str, object] = {
        "version": result.version,
        "rows": result.rows,
        "faults": list(by_column),
        "by_column": {name: "; ".join(texts) for name, texts in by_column.items()},
        "watched": [finding.column for finding in result.findings if finding.lane == "watch"],
        "act": [finding.column for finding in result.findings if matters(finding)],
        "skew": largest_skew(result),
        "history_days": result.history_days,
        "report": result.report,
        TOO_LITTLE_DATA: result.version is not None and bool(unknowns),
    }
    findings = [*told_of_rows(result, spec.monitoring.drift), *result.notes]
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def _constraint_faults(measure: InputMeasure, limits: LiveInputs) -> list[str]:
    faults = []
    if measure.outside_share > limits.max_invalid_share:
        share = f"{measure.outside_share:.1%} of {measure.rows} rows lie beyond the view's limits"
        faults.append(f"{share} > {limits.max_invalid_share:.1%} (max_invalid_share), as {measure.outside}")
    if measure.null_share > measure.max_null_share:
        share = f"{measure.null_share:.1%} of {measure.rows} rows have no value"
        faults.append(f"{share} > {measure.max_null_share:.1%} (the view's max_null_share)")
    return faults


def _skew_faults(measure: InputMeasure, limits: LiveInputs) -> list[str]:
    share = measure.differing_share
    if share is None or measure.matched_rows < limits.minimum_rows or share <= limits.max_skew_share:
        return []
    text = f"{share:.1%} of {measure.matched_rows} rows differ from the offline features"
    return [f"{text} > {limits.max_skew_share:.1%} (max_skew_share), as {measure.differing}"]
