from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import BaseTrigger

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.messages.delivery import RawReceipt
from pipelines.spec.source_files import SourceFiles
from pipelines.spec.sql_table import SqlTable
from practices._arrivals import deliveries, receipts
from practices._arrivals import trigger as arrival_trigger
from practices._arrivals.late_partitions import LatePartitions
from practices._arrivals.scheduled_wait import wait_end
from practices._arrivals.trigger import ArrivalTrigger, LateArrivals
from practices._connections import installation
from practices.partition_arrival import PartitionArrival
from tests.practices.landing import DAY, dataset, deliver
from tests.practices.practice_harness import PracticeHarness

STILL_WAITED_FOR = datetime(2013, 1, 6, 11, 15, tzinfo=UTC)
WAIT_IS_OVER = datetime(2013, 1, 6, 11, 45, tzinfo=UTC)


@pytest.fixture
def store(harness: PracticeHarness, monkeypatch: pytest.MonkeyPatch) -> Any:
    harness.catalog.datasets["flights"] = dataset()
    harness.clock.at = STILL_WAITED_FOR
    monkeypatch.setattr(installation, "load_catalog", lambda: harness.catalog)
    return harness.store


def arrival(harness: PracticeHarness, context: Any = None) -> dict[str, int | None]:
    context = context or harness.context("ingest", "wait_for_partition", partition_key=f"{DAY}")
    return PartitionArrival(task_id="wait_for_partition", dataset="flights").execute(context)


def test_a_day_that_every_source_has_delivered_is_begun_at_once(harness: PracticeHarness, store: Any) -> None:
    deliver(store, DAY)
    assert arrival(harness) == {"flights": 900, "weather": 72, "planes": 3322}


def test_a_reference_source_counts_with_its_newest_copy_until_the_day(harness: PracticeHarness, store: Any) -> None:
    deliver(store, DAY, sources={"flights": 900, "weather": 72})
    deliver(store, date(2013, 1, 1), sources={"planes": 1})
    deliver(store, date(2013, 1, 4), sources={"planes": 4})
    deliver(store, date(2013, 1, 6), sources={"planes": 6})
    assert arrival(harness)["planes"] == 4


def test_a_day_not_there_yet_is_waited_for_without_a_worker(harness: PracticeHarness, store: Any) -> None:
    deliver(store, DAY, sources={"flights": 900})
    with pytest.raises(TaskDeferred) as deferred:
        arrival(harness)
    path, arguments = deferred.value.trigger.serialize()
    assert path == "practices._arrivals.trigger.ArrivalTrigger"
    assert (arguments["dataset"], arguments["day"]) == ("flights", "2013-01-05")
    assert datetime.fromisoformat(arguments["until"]) == datetime(2013, 1, 6, 11, 30, tzinfo=UTC)
    assert getattr(PartitionArrival, deferred.value.method_name)


def test_a_day_whose_wait_is_over_fails_naming_every_missing_source(harness: PracticeHarness, store: Any) -> None:
    deliver(store, DAY, sources={"flights": 900})
    harness.clock.at = WAIT_IS_OVER
    context = harness.context("ingest", "wait_for_partition", partition_key=f"{DAY}")
    with pytest.raises(Unavailable, match="2013-01-05") as error:
        arrival(harness, context)
    assert "weather" in str(error.value)
    assert "planes" in str(error.value)
    assert "flights: " not in str(error.value)
    assert len(context["pushed"]["reasons"]) == 2


def test_a_manifest_that_cannot_be_read_is_refused_by_its_path(harness: PracticeHarness, store: Any) -> None:
    deliver(store, DAY)
    store.put(store_paths.landing("flights", "weather", DAY, "_manifest.json"), b'{"schema": 1, "source": "weather"}')
    with pytest.raises(Refused, match=r"landing/flights/weather/2013-01-05/_manifest\.json") as error:
        arrival(harness)
    assert {reason.split(":")[0] for reason in error.value.reasons} == {"partition", "files"}


@pytest.mark.parametrize(
    ("due", "day", "ends"),
    [
        ("6h", date(2013, 1, 5), datetime(2013, 1, 6, 11, 30, tzinfo=UTC)),
        ("0m", date(2013, 1, 5), datetime(2013, 1, 6, 5, 30, tzinfo=UTC)),
        ("3d", date(2013, 1, 5), datetime(2013, 1, 9, 5, 30, tzinfo=UTC)),
        ("6h", date(2013, 3, 9), datetime(2013, 3, 10, 11, 30, tzinfo=UTC)),  # six hours, whatever the clocks do
    ],
)
def test_a_day_is_waited_for_from_its_local_turn_on(due: str, day: date, ends: datetime) -> None:
    spec = dataset(due=due)
    assert wait_end(spec, spec.partition_calendar.require(f"{day}", "flights")) == ends


# ---- waiting ---------------------------------------------------------------------------------------------------------


def first_event(trigger: BaseTrigger, meanwhile: Callable[[], None] | None = None) -> Any:
    """The payload of the trigger's first event; None if nothing is done meanwhile and it stays quiet."""

    async def listen() -> Any:
        events = trigger.run()
        waiting = asyncio.ensure_future(anext(events))
        if meanwhile:
            await asyncio.sleep(0.05)
            assert not waiting.done()
            meanwhile()
        done, _ = await asyncio.wait([waiting], timeout=0.25 if meanwhile is None else 180)
        if not done:
            waiting.cancel()
            return None
        return waiting.result().payload

    return asyncio.run(listen())


def waiting(until: datetime = WAIT_IS_OVER) -> ArrivalTrigger:
    return ArrivalTrigger("flights", f"{DAY}", until.isoformat(), 0.01)


def test_the_wait_ends_when_the_last_source_has_delivered(store: Any) -> None:
    deliver(store, DAY, sources={"flights": 900, "planes": 1})
    assert first_event(waiting(), lambda: deliver(store, DAY, sources={"weather": 72})) == {"arrived": True}


def test_the_wait_ends_when_its_time_is_up(harness: PracticeHarness, store: Any) -> None:
    def pass_time() -> None:
        harness.clock.at = WAIT_IS_OVER

    assert first_event(waiting(), pass_time) == {"arrived": False}


def test_the_wait_ends_in_its_time_although_the_clock_was_set_back(harness: PracticeHarness, store: Any) -> None:
    readings = itertools.count()
    almost_over = WAIT_IS_OVER - timedelta(seconds=0.1)
    harness.clock = lambda: almost_over - timedelta(days=400 if next(readings) else 0)  # type: ignore[assignment]

    async def listen() -> Any:
        return await asyncio.wait_for(anext(waiting().run()), timeout=180)

    assert asyncio.run(listen()).payload == {"arrived": False}


def test_the_wait_outlives_a_store_that_does_not_answer(store: Any) -> None:
    deliver(store, DAY)
    store.down = True

    def come_back() -> None:
        store.down = False

    assert first_event(waiting(), come_back) == {"arrived": True}


def test_a_trigger_is_rebuilt_from_what_it_says_of_itself() -> None:
    for trigger in (waiting(), LateArrivals(dataset="flights", poll_seconds=0.5)):
        path, arguments = trigger.serialize()
        again = getattr(arrival_trigger, path.rpartition(".")[2])(**arguments)
        assert again.serialize() == (path, arguments)


# ---- late days -------------------------------------------------------------------------------------------------------


@pytest.fixture
def late(harness: PracticeHarness, store: Any) -> Any:
    harness.clock.at = WAIT_IS_OVER
    return store


def deal_with(harness: PracticeHarness, *days: date) -> None:
    for day in days:
        with receipts.write_receipt(harness.store, harness.catalog.datasets["flights"], f"{day}"):
            pass


def watch(harness: PracticeHarness, meanwhile: Callable[[], None] | None = None) -> Any:
    event = first_event(LateArrivals(dataset="flights", poll_seconds=0.01), meanwhile)
    return event and event["partitions"]


def test_days_that_land_after_their_wait_are_announced_together(harness: PracticeHarness, late: Any) -> None:
    deliver(late, *(date(2013, 1, day) for day in (3, 4, 5)))
    assert watch(harness) == ["2013-01-03", "2013-01-04", "2013-01-05"]


def test_a_day_that_its_scheduled_run_still_waits_for_is_left_to_that_run(harness: PracticeHarness, late: Any) -> None:
    harness.clock.at = STILL_WAITED_FOR
    deliver(late, DAY)
    assert watch(harness) is None


def test_a_day_is_not_announced_before_every_source_has_delivered(harness: PracticeHarness, late: Any) -> None:
    deliver(late, DAY, sources={"flights": 900, "planes": 1})
    assert watch(harness, lambda: deliver(late, DAY, sources={"weather": 72})) == ["2013-01-05"]


def test_a_day_outside_the_calendar_is_nobodys_business(harness: PracticeHarness, late: Any) -> None:
    deliver(late, date(2012, 12, 31), date(2014, 1, 1))
    harness.clock.at = datetime(2026, 1, 1, tzinfo=UTC)
    assert watch(harness) is None


def test_a_day_dealt_with_is_quiet_until_it_is_delivered_anew(
    harness: PracticeHarness, late: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival_trigger, "RECHECK_SECONDS", 0.02)
    deliver(late, date(2013, 1, 4), DAY)
    deal_with(harness, date(2013, 1, 4), DAY)
    assert watch(harness, lambda: deliver(late, DAY, sources={"flights": 901})) == ["2013-01-05"]


def test_a_refused_file_put_right_under_the_same_manifest_is_taken_up(
    harness: PracticeHarness, late: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival_trigger, "RECHECK_SECONDS", 0.02)
    path = store_paths.landing("flights", "flights", DAY, "rows.csv")
    deliver(late, DAY)
    late.put(path, b"trunca")
    with pytest.raises(Refused), receipts.write_receipt(late, harness.catalog.datasets["flights"], DAY):
        raise Refused("a truncated file")
    assert watch(harness, lambda: late.put(path, b"truncated no more")) == ["2013-01-05"]


def test_an_announced_day_is_announced_again_only_if_nobody_deals_with_it(
    harness: PracticeHarness, late: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival_trigger, "REPEAT_EVENT_SECONDS", 0.1)

    async def listen() -> list[Any]:
        events = LateArrivals(dataset="flights", poll_seconds=0.01).run()
        heard = [(await asyncio.wait_for(anext(events), 60)).payload["partitions"] for _ in range(2)]
        deal_with(harness, DAY)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.3)
        return heard

    deliver(late, DAY)
    assert asyncio.run(listen()) == [["2013-01-05"], ["2013-01-05"]]


def test_a_delivery_put_right_before_the_next_look_is_announced_at_once(harness: PracticeHarness, late: Any) -> None:
    path = store_paths.landing("flights", "flights", DAY, "rows.csv")

    async def listen() -> list[Any]:
        events = LateArrivals(dataset="flights", poll_seconds=0.05).run()
        heard = [(await asyncio.wait_for(anext(events), 60)).payload["partitions"]]
        with pytest.raises(Refused), receipts.write_receipt(late, harness.catalog.datasets["flights"], DAY):
            raise Refused("a truncated file")
        late.put(path, b"truncated no more")
        return [*heard, (await asyncio.wait_for(anext(events), 60)).payload["partitions"]]

    deliver(late, DAY)
    late.put(path, b"trunca")
    assert asyncio.run(listen()) == [["2013-01-05"], ["2013-01-05"]]


def test_an_arrival_run_takes_up_what_nobody_has_dealt_with_since(harness: PracticeHarness, late: Any) -> None:
    days = [date(2013, 1, 1) + timedelta(days=number) for number in range(5)]
    deliver(late, *days)
    deal_with(harness, days[1])
    context = harness.context("arrive", "list_late_days")
    assert LatePartitions(task_id="list_late_days", dataset="flights").execute(context) == [
        f"{day}" for day in days if day != days[1]
    ]


def test_a_receipt_tells_what_became_of_which_delivery(harness: PracticeHarness, late: Any) -> None:
    spec = harness.catalog.datasets["flights"]
    deliver(late, DAY)
    with pytest.raises(Refused), receipts.write_receipt(late, spec, DAY):
        raise Refused("a truncated file")
    refused = json.loads(late.get(store_paths.receipt("flights", DAY)))
    deal_with(harness, DAY)
    taken = json.loads(late.get(store_paths.receipt("flights", DAY)))
    assert (refused["outcome"], taken["outcome"]) == ("refused", "taken")
    assert refused["delivery"] == taken["delivery"] == deliveries.delivery_digest(late, spec, DAY)


def ingest_receipt(store: Any, source: str, day: date, rows: int) -> None:
    receipt = RawReceipt(rows=rows, sha256={"rows.csv": f"{rows:064d}"}, version=1)
    store.put(store_paths.raw_receipt("flights", source, day), receipt.model_dump_json(by_alias=True).encode())


def test_what_was_ingested_has_arrived_although_its_landed_files_are_gone(harness: PracticeHarness, store: Any) -> None:
    deliver(store, DAY, sources={"flights": 900})
    ingest_receipt(store, "weather", DAY, 72)
    ingest_receipt(store, "planes", date(2013, 1, 3), 3322)
    assert arrival(harness) == {"flights": 900, "weather": 72, "planes": 3322}
    assert deliveries.has_landed(store, harness.catalog.dataset("flights"), f"{DAY}", WAIT_IS_OVER)


def test_a_late_day_is_found_when_the_only_reference_copy_is_gone(harness: PracticeHarness, store: Any) -> None:
    deliver(store, DAY, sources={"flights": 900, "weather": 72})
    spec = harness.catalog.dataset("flights")
    assert deliveries.late_partitions(store, spec, WAIT_IS_OVER) == {}
    ingest_receipt(store, "planes", date(2013, 1, 3), 3322)
    assert set(deliveries.late_partitions(store, spec, WAIT_IS_OVER)) == {f"{DAY}"}


def test_a_store_that_is_away_is_waited_for_like_a_late_file(harness: PracticeHarness, store: Any) -> None:
    deliver(store, DAY)
    store.down = True
    with pytest.raises(TaskDeferred) as deferred:
        arrival(harness)
    until = datetime.fromisoformat(deferred.value.trigger.serialize()[1]["until"])
    assert until == datetime(2013, 1, 6, 11, 30, tzinfo=UTC)
    store.down = False
    assert arrival(harness)["flights"] == 900


def test_a_store_that_is_away_is_waited_for_a_quarter_of_an_hour_when_the_day_is_past(
    harness: PracticeHarness, store: Any
) -> None:
    deliver(store, DAY)
    harness.clock.at = WAIT_IS_OVER
    store.down = True
    with pytest.raises(TaskDeferred) as deferred:
        arrival(harness)
    until = datetime.fromisoformat(deferred.value.trigger.serialize()[1]["until"])
    assert until == WAIT_IS_OVER + timedelta(minutes=15)
    harness.clock.at = until
    context = harness.context("ingest", "wait_for_partition", partition_key=f"{DAY}")
    task = PartitionArrival(task_id="wait_for_partition", dataset="flights")
    with pytest.raises(Unavailable, match="does not answer"):
        task.resume(context, {"arrived": False})
    store.down = False
    assert task.resume(context, {"arrived": True})["flights"] == 900


def with_tables(harness: PracticeHarness, *names: str) -> Any:
    """The same dataset, of which these sources are tables of a database."""
    spec = harness.catalog.datasets["flights"]
    sources = {
        name: source.model_copy(update={"sql": SqlTable(connection="warehouse", table=name)})
        if name in names
        else source
        for name, source in spec.sources.items()
    }
    harness.catalog.datasets["flights"] = spec.model_copy(update={"sources": sources})
    return harness.catalog.datasets["flights"]


def test_a_database_is_awaited_until_its_rows_are_complete_and_needs_no_delivery(
    harness: PracticeHarness, store: Any
) -> None:
    spec = with_tables(harness, "weather", "planes")
    deliver(store, DAY, sources={"flights": 900})
    complete = spec.complete_at(spec.partition_calendar.require(f"{DAY}", "flights"))
    assert complete == WAIT_IS_OVER - timedelta(minutes=45)
    harness.clock.at = complete - timedelta(seconds=1)
    with pytest.raises(TaskDeferred):
        arrival(harness)
    assert not deliveries.has_landed(store, spec, f"{DAY}", harness.clock())
    harness.clock.at = complete
    assert arrival(harness) == {"flights": 900}
    assert deliveries.has_landed(store, spec, f"{DAY}", complete)


def complete_by(harness: PracticeHarness, complete: Any) -> None:
    """The same dataset, of which each source declares when its deliveries are complete."""
    spec = harness.catalog.datasets["flights"]
    files = SourceFiles.model_validate({"path": "{source}/{partition}/rows.csv", "complete": complete})
    sources = {name: source.model_copy(update={"files": files}) for name, source in spec.sources.items()}
    harness.catalog.datasets["flights"] = spec.model_copy(update={"sources": sources})


def write(store: Any, name: str, *sources: str) -> None:
    for source in sources:
        store.put(store_paths.landing("flights", source, DAY, name), b"id")


def test_a_day_has_arrived_with_the_last_marker_and_what_is_missing_is_said_of_each_source(
    harness: PracticeHarness, late: Any
) -> None:
    complete_by(harness, {"marker": "_DONE"})
    write(late, "rows.csv", "flights", "weather", "planes")
    write(late, "_DONE", "flights", "planes")
    with pytest.raises(Unavailable, match="weather: its marker _DONE has not been written; have the source write it"):
        arrival(harness)
    assert watch(harness, lambda: write(late, "_DONE", "weather")) == ["2013-01-05"]
    assert deliveries.has_landed(late, harness.catalog.dataset("flights"), f"{DAY}", WAIT_IS_OVER)
    assert arrival(harness) == {"flights": None, "weather": None, "planes": None}


def test_a_file_that_grew_after_it_was_taken_is_a_new_delivery_when_it_has_rested(
    harness: PracticeHarness, late: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival_trigger, "RECHECK_SECONDS", 0.02)
    complete_by(harness, {"quiet": "10m"})
    write(late, "rows.csv", "flights", "weather", "planes")
    assert watch(harness) is None
    harness.clock.advance(timedelta(minutes=10))
    assert watch(harness) == ["2013-01-05"]
    deal_with(harness, DAY)
    assert watch(harness) is None
    late.put(store_paths.landing("flights", "weather", DAY, "rows.csv"), b"id and more")
    assert watch(harness, lambda: harness.clock.advance(timedelta(minutes=10))) == ["2013-01-05"]


def test_a_late_file_is_taken_with_its_tables_and_a_table_read_again_by_itself(
    harness: PracticeHarness, store: Any
) -> None:
    spec = with_tables(harness, "weather", "planes")
    deliver(store, DAY, sources={"flights": 900})
    assert set(deliveries.late_partitions(store, spec, WAIT_IS_OVER)) == {f"{DAY}"}
    spec = with_tables(harness, "flights", "weather", "planes")
    store.delete(store_paths.landing("flights", "flights", DAY, "_manifest.json"))
    assert deliveries.late_partitions(store, spec, WAIT_IS_OVER) == {}
    deliver(store, DAY, sources={"weather": 72})
    assert set(deliveries.late_partitions(store, spec, WAIT_IS_OVER)) == {f"{DAY}"}
