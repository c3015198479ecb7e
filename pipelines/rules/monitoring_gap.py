"""A check that has too little data yet is skipped; one that stays unmeasured for longer than declared fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Literal

from pipelines.spec.model import ModelSpec
from pipelines.verdict import Decision, Outcome, Verdict

GapAction = Literal["judge", "skip", "fail"]
GapDecision = Decision[GapAction]
TOO_LITTLE_DATA = "too_little_data"
"""Name of the fact by which a check says that nothing but more rows or labels is missing."""

MAY_STAY_UNMEASURED = "may_stay_unmeasured"
"""Name of the fact by which a check says that nobody needs to know that it was not measured, however long it lasts."""
WAITS_FOR_HISTORY = "waits_for_history"
"""Name of the fact by which a check says that too few days have passed since the first one."""
HISTORY_DAYS = 28
"""For how many days, or periods of a panel, a check may wait for history, besides ``max_unmeasured_days``."""


def judge_gap(
    verdict: Verdict,
    records: Iterable[Mapping[str, Any]],
    day: date,
    spec: ModelSpec,
    *,
    days_apart: int = 1,
    label_lag: int = 0,
) -> GapDecision:
    """``judge``: the check was measured. ``skip``: it has too little data, for no longer than declared. ``fail``: it
    was not measured for another reason, or for more than ``monitoring.max_unmeasured_days`` days; the verdict says so.
    A check that waits for the days of a young installation has 28 days more, and one whose labels are known
    ``label_lag`` days later so many; one that says that it may stay unmeasured is always skipped. ``days_apart``: dates
    from one period of a panel to the next.

    ``records`` are the details of earlier ledger lines ``monitoring_verdict`` of the same version. Days are data days.
    """
    if verdict.outcome is not Outcome.UNKNOWN:
        return GapDecision(verdict=verdict, action="judge")
    if not verdict.facts.get(TOO_LITTLE_DATA):
        return GapDecision(verdict=verdict, action="fail")
    if verdict.facts.get(MAY_STAY_UNMEASURED):
        return GapDecision(verdict=verdict, action="skip")
    since, limit = unmeasured_since(verdict.rule, records, day), spec.monitoring.max_unmeasured_days
    limit += label_lag + (HISTORY_DAYS * days_apart if verdict.facts.get(WAITS_FOR_HISTORY) else 0)
    days = (day - since).days + 1
    if days <= limit:
        return GapDecision(verdict=verdict, action="skip")
    overdue = f"not measured since {since}, for {days} days > {limit} (monitoring.max_unmeasured_days)"
    reasons = (*verdict.reasons, overdue)
    return GapDecision(verdict=verdict.model_copy(update={"reasons": reasons}), action="fail")


def unmeasured_since(check: str, records: Iterable[Mapping[str, Any]], day: date) -> date:
    """The first day of the unmeasured days that end with ``day``. Of several verdicts on one day the last counts."""
    outcomes = {str(record["day"]): record["outcome"] for record in records if record.get("check") == check}
    since = day
    for earlier in sorted((date.fromisoformat(on) for on in outcomes), reverse=True):
        if earlier >= day:
            continue
        if outcomes[earlier.isoformat()] != Outcome.UNKNOWN.value:
            break
        since = earlier
    return since
