"""How a drift check says what it found: the finding of a column with its weight, and a window beside training rows."""

from __future__ import annotations

from pipelines.messages.monitoring import ColumnFinding, DriftMeasure, DriftResult
from pipelines.spec.model import ModelSpec

ACT_FROM = 0.0175
"""Weight (share of the distribution that moved, times the column's influence on the answers) from which a finding
matters: 48 of 53 simulated faults that cost 0.01 of AUC or more weigh so much, and 1 of 95 natural shifts."""


def matters(finding: ColumnFinding) -> bool | None:
    """Whether the answers may have moved by enough to act; None if it is not known."""
    return None if finding.weight is None else finding.weight >= ACT_FROM


def finding_text(finding: ColumnFinding) -> str:
    """What shows it, since when, and whether it matters."""
    if finding.weight is None:
        weight = "how much the answers depend on it is not known"
    else:
        product = f"{finding.moved:.2f} of its values moved * influence {finding.influence:.3f} = {finding.weight:.4f}"
        against = f">= {ACT_FROM}: act" if matters(finding) else f"< {ACT_FROM}: the answers hardly move"
        weight = f"{product} {against}"
    return f"since {finding.since} {'; '.join(finding.signs)}; {weight}"


def window_findings(result: DriftResult, spec: ModelSpec, drifting: int, share: float) -> list[str]:
    """What was measured of the window against training; ``share`` of the features, ``drifting`` of them, differ."""
    drift = spec.monitoring.drift
    counted = f"{drifting} of {len(result.features)} features differ from its training rows"
    findings = [f"version {result.version}: {counted}: share {share:.3f}, limit {drift.feature_drift_threshold:g}"]
    differing = [m for m in result.features if has_drifted(m, spec, drift.psi_threshold)]
    findings += [_drift_text(m, drift.p_value, drift.psi_threshold) for m in sort_by_psi(differing)]
    if largest := [m for m in sort_by_psi(result.features)[:3] if m.psi is not None]:
        named = ", ".join(f"{m.name} {m.psi:.3f}" for m in largest)
        findings.append(f"largest psi: {named}, limit {drift.psi_threshold:g}")
    if result.prediction is not None and result.prediction.psi is not None:
        limit = f"limit {drift.prediction_drift_threshold:g} ({result.prediction.rows} rows)"
        findings.append(f"psi of the predictions {result.prediction.psi:.3f}, {limit}")
    return findings


def is_measured(measure: DriftMeasure) -> bool:
    return measure.p_value is not None and measure.psi is not None


def has_drifted(measure: DriftMeasure, spec: ModelSpec, psi_threshold: float) -> bool:
    """Whether a column differs from its reference; False for one that was not measured."""
    p_value, psi = measure.p_value, measure.psi
    return p_value is not None and psi is not None and spec.monitoring.drift.is_drift(p_value, psi, psi_threshold)


def sort_by_psi(measures: list[DriftMeasure]) -> list[DriftMeasure]:
    return sorted(measures, key=lambda m: m.psi or 0.0, reverse=True)


def _drift_text(m: DriftMeasure, p_value: float, psi_threshold: float) -> str:
    """``temp: psi 0.912 >= 0.25, p 3.1e-40 < 0.01 (ks 0.412, 6120 rows)``"""
    tested = f"{m.method} {m.statistic:.4g}" if m.statistic is not None else m.method
    return f"{m.name}: psi {m.psi:.3f} >= {psi_threshold}, p {m.p_value:.2g} < {p_value} ({tested}, {m.rows} rows)"
