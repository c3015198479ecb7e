"""Which ingested days nobody has audited, and when they are handed on again."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.rules.validation_backlog import HANDED_ON, SETTLING_TIME, judge_backlog, partitions_not_audited
from pipelines.spec.partitions import named_partition

NOW = datetime.fromisoformat("2026-11-02T07:00:00+00:00")
DAY, OTHER, WEEK = "2013-01-05", "2013-01-06", "2024-W07"


def line(what: str, key: str = DAY, outcome: str = "pass", at: datetime = NOW - timedelta(hours=1)) -> Any:
    kind = HANDED_ON if what == HANDED_ON else "data_verdict"
    return SimpleNamespace(kind=kind, at=at, details={"check": what, **named_partition(key), "outcome": outcome})


INGESTED, REFUSED = line("contract_check"), line("contract_check", outcome="fail")
PUBLISHED, QUARANTINED = line("quarantine"), line("quarantine", outcome="fail")


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        ([], []),
        ([INGESTED], [DAY]),
        ([REFUSED], []),
        ([INGESTED, PUBLISHED], []),
        ([INGESTED, QUARANTINED], []),
        ([INGESTED, PUBLISHED, INGESTED], [DAY]),
        ([INGESTED, INGESTED, PUBLISHED], []),
        ([INGESTED, REFUSED], [DAY]),
        ([INGESTED, line(HANDED_ON)], []),
        ([INGESTED, line(HANDED_ON), INGESTED], [DAY]),
        ([line("contract_check", OTHER), INGESTED, line("quarantine", OTHER)], [DAY]),
        ([line("contract_check", OTHER), INGESTED], [DAY, OTHER]),
        ([INGESTED, line("point_in_time_features")], [DAY]),
        ([line("contract_check", WEEK), INGESTED, line("quarantine")], [WEEK]),
        ([line("contract_check", WEEK), line("quarantine", WEEK)], []),
    ],
)
def test_a_day_waits_from_its_ingestion_until_its_audit(lines: list[Any], keys: list[str]) -> None:
    assert partitions_not_audited(lines, NOW) == keys


@pytest.mark.parametrize(
    ("age", "waits"),
    [
        (timedelta(), False),
        (SETTLING_TIME - timedelta(seconds=1), False),
        (SETTLING_TIME, True),
        (-SETTLING_TIME, True),
    ],
)
def test_a_day_counts_once_its_event_had_time_to_arrive_or_the_clock_was_set_back(age: timedelta, waits: bool) -> None:
    assert bool(partitions_not_audited([line("contract_check", at=NOW - age)], NOW)) == waits


@pytest.mark.parametrize(
    ("keys", "state", "action", "reason"),
    [
        ([], {"paused": False, "unfinished": 0}, "wait", "no ingested partition"),
        ([DAY], {"paused": True, "unfinished": 0}, "wait", "paused; 1 ingested partition"),
        ([DAY], {"paused": False, "unfinished": 2}, "wait", "2 run"),
        ([DAY, OTHER], {"paused": False, "unfinished": 0}, "hand_on", ""),
    ],
)
def test_days_are_handed_on_once_validation_runs_and_has_nothing_else_to_do(
    keys: list[str], state: dict[str, Any], action: str, reason: str
) -> None:
    decision = judge_backlog(keys, **state, limit=10)
    assert decision.action == action
    assert reason in decision.reason
    assert decision.verdict.passed


def test_the_oldest_days_go_first_and_not_more_than_a_run_may_have() -> None:
    decision = judge_backlog([DAY, OTHER], paused=False, unfinished=0, limit=1)
    assert decision.verdict.facts["partitions"] == [DAY]
