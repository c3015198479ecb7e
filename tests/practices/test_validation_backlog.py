"""A day whose event was lost while validation was paused is validated once it runs again."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.rules.validation_backlog import HANDED_ON
from pipelines.testing.ports import FixedClock
from practices._arrivals import backlog_trigger
from practices._arrivals.backlog_trigger import UnauditedDays
from practices._operators.defaults import asset
from practices.validation_backlog import ValidationBacklog
from tests.practices.practice_harness import NOW, PracticeHarness

DAYS = [date(2013, 1, 1) + timedelta(days=number) for number in range(10)]


@pytest.fixture
def paused(harness: PracticeHarness) -> PracticeHarness:
    """Ten days were ingested, one of them twice, while nothing validated them; later it is an hour later."""
    clock = FixedClock(NOW)
    harness.clock = clock  # type: ignore[assignment]
    harness.ledger._clock = clock
    for day in [*DAYS, DAYS[4]]:
        judged(harness, "contract_check", day)
    clock.advance(timedelta(hours=1))
    return harness


def judged(harness: PracticeHarness, check: str, day: date) -> None:
    details = {"check": check, "day": f"{day}", "outcome": "pass"}
    harness.ledger.append("data_verdict", "flights", None, details, actor="test")


def hand_on(harness: PracticeHarness, *, paused: bool = False, unfinished: int = 0, **run: Any) -> set[str]:
    """The partitions of the events that a run sends."""
    context = harness.context("catch_up", "hand_on_days", **run)
    context["ti"].get_dag = lambda dag_id: SimpleNamespace(is_paused=paused and dag_id == "flights__validate")
    context["ti"].get_dr_count = lambda dag_id, states: unfinished * (dag_id == "flights__validate")
    ValidationBacklog(task_id="hand_on_days", dataset="flights").execute(context)
    keys: set[str] = context["outlet_events"][asset("flights", "ingested")].partition_keys
    return keys


def test_every_day_is_handed_on_once_under_its_own_key(paused: PracticeHarness) -> None:
    assert hand_on(paused) == {f"{day}" for day in DAYS}
    assert [details for _, details in paused.lines(HANDED_ON)] == [{"day": f"{day}"} for day in DAYS]
    with pytest.raises(AirflowSkipException, match="no ingested partition"):
        hand_on(paused, run="manual__2")


@pytest.mark.parametrize("state", [{"paused": True}, {"unfinished": 3}])
def test_nothing_is_sent_that_would_be_lost_or_is_under_way(paused: PracticeHarness, state: dict[str, Any]) -> None:
    with pytest.raises(AirflowSkipException):
        hand_on(paused, **state)
    assert paused.lines(HANDED_ON) == []


def test_a_try_that_was_killed_after_its_lines_sends_the_same_events_again(paused: PracticeHarness) -> None:
    assert hand_on(paused) == hand_on(paused)
    assert len(paused.lines(HANDED_ON)) == len(DAYS)


def test_a_day_that_was_audited_meanwhile_is_left_out(paused: PracticeHarness) -> None:
    judged(paused, "quarantine", DAYS[0])
    assert hand_on(paused) == {f"{day}" for day in DAYS[1:]}


def watch(harness: PracticeHarness, monkeypatch: pytest.MonkeyPatch, *, unfinished: int = 0) -> list[str]:
    """What the trigger finds in one look."""
    trigger = UnauditedDays("flights")
    monkeypatch.setattr(trigger, "_unfinished_runs", lambda: unfinished)
    return trigger._find_partitions()


def test_the_triggerer_looks_for_such_days_in_the_ledger_and_survives_its_silence(
    paused: PracticeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watch(paused, monkeypatch) == [f"{day}" for day in DAYS]
    assert watch(paused, monkeypatch, unfinished=1) == []
    paused.ledger.down = True
    assert watch(paused, monkeypatch) == []


def test_the_trigger_announces_the_days_and_can_be_made_anew_from_what_airflow_stores(
    paused: PracticeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UnauditedDays, "_unfinished_runs", lambda _: 0)
    path, arguments = UnauditedDays("flights").serialize()
    assert path == f"{backlog_trigger.__name__}.UnauditedDays"

    async def first() -> Any:
        return await anext(UnauditedDays(**arguments).run())

    assert asyncio.run(first()).payload == {"partitions": [f"{day}" for day in DAYS]}
