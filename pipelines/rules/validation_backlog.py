"""A day that was ingested and not audited since is handed on again once validation runs, each delivery only once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal, Protocol

from pipelines.verdict import Decision, Outcome, Verdict

RULE = "validation_backlog"
HANDED_ON = "handed_on"
"""Kind of the ledger line about a day that was handed on again."""
SETTLING_TIME = timedelta(seconds=60)
"""Age from which an ingested day counts: the event of a younger one may still be on its way."""
BacklogAction = Literal["hand_on", "wait"]
BacklogDecision = Decision[BacklogAction]


class LedgerLine(Protocol):
    """The fields of a ledger line that this rule reads."""

    @property
    def kind(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def details(self) -> Mapping[str, Any]: ...


def days_not_audited(lines: Iterable[LedgerLine], now: datetime) -> list[date]:
    """Days whose newest accepted delivery was neither audited nor handed on since, ascending.

    ``lines`` are the dataset's, oldest first. A line from the future (a clock was set back) counts as old.
    """
    ingested: dict[str, datetime] = {}
    for line in lines:
        check, day = line.details.get("check"), str(line.details.get("day"))
        if (check, line.details.get("outcome")) == ("contract_check", Outcome.PASS.value):
            ingested[day] = line.at
        elif check == "quarantine" or line.kind == HANDED_ON:
            ingested.pop(day, None)
    return sorted(date.fromisoformat(day) for day, at in ingested.items() if at > now or now - at >= SETTLING_TIME)


def judge_backlog(days: Sequence[date], *, paused: bool, unfinished: int, limit: int) -> BacklogDecision:
    """``hand_on`` the oldest ``limit`` days, unless validation is paused or still at work; then ``wait``.

    ``unfinished`` runs of validation may be about these very days. PASS in either case.
    """
    reason, action = "", "hand_on"
    if not days:
        reason = "no ingested day waits for its audit"
    elif paused:
        reason = f"validation is paused; {len(days)} ingested day(s) wait for it, from {days[0]} to {days[-1]}"
    elif unfinished:
        reason = f"{unfinished} run(s) of validation are unfinished; {len(days)} day(s) are looked at again after them"
    facts: dict[str, object] = {"days": [f"{day}" for day in days[:limit]], "paused": paused, "unfinished": unfinished}
    verdict = Verdict.of(RULE, findings=[reason] if reason else [f"{len(days)} day(s)"], facts=facts)
    return BacklogDecision(verdict=verdict, action="wait" if reason else action, reason=reason)
