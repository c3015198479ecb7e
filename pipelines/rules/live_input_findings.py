"""How a live input check tells what it measured: rows, skew, new categories, and what differs and fails nothing."""

from __future__ import annotations

from pipelines.messages.live_inputs import LiveInputsResult
from pipelines.messages.monitoring import DriftMeasure
from pipelines.rules.drift_check import SMALLEST_HISTORY_DAYS
from pipelines.rules.drift_findings import finding_text
from pipelines.spec.model import Drift

SHOWN = 5


def largest_skew(result: LiveInputsResult) -> float | None:
    """The largest share of rows that differ from the offline features; None: no row was matched."""
    shares = [measure.differing_share for measure in result.measures if measure.differing_share is not None]
    return max(shares, default=None)


def told_of_rows(result: LiveInputsResult, drift: Drift) -> list[str]:
    """A line per fact; empty without a live version."""
    if result.version is None:
        return []
    span = f"{result.judged[0]} to {result.judged[-1]}" if result.judged else "no day"
    matched = max((measure.matched_rows for measure in result.measures), default=0)
    skew = largest_skew(result)
    lines = [
        f"version {result.version}: {result.rows} rows of callers, {span}",
        f"{matched} of them have offline features"
        + ("" if skew is None else f", of which at most {skew:.1%} differ in a column"),
    ]
    if result.history_days < SMALLEST_HISTORY_DAYS:
        lines.append(
            f"no column is held against its own past yet: callers sent rows on {result.history_days} days before "
            f"(needs {SMALLEST_HISTORY_DAYS})"
        )
    lines += [
        f"watch {finding.column}: {finding_text(finding)}" for finding in result.findings if finding.lane == "watch"
    ]
    unseen = [measure for measure in result.measures if measure.unseen_share]
    lines += [
        f"{measure.name}: {measure.unseen_share:.2%} of the rows have a category that training had not: "
        + ", ".join(measure.unseen)
        for measure in unseen
    ]
    lines += _differing("the training rows", [measure.training for measure in result.measures], drift)
    recent = [measure.recent for measure in result.measures if measure.recent is not None]
    if recent:
        lines += _differing(f"the {result.former_rows} before the newest {result.recent_rows} rows", recent, drift)
    return lines


def _differing(side: str, measures: list[DriftMeasure], drift: Drift) -> list[str]:
    measured = [m for m in measures if m.p_value is not None and m.psi is not None]
    if not measured:
        return [f"no column was compared with {side}: too few rows"]
    differing = [m for m in measured if drift.is_drift(m.p_value or 0.0, m.psi or 0.0, drift.psi_threshold)]
    named = ", ".join(f"{m.name} {m.psi:.3f}" for m in sorted(differing, key=lambda m: -(m.psi or 0.0))[:SHOWN])
    counted = f"{len(differing)} of {len(measured)} columns differ from {side}"
    return [f"{counted} (psi: {named}, limit {drift.psi_threshold:g})" if differing else counted]
