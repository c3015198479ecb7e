"""A column that broke is a detection; one that moves or differs from training is told; unmeasured never passes."""

from __future__ import annotations

from pipelines.messages.monitoring import DriftResult
from pipelines.rules.drift_findings import finding_text, has_drifted, is_measured, matters, sort_by_psi, window_findings
from pipelines.rules.monitoring_gap import TOO_LITTLE_DATA, WAITS_FOR_HISTORY
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome, Verdict

RULE = "drift_check"
SMALLEST_HISTORY_DAYS = 28
"""Days before the judged ones from which a column's past is known well enough."""


def judge_drift(result: DriftResult, spec: ModelSpec) -> Verdict:
    """FAIL when a column broke (a finding of the fault lane). A column to watch, or one that differs from the training
    rows, is told and fails nothing: seasons do that, and a retraining cures few of them.

    UNKNOWN when a column was not measured, or its past is shorter than ``SMALLEST_HISTORY_DAYS``.
    ``facts["data_drift"]`` and ``facts["prediction_drift"]`` hold the outcome of the comparison with training, for a
    model that declares it as a trigger of retraining: ``data_drift`` is FAIL when the share of differing features
    reaches ``feature_drift_threshold``. A column differs when ``p_value < drift.p_value`` and its PSI reaches the
    threshold (``psi_threshold`` for a feature, ``prediction_drift_threshold`` for the predictions). The share is taken
    over all features of the result: one that was not measured counts as the same, but turns a PASS into UNKNOWN.
    """
    drift = spec.monitoring.drift
    faults = [finding for finding in result.findings if finding.lane == "fault"]
    watched = [finding for finding in result.findings if finding.lane == "watch"]
    drifting = [m for m in result.features if has_drifted(m, spec, drift.psi_threshold)]
    share = len(drifting) / len(result.features) if result.features else 0.0
    differs = bool(drifting) and share >= drift.feature_drift_threshold - 1e-12
    data_unknowns = _unmeasured_data(result, drift.minimum_rows)

    predictions_differ = False
    prediction_unknowns: list[str] = []
    if result.prediction is None or not is_measured(result.prediction):
        rows = result.prediction.rows if result.prediction else 0
        prediction_unknowns = [f"prediction drift not measured: {rows} rows (needs {_needed(drift.minimum_rows)})"]
    else:
        predictions_differ = has_drifted(result.prediction, spec, drift.prediction_drift_threshold)

    facts: dict[str, object] = {
        "version": result.version,
        "reference": result.reference,
        "days": len(result.window),
        "features": len(result.features),
        "faults": [finding.column for finding in faults],
        "watched": [finding.column for finding in watched],
        "weights": {f.column: round(f.weight, 4) for f in result.findings if f.weight is not None},
        "act": [finding.column for finding in result.findings if matters(finding)],
        "history_days": result.history_days,
        "drifting": [m.name for m in drifting],
        "drifting_share": round(share, 6),
        "largest_psi": {m.name: round(m.psi, 4) for m in sort_by_psi(result.features)[:5] if m.psi is not None},
        "prediction_psi": result.prediction.psi if result.prediction else None,
        "data_drift": _outcome(differs, data_unknowns),
        "prediction_drift": _outcome(predictions_differ, prediction_unknowns),
        "report": result.report,
    }
    failures = [f"{finding.column} broke: {finding_text(finding)}" for finding in faults]
    unknowns = data_unknowns + prediction_unknowns
    lacks_rows = not unknowns or _has_too_little_data(result, drift.minimum_rows)
    if lacks_history := result.version is not None and _lacks_history(result):
        unknowns.append(
            f"the columns' own past has {result.history_days} days with a profile (needs {SMALLEST_HISTORY_DAYS})"
        )
    facts[TOO_LITTLE_DATA] = bool(unknowns) and lacks_rows
    facts[WAITS_FOR_HISTORY] = lacks_history
    findings = [f"watch {finding.column}: {finding_text(finding)}" for finding in watched]
    findings += window_findings(result, spec, len(drifting), share)
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def _lacks_history(result: DriftResult) -> bool:
    return result.history_days is not None and result.history_days < SMALLEST_HISTORY_DAYS


def _unmeasured_data(result: DriftResult, minimum_rows: int) -> list[str]:
    if result.version is None:
        return ["no version is live: there is no reference to compare with"]
    unknowns = []
    if result.day in result.missing_days:
        unknowns.append(f"the feature profile of {result.day} is missing; build the features of that day")
    if not result.features:
        unknowns.append("no feature was measured")
    unknowns += [
        f"{m.name} not measured: {m.rows} rows (needs {_needed(minimum_rows)}, and a column of the reference profile)"
        for m in result.features
        if not is_measured(m)
    ]
    return unknowns


def _needed(minimum_rows: int) -> str:
    return f"monitoring.drift.minimum_rows: {minimum_rows}"


def _has_too_little_data(result: DriftResult, minimum_rows: int) -> bool:
    """Whether whatever was not measured has too few rows, and nothing else is missing."""
    measures = [*result.features, *([result.prediction] if result.prediction else [])]
    unmeasured = [measure for measure in measures if not is_measured(measure)]
    has_reference = result.version is not None and bool(result.features) and result.day not in result.missing_days
    return has_reference and all(measure.rows < minimum_rows for measure in unmeasured)


def _outcome(differs: bool, unknowns: list[str]) -> str:
    return (Outcome.FAIL if differs else Outcome.UNKNOWN if unknowns else Outcome.PASS).value
