"""A snapshot passes with enough rows, no empty part, both classes in each part, and no label after its as-of time.

After a loss of performance the newest rows alone are trained on where they predicted the next days better.
"""

from __future__ import annotations

from itertools import pairwise

from pipelines.messages.evaluation import HistoryComparison
from pipelines.messages.training import SnapshotResult
from pipelines.spec.model import ModelSpec
from pipelines.verdict import Verdict

RULE, RECENT_RULE = "training_snapshot", "recent_history"
MAX_NAMED_DAYS = 5
SPLIT_PARTS = ("train", "validation", "test")


def judge_snapshot(result: SnapshotResult, spec: ModelSpec) -> Verdict:
    """FAIL on too few rows, an empty part, a part with one class, a label after ``as_of``, or parts out of order."""
    failures: list[str] = []
    unknowns: list[str] = []
    if result.rows < spec.training.minimum_rows:
        failures.append(f"rows {result.rows} < {spec.training.minimum_rows}; ingest more days or use a later date")
    if result.latest_label_time is None and result.rows:
        unknowns.append("latest_label_time was not measured")
    elif result.latest_label_time is not None and result.latest_label_time > result.as_of:
        failures.append(f"latest label {result.latest_label_time:%Y-%m-%d %H:%M} > as of {result.as_of:%Y-%m-%d %H:%M}")
    for name in SPLIT_PARTS:
        broken, open_questions = _part_faults(result, spec, name)
        failures += broken
        unknowns += open_questions
    if spec.training.split.strategy == "time_ordered":
        failures += _order_faults(result)
    counts: dict[str, object] = {name: part.rows for name, part in result.parts.items()}
    facts = {"snapshot": result.digest, "rows": result.rows, **counts, "table_versions": result.table_versions}
    parts = ", ".join(f"{name} {rows}" for name, rows in counts.items())
    findings = [f"rows {result.rows}, minimum {spec.training.minimum_rows} ({parts}); snapshot {result.digest[:12]}"]
    if result.missing_days:
        facts["missing_days"] = {f"{day}": reasons for day, reasons in result.missing_days.items()}
        findings.append(_missing_days(result))
    if result.incomplete_days:
        facts["incomplete_days"] = {f"{day}": text for day, text in result.incomplete_days.items()}
        findings.append(_incomplete_days(result))
    return Verdict.of(RULE, failures=failures, unknowns=unknowns, findings=findings, facts=facts)


def judge_recent_history(comparison: HistoryComparison) -> Verdict:
    """PASS: the newest rows alone were better. FAIL: all rows were as good or better. UNKNOWN: it was not measured.

    The better estimate decides, shown or not: after a change either choice may be the wrong one, and the gates judge
    the chosen one against the champion. The findings say the standard error.
    """
    days, gain = comparison.recent_days, comparison.gain
    if gain is None:
        return Verdict.of(
            RECENT_RULE, unknowns=comparison.notes or ["nothing was measured"], facts={"recent_days": days}
        )
    error = "" if gain.standard_error is None else f" ± {gain.standard_error:.4f} (one standard error)"
    shown = f"{gain.metric} {gain.candidate:.4f} with the rows of {days} days alone, {gain.champion:.4f} with all rows"
    finding = f"{shown}, on the {gain.units} newest days: gain {gain.gain:+.4f}{error}"
    failures = [] if gain.gain > 0 else [f"the rows of {days} days alone gain {gain.gain:+.4f} of {gain.metric}"]
    facts: dict[str, object] = {
        "recent_days": days,
        "gain": gain.gain,
        "standard_error": gain.standard_error,
        "units": gain.units,
    }
    return Verdict.of(RECENT_RULE, failures=failures, findings=[finding, *comparison.notes], facts=facts)


def _missing_days(result: SnapshotResult) -> str:
    """``2 validated days have no features: 2013-01-05 (temp: minimum -9999 < -60), 2013-01-06 (...)``"""
    named = [f"{day} ({'; '.join(reasons)})" for day, reasons in list(result.missing_days.items())[:MAX_NAMED_DAYS]]
    more = len(result.missing_days) - len(named)
    days = "1 validated day has" if len(result.missing_days) == 1 else f"{len(result.missing_days)} validated days have"
    return f"{days} no features: {', '.join(named)}" + (f" and {more} more" if more else "")


def _incomplete_days(result: SnapshotResult) -> str:
    """``the windows of 1 day reach what is not held: 2013-01-06 (validated/shop.x does not hold 2013-01-05)``"""
    named = [f"{day} ({text})" for day, text in list(result.incomplete_days.items())[:MAX_NAMED_DAYS]]
    more = len(result.incomplete_days) - len(named)
    days = "1 day reach" if len(result.incomplete_days) == 1 else f"{len(result.incomplete_days)} days reach"
    return f"the windows of {days} what is not held: {', '.join(named)}" + (f" and {more} more" if more else "")


def _part_faults(result: SnapshotResult, spec: ModelSpec, name: str) -> tuple[list[str], list[str]]:
    """(failures, unknowns) of one part."""
    part = result.parts.get(name)
    if part is None:
        return [], [f"{name} part was not measured"]
    if not part.rows:
        return [f"{name} part has no rows"], []
    if spec.problem != "classification":
        return [], []
    if part.positives is None:
        return [], [f"{name} part: positives were not measured"]
    if part.positives in (0, part.rows):
        return [f"{name} part has one class only: {part.positives} positives of {part.rows} rows"], []
    return [], []


def _order_faults(result: SnapshotResult) -> list[str]:
    faults = []
    for earlier, later in pairwise(SPLIT_PARTS):
        before, after = result.parts.get(earlier), result.parts.get(later)
        if before and after and before.last and after.first and before.last >= after.first:
            faults.append(
                f"last {earlier} row {before.last:%Y-%m-%d %H:%M} >= first {later} row {after.first:%Y-%m-%d %H:%M}"
            )
    return faults
