"""A partition that was ingested and not audited since is handed on again, each delivery only once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from pipelines.spec.partitions import recorded_partition
from pipelines.verdict import Decision, Outcome, Verdict

RULE = "validation_backlog"
HANDED_ON = "handed_on"
"""Kind of the ledger line about a partition that was handed on again."""
SETTLING_TIME = timedelta(seconds=60)
"""Age from which an ingested partition counts: the event of a younger one may still be on its way."""
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


def partitions_not_audited(lines: Iterable[LedgerLine], now: datetime) -> list[str]:
    """Keys of the partitions whose newest accepted delivery was neither audited nor handed on since, ascending.

    ``lines`` are the dataset's, oldest first. A line from the future (a clock was set back) counts as old.
    """
    ingested: dict[str, datetime] = {}
    for line in lines:
        check, key = line.details.get("check"), recorded_partition(line.details)
        if key is None:
            continue
        if (check, line.details.get("outcome")) == ("contract_check", Outcome.PASS.value):
            ingested[key] = line.at
        elif check == "quarantine" or line.kind == HANDED_ON:
            ingested.pop(key, None)
    return sorted(key for key, at in ingested.items() if at > now or now - at >= SETTLING_TIME)


def judge_backlog(keys: Sequence[str], *, paused: bool, unfinished: int, limit: int) -> BacklogDecision:
    """``hand_on`` the oldest ``limit`` partitions, unless validation is paused or still at work; then ``wait``.

    ``unfinished`` runs of validation may be about these very partitions. PASS in either case.
    """
    reason, action = "", "hand_on"
    if not keys:
        reason = "no ingested partition waits for its audit"
    elif paused:
        reason = f"validation is paused; {len(keys)} ingested partition(s) wait for it, from {keys[0]} to {keys[-1]}"
    elif unfinished:
        reason = (
            f"{unfinished} run(s) of validation are unfinished; {len(keys)} partition(s) are looked at again after them"
        )
    facts: dict[str, object] = {"partitions": list(keys[:limit]), "paused": paused, "unfinished": unfinished}
    verdict = Verdict.of(RULE, findings=[reason] if reason else [f"{len(keys)} partition(s)"], facts=facts)
    return BacklogDecision(verdict=verdict, action="wait" if reason else action, reason=reason)
