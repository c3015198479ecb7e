"""What the ledger says of a model's trainings: their rows, the rows since, and what the age of a model costs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from pipelines.messages.retraining import AgeGain, TrainedRows, TrainingHistory
from pipelines.ports import LedgerEntry
from pipelines.verdict import Outcome


def read_training_history(
    lines: Iterable[LedgerEntry], view_lines: Iterable[LedgerEntry], timezone: str, now: datetime
) -> TrainingHistory:
    """From the lines of the model and of its view. ``timezone``: of the dataset, for the day in which rows end."""
    lines = list(lines)
    snapshots = {
        str(line.details["snapshot"]): line
        for line in lines
        if line.kind == "data_verdict" and line.details.get("snapshot") and line.details.get("as_of")
    }
    moments = {digest: datetime.fromisoformat(str(line.details["as_of"])) for digest, line in snapshots.items()}
    ends = {digest: last_day(as_of, timezone) for digest, as_of in moments.items()}
    trained = []
    for line in lines:
        digest = str(line.details.get("snapshot"))
        if line.kind == "training" and line.details.get("outcome") == Outcome.PASS.value and digest in ends:
            rows = (snapshots[digest].details.get("facts") or {}).get("rows")
            trained.append(TrainedRows(day=ends[digest], rows=int(rows or 0)))
    return TrainingHistory(
        now=now, trained=trained, rows_by_day=_rows_by_day(view_lines), gains=list(_gains(lines, ends))
    )


def last_day(as_of: datetime, timezone: str) -> date:
    """The local day that ends at ``as_of``, or in which it lies."""
    return (as_of - timedelta(microseconds=1)).astimezone(ZoneInfo(timezone)).date()


def _rows_by_day(lines: Iterable[LedgerEntry]) -> dict[date, int]:
    rows: dict[date, int] = {}
    for line in lines:
        facts = line.details.get("facts") or {}
        if line.details.get("check") == "point_in_time_features" and facts.get("day") and "rows" in facts:
            rows[date.fromisoformat(str(facts["day"]))] = int(facts["rows"])
    return rows


def _gains(lines: Iterable[LedgerEntry], ends: dict[str, date]) -> Iterable[AgeGain]:
    """Of each comparison of two versions that were declared alike and differ by the end of their rows."""
    trainings = {line.version: line.details for line in lines if line.kind == "training"}
    for line in lines:
        facts = line.details.get("facts") or {}
        if line.kind != "gate" or line.details.get("gate") != "champion_comparison_gate":
            continue
        ours, theirs = trainings.get(line.version), trainings.get(str(facts.get("champion")))
        if not ours or not theirs or ours.get("declared") != theirs.get("declared") or ours.get("history"):
            continue
        days = [ends.get(str(each.get("snapshot"))) for each in (ours, theirs)]
        if days[0] is None or days[1] is None or days[0] <= days[1] or not facts.get("standard_error"):
            continue
        age = (days[0] - days[1]).days
        yield AgeGain(days=age, gain=float(facts["gain"]), standard_error=float(facts["standard_error"]))
