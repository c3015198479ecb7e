"""A window's data count as drifted only if a test is significant and its effect is large; unmeasured never passes."""

from __future__ import annotations

from pipelines.messages.monitoring import DriftMeasure, DriftResult
from pipelines.rules.monitoring_gap import TOO_LITTLE_DATA
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Outcome, Verdict

RULE = "drift_check"


def judge_drift(result: DriftResult, spec: ModelSpec) -> Verdict:
    """FAIL when the share of drifting features reaches its threshold, or the predictions drift.

    A column drifts when ``p_value < drift.p_value`` and its PSI reaches the threshold (``psi_threshold`` for a
    feature, ``prediction_drift_threshold`` for the predictions). The share is taken over all features of the result:
    one that was not measured counts as not drifting, but turns a PASS into UNKNOWN.
    ``facts["data_drift"]`` and ``facts["prediction_drift"]`` hold the outcome of each half, for the retrain request.
    """
    drift = spec.monitoring.drift
    drifting = [m for m in result.features if has_drifted(m, spec, drift.psi_threshold)]
    share = len(drifting) / len(result.features) if result.features else 0.0
    data_failures: list[str] = []
    if drifting and share >= drift.feature_drift_threshold - 1e-12:
        counted = f"{len(drifting)} of {len(result.features)} features"
        data_failures = [f"drifting share {share:.3f} >= {drift.feature_drift_threshold} ({counted})"]
        data_failures += [_drift_text(m, drift.p_value, drift.psi_threshold) for m in drifting]
    data_unknowns = _unmeasured_data(result, drift.minimum_rows)

    prediction_failures: list[str] = []
    prediction_unknowns: list[str] = []
    if result.prediction is None or not _is_measured(result.prediction):
        rows = result.prediction.rows if result.prediction else 0
        prediction_unknowns = [f"prediction drift not measured: {rows} rows (needs {_needed(drift.minimum_rows)})"]
    elif has_drifted(result.prediction, spec, drift.prediction_drift_threshold):
        prediction_failures = [_drift_text(result.prediction, drift.p_value, drift.prediction_drift_threshold)]

    facts: dict[str, object] = {
        "version": result.version,
        "reference": result.reference,
        "days": len(result.window),
        "features": len(result.features),
        "drifting": [m.name for m in drifting],
        "drifting_share": round(share, 6),
        "largest_psi": {m.name: round(m.psi, 4) for m in _sort_by_psi(result.features)[:5] if m.psi is not None},
        "prediction_psi": result.prediction.psi if result.prediction else None,
        "data_drift": _outcome(data_failures, data_unknowns),
        "prediction_drift": _outcome(prediction_failures, prediction_unknowns),
        "report": result.report,
    }
    failures, unknowns = data_failures + prediction_failures, data_unknowns + prediction_unknowns
    facts[TOO_LITTLE_DATA] = bool(unknowns) and _has_too_little_data(result, drift.minimum_rows)
    findings = _findings(result, spec, len(drifting), share)
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def _findings(result: DriftResult, spec: ModelSpec, drifting: int, share: float) -> list[str]:
    drift = spec.monitoring.drift
    counted = f"{drifting} of {len(result.features)} features drift"
    findings = [f"version {result.version}: {counted}: share {share:.3f}, limit {drift.feature_drift_threshold:g}"]
    if largest := [m for m in _sort_by_psi(result.features)[:3] if m.psi is not None]:
        named = ", ".join(f"{m.name} {m.psi:.3f}" for m in largest)
        findings.append(f"largest psi: {named}, limit {drift.psi_threshold:g}")
    if result.prediction is not None and result.prediction.psi is not None:
        limit = f"limit {drift.prediction_drift_threshold:g} ({result.prediction.rows} rows)"
        findings.append(f"psi of the predictions {result.prediction.psi:.3f}, {limit}")
    return findings


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
        if not _is_measured(m)
    ]
    return unknowns


def _needed(minimum_rows: int) -> str:
    return f"monitoring.drift.minimum_rows: {minimum_rows}"


def _has_too_little_data(result: DriftResult, minimum_rows: int) -> bool:
    """Whether whatever was not measured has too few rows, and nothing else is missing."""
    measures = [*result.features, *([result.prediction] if result.prediction else [])]
    unmeasured = [measure for measure in measures if not _is_measured(measure)]
    has_reference = result.version is not None and bool(result.features) and result.day not in result.missing_days
    return has_reference and all(measure.rows < minimum_rows for measure in unmeasured)


def _outcome(failures: list[str], unknowns: list[str]) -> str:
    return (Outcome.FAIL if failures else Outcome.UNKNOWN if unknowns else Outcome.PASS).value


def _is_measured(measure: DriftMeasure) -> bool:
    return measure.p_value is not None and measure.psi is not None


def has_drifted(measure: DriftMeasure, spec: ModelSpec, psi_threshold: float) -> bool:
    """Whether a column drifts; False for one that was not measured."""
    p_value, psi = measure.p_value, measure.psi
    return p_value is not None and psi is not None and spec.monitoring.drift.is_drift(p_value, psi, psi_threshold)


def _sort_by_psi(measures: list[DriftMeasure]) -> list[DriftMeasure]:
    return sorted(measures, key=lambda m: m.psi or 0.0, reverse=True)


def _drift_text(m: DriftMeasure, p_value: float, psi_threshold: float) -> str:
    """``temp: psi 0.912 >= 0.25, p 3.1e-40 < 0.01 (ks 0.412, 6120 rows)``"""
    tested = f"{m.method} {m.statistic:.4g}" if m.statistic is not None else m.method
    return f"{m.name}: psi {m.psi:.3f} >= {psi_threshold}, p {m.p_value:.2g} < {p_value} ({tested}, {m.rows} rows)"
