"""Arrivals told by a queue: nothing is lost or done twice, whatever becomes of the messages."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.messages.delivery import DeliveryManifest, LandedFile
from pipelines.testing.ports import FixedClock
from practices._arrivals import receipts, sqs_trigger
from practices._arrivals.late_partitions import LatePartitions
from practices._arrivals.s3_events import partitions_in_message
from practices._arrivals.sqs_trigger import QueuedArrivals
from practices._arrivals.trigger import ArrivalTrigger, LateArrivals
from practices._connections import installation
from tests.adapters.s3_server import BUCKET, S3Server, s3_server
from tests.practices.landing import DAY, dataset, deliver
from tests.practices.practice_harness import PracticeHarness

ROOT = "s3://models/air"
LONG_AFTER = datetime(2013, 2, 1, tzinfo=UTC)
PATIENCE = 180.0
"""Seconds for what takes one on a quiet machine."""
KEY = f"air/landing/flights/flights/{DAY}/_manifest.json"


# ---- what a message tells --------------------------------------------------------------------------------------------


def record(key: str = KEY, *, bucket: str = BUCKET, event: str = "ObjectCreated:Put") -> dict[str, Any]:
    named = {"bucket": {"name": bucket}, "object": {"key": urllib.parse.quote_plus(key, safe="/")}}
    return {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": event, "s3": named}


def notification(*records: dict[str, Any]) -> str:
    return json.dumps({"Records": list(records)})


def event_bridge(key: str) -> str:
    detail = {"bucket": {"name": BUCKET}, "object": {"key": key}}
    return json.dumps({"detail-type": "Object Created", "source": "aws.s3", "detail": detail})


TEST_EVENT = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET, "RequestId": "5582"})


@pytest.mark.parametrize(
    ("body", "days"),
    [
        (notification(record()), {DAY}),
        (notification(record(), record(KEY.replace("-05", "-07"))), {DAY, date(2013, 1, 7)}),
        (notification(record(f"air/landing/flights/weather/{DAY}/a file + ü.csv")), {DAY}),
        (notification(record(event="ObjectCreated:CompleteMultipartUpload")), {DAY}),
        (json.dumps({"Type": "Notification", "TopicArn": "arn", "Message": notification(record())}), {DAY}),
        (event_bridge(KEY), {DAY}),
        (event_bridge(f"air/landing/flights/flights/{DAY}/100%25+.csv"), {DAY}),
        (TEST_EVENT, set()),
        (json.dumps({"Type": "Notification", "Message": TEST_EVENT}), set()),
        (notification(record(bucket="another")), set()),
        (notification(record(KEY.replace("air/", "other/"))), set()),
        (notification(record(KEY.replace("flights", "planes"))), set()),
        (notification(record("air/landing/flights/flights/2013-02-30/rows.csv")), set()),
        (notification(record("air/landing/flights/flights/2013-01-05")), set()),
        (notification(record(event="ObjectRemoved:Delete")), set()),
        (notification({"eventName": "ObjectCreated:Put", "s3": {"bucket": None}}, record()), {DAY}),
        ("", set()),
        ("not json {", set()),
        ("[" * 100_000, set()),
        ('"text"', set()),
        ("null", set()),
        ('{"Records": 3}', set()),
        ('{"Records": [null, 3, "x", []]}', set()),
        ('{"Type": "Notification", "Message": {"Records": []}}', set()),
    ],
)
def test_a_message_tells_of_the_days_whose_files_were_written_and_of_nothing_else(body: str, days: set[date]) -> None:
    assert partitions_in_message(body, ROOT, dataset()) == {f"{day}" for day in days}


def test_a_store_at_the_top_of_its_bucket_is_told_of_too() -> None:
    assert partitions_in_message(notification(record(KEY.removeprefix("air/"))), "s3://models", dataset()) == {f"{DAY}"}


# ---- the queue -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as made:
        yield made


@pytest.fixture
def queue(server: S3Server, harness: PracticeHarness, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a queue that S3 tells of the landing folder of a practice harness whose store is on S3."""
    s3, sqs = server.client("s3"), server.client("sqs")
    for thing in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=thing["Key"])
    url: str = sqs.create_queue(QueueName="landed", Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    prefix = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "air/landing/"}]}}
    told = [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": prefix}]
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": told})
    harness.store = DeltaStore(ROOT, server.options)
    harness.settings = harness.settings.model_copy(update={"store": ROOT})
    harness.catalog.datasets["flights"] = dataset()
    harness.clock = FixedClock(LONG_AFTER)
    monkeypatch.setattr(installation, "load_catalog", lambda: harness.catalog)
    monkeypatch.setattr(installation, "open_sqs_client", lambda connection: server.client("sqs"))
    monkeypatch.setattr(sqs_trigger, "RECEIVE_WAIT_SECONDS", 1)
    yield url
    sqs.delete_queue(QueueUrl=url)


def left(server: S3Server, queue: str) -> int:
    """Messages in the queue, seen or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(
        map(int, server.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"].values())
    )


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.05)


def drain(server: S3Server, queue: str) -> None:
    server.client("sqs").purge_queue(QueueUrl=queue)


async def nothing_heard(waiting: asyncio.Future[Any], seconds: float) -> bool:
    done, _ = await asyncio.wait([waiting], timeout=seconds)
    return not done


def listen(trigger: LateArrivals, *meanwhile: Callable[[], None], patience: float = PATIENCE) -> list[list[str]]:
    """The days of each event: before the first and after each of ``meanwhile``, which run once the trigger is quiet."""

    async def heard() -> list[list[str]]:
        events, days = trigger.run(), []
        for act in meanwhile:
            waiting = asyncio.ensure_future(anext(events))
            assert await nothing_heard(waiting, 1.5)
            await asyncio.to_thread(act)
            days.append((await asyncio.wait_for(waiting, patience)).payload["partitions"])
        quiet = asyncio.ensure_future(anext(events))
        assert await nothing_heard(quiet, 2.5)
        quiet.cancel()
        return days

    return asyncio.run(heard())


def deal_with(harness: PracticeHarness, *days: date) -> None:
    for day in days:
        with receipts.write_receipt(harness.store, harness.catalog.datasets["flights"], day):
            pass


def queued(queue: str, poll_seconds: float = 600.0) -> QueuedArrivals:
    return QueuedArrivals("flights", queue, "aws_default", poll_seconds)


def test_a_day_that_lands_is_announced_at_once_and_its_messages_are_gone(
    harness: PracticeHarness, server: S3Server, queue: str
) -> None:
    assert listen(queued(queue), lambda: deliver(harness.store, DAY)) == [["2013-01-05"]]
    assert left(server, queue) == 0


def test_a_message_that_was_lost_is_made_up_for_by_the_next_slow_look(
    harness: PracticeHarness, server: S3Server, queue: str
) -> None:
    def land() -> None:
        s3 = server.client("s3")
        s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
        deliver(harness.store, DAY)

    assert listen(queued(queue, poll_seconds=3.0), land) == [["2013-01-05"]]


def test_what_landed_while_nobody_listened_is_announced_although_its_messages_are_gone(
    harness: PracticeHarness, server: S3Server, queue: str
) -> None:
    deliver(harness.store, DAY)
    drain(server, queue)

    async def first() -> Any:
        return (await asyncio.wait_for(anext(queued(queue).run()), PATIENCE)).payload["partitions"]

    assert asyncio.run(first()) == ["2013-01-05"]


def test_messages_that_come_twice_for_a_day_dealt_with_announce_nothing(
    harness: PracticeHarness, server: S3Server, queue: str
) -> None:
    deliver(harness.store, DAY)
    deal_with(harness, DAY)
    drain(server, queue)
    later = date(2013, 1, 8)

    def again_and_then_another() -> None:
        for _ in range(12):
            server.client("sqs").send_message(QueueUrl=queue, MessageBody=notification(record()))
        until(lambda: left(server, queue) == 0)
        deliver(harness.store, later)

    assert listen(queued(queue), again_and_then_another) == [["2013-01-08"]]


def test_garbage_is_taken_out_of_the_queue_and_holds_nothing_up(
    harness: PracticeHarness, server: S3Server, queue: str
) -> None:
    def garbage_and_a_day() -> None:
        for body in ("not json {", TEST_EVENT, notification(record(bucket="another")), "null", "[]") * 5:
            server.client("sqs").send_message(QueueUrl=queue, MessageBody=body)
        deliver(harness.store, DAY)

    assert listen(queued(queue), garbage_and_a_day) == [["2013-01-05"]]
    assert left(server, queue) == 0


def test_messages_whose_look_failed_stay_in_the_queue(
    harness: PracticeHarness, server: S3Server, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqs_trigger, "QUEUE_RETRY_SECONDS", 0.5)
    good = harness.store
    away = DeltaStore(
        "s3://models/air", server.options | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "max_retries": "0"}
    )

    def land_while_the_store_is_away() -> None:
        harness.store = away
        deliver(good, DAY)
        time.sleep(2)
        assert left(server, queue) > 0
        harness.store = good

    assert listen(queued(queue), land_while_the_store_is_away) == [["2013-01-05"]]


def test_a_queue_that_does_not_answer_leaves_the_landing_folder_to_look_at(
    harness: PracticeHarness, server: S3Server, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqs_trigger, "QUEUE_RETRY_SECONDS", 0.5)
    nowhere = queue.replace("/landed", "/none")
    assert listen(queued(nowhere), lambda: deliver(harness.store, DAY)) == [["2013-01-05"]]


def test_a_triggerer_that_dies_after_it_received_a_message_loses_nothing(
    harness: PracticeHarness, server: S3Server, queue: str
) -> None:
    deliver(harness.store, DAY)

    async def die_with_the_first_event() -> None:
        events = queued(queue).run()
        await asyncio.wait_for(anext(events), PATIENCE)

    asyncio.run(die_with_the_first_event())
    assert left(server, queue) > 0

    async def start_again() -> Any:
        return (await asyncio.wait_for(anext(queued(queue).run()), PATIENCE)).payload["partitions"]

    assert asyncio.run(start_again()) == ["2013-01-05"]


def test_the_trigger_is_rebuilt_from_what_it_says_of_itself() -> None:
    path, arguments = QueuedArrivals("flights", "https://sqs/1/landed", None, 5.0).serialize()
    assert path == "practices._arrivals.sqs_trigger.QueuedArrivals"
    assert QueuedArrivals(**arguments).serialize() == (path, arguments)


def test_an_arrival_run_takes_up_the_days_that_were_announced_and_one_by_hand_takes_up_all(
    harness: PracticeHarness, queue: str
) -> None:
    deliver(harness.store, date(2013, 1, 3), DAY)
    events = [("flights:arrived", {"from_trigger": True, "payload": {"partitions": [f"{DAY}", "2013-01-09"]}})]
    practice = LatePartitions(task_id="list_late_days", dataset="flights")
    assert practice.execute(harness.context("arrive", "list_late_days", events=events)) == ["2013-01-05"]
    assert practice.execute(harness.context("arrive", "list_late_days")) == ["2013-01-03", "2013-01-05"]


# ---- what a look costs -----------------------------------------------------------------------------------------------


def asked(server: S3Server, look: Callable[[], Any]) -> int:
    """Requests to S3 that one look makes."""
    before = len(server.served())
    look()
    return len(server.served()) - before


def test_a_look_for_one_day_costs_the_same_however_much_has_landed(
    harness: PracticeHarness, server: S3Server, queue: str
) -> None:
    look = ArrivalTrigger("flights", f"{DAY}", LONG_AFTER.isoformat(), 5)
    deliver(harness.store, date(2013, 1, 1))
    few = asked(server, look._has_arrived)
    deliver(harness.store, *(date(2013, 1, day) for day in range(10, 31)))
    assert asked(server, look._has_arrived) == few <= 4, "two per source: landed, or ingested before"
    assert look._has_arrived() is False
    deliver(harness.store, DAY)
    assert look._has_arrived() is True


def test_a_wait_for_a_day_on_s3_ends_when_its_last_source_has_delivered(harness: PracticeHarness, queue: str) -> None:
    harness.clock = FixedClock(datetime(2013, 1, 6, 11, 15, tzinfo=UTC))
    deliver(harness.store, DAY, sources={"flights": 900, "planes": 1})

    async def wait() -> Any:
        waiting = asyncio.ensure_future(anext(ArrivalTrigger("flights", f"{DAY}", LONG_AFTER.isoformat(), 0.2).run()))
        assert await nothing_heard(waiting, 1)
        await asyncio.to_thread(deliver, harness.store, DAY, sources={"weather": 72})
        return (await asyncio.wait_for(waiting, PATIENCE)).payload

    assert asyncio.run(wait()) == {"arrived": True}


def test_a_look_for_late_days_costs_a_listing_per_source_and_one_per_reference_once_all_are_dealt_with(
    harness: PracticeHarness, server: S3Server, queue: str
) -> None:
    days = [date(2013, 1, day) for day in range(1, 25)]
    deliver(harness.store, *days)
    deal_with(harness, *days)
    trigger = LateArrivals("flights")
    trigger._find_partitions()
    assert asked(server, trigger._find_partitions) == 4
    deliver(harness.store, DAY, sources={"flights": 901})
    assert [day for day, _ in trigger._find_partitions()] == [f"{DAY}"]


def test_a_manifest_that_lands_last_completes_the_day(harness: PracticeHarness, queue: str) -> None:
    file = LandedFile(name="rows.csv", rows=1, sha256="0" * 64)
    harness.store.put(store_paths.landing("flights", "flights", DAY, "rows.csv"), b"1")
    deliver(harness.store, DAY, sources={"weather": 1, "planes": 1})
    manifest = (
        DeliveryManifest(source="flights", partition=f"{DAY}", files=[file]).model_dump_json(by_alias=True).encode()
    )
    assert listen(
        queued(queue),
        lambda: harness.store.put(store_paths.landing("flights", "flights", DAY, "_manifest.json"), manifest) and None,
    ) == [["2013-01-05"]]
