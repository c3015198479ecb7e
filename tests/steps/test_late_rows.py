"""Late rows are ingested with their own partition: each row is in exactly one table, or refused by its line."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.messages.ingestion import IngestRequest, SourceIngest
from pipelines.messages.validation import PublishRequest, ValidateRequest
from pipelines.spec.catalog import Catalog
from pipelines.spec.dataset import DatasetSpec
from pipelines.steps import audit_partition, ingest_partition, publish_partition
from pipelines.steps.auditing.lineage import delivery_of
from pipelines.steps.ingestion.written_delivery import write_delivery
from pipelines.testing.ports import FakePorts, MemoryStore
from practices._arrivals import deliveries, receipts

FIRST, SECOND, THIRD = KEYS = ["2024-03-30", "2024-03-31", "2024-04-01"]
AFTER_ALL = datetime(2024, 4, 10, tzinfo=UTC)


def declared(every: str = "day", **source: Any) -> DatasetSpec:
    columns = {"id": "integer", "at": "timestamp", "day": "string"}
    trips = {
        "files": "{source}/{partition}/trips.csv",
        "key": ["id"],
        "event_time": "at",
        "empty": "allowed",
        "late": {"allow": "1d"},
        "columns": columns,
    }
    partition = {"every": every, "start": FIRST, "timezone": "Europe/Berlin"}
    sources = {"trips": trips | source}
    return DatasetSpec.model_validate({"schema": 2, "dataset": "city", "partition": partition, "sources": sources})


class City:
    """A store in which trips are delivered and ingested."""

    def __init__(self, folder: Path, store: Any, spec: DatasetSpec) -> None:
        catalog = Catalog(datasets={"city": spec}, views={}, models={}, refused={})
        self.ports, self.store, self.spec = FakePorts.make(folder, catalog=catalog, store=store), store, spec

    def deliver(self, key: str, *rows: str) -> None:
        """Each row as ``id,at``."""
        content = "".join(f"{row}\n" for row in ["id,at,day", *(f"{row},x" for row in rows)]).encode()
        write_delivery(self.spec, "trips", key, {"trips.csv": (content, len(rows))}, self.store)

    def ingest(self, key: str) -> SourceIngest:
        """As the task does, with its receipt."""
        with receipts.write_receipt(self.store, self.spec, key):
            [source] = ingest_partition.run(IngestRequest(dataset="city", partition=key), self.ports).sources
        return source

    def stale(self) -> list[str]:
        """Partitions that ``arrive`` takes."""
        late = deliveries.late_partitions(self.store, self.spec, AFTER_ALL)
        return receipts.partitions_without_receipt(self.store, self.spec, late)

    def ids(self, key: str) -> list[int]:
        return sorted(self.store.read(store_paths.raw("city", "trips"), partitions=[key])["id"].to_list())


@pytest.fixture(params=["folder", "memory"])
def city(request: pytest.FixtureRequest, tmp_path: Path) -> City:
    store = DeltaStore(str(tmp_path / "store")) if request.param == "folder" else MemoryStore()
    return City(tmp_path, store, declared())


def test_a_late_row_makes_its_own_day_stale_and_is_ingested_and_published_with_it(city: City) -> None:
    city.deliver(FIRST, "1,2024-03-30T10:00:00Z")
    city.ingest(FIRST)
    city.deliver(SECOND, "2,2024-03-30T12:00:00Z", "3,2024-03-31T10:00:00Z")
    result = city.ingest(SECOND)
    assert (result.failures, result.rows, result.late) == ([], 1, {FIRST: 1})
    assert city.stale() == [FIRST]
    again = city.ingest(FIRST)
    assert (again.failures, city.ids(FIRST), city.ids(SECOND)) == ([], [1, 2], [3])
    assert set(again.sha256) == {"trips.csv", f"late/{SECOND}"}
    assert city.stale() == []
    audit = audit_partition.run(ValidateRequest(dataset="city", partition=FIRST), city.ports)
    publish_partition.run(PublishRequest(audit=audit, accept=True), city.ports)
    published = city.store.read("validated/city.trips", partitions=[FIRST])
    assert sorted(published["id"]) == [1, 2]
    lineage = delivery_of(city.store, "city", "trips", FIRST, city.store.input_version("validated/city.trips", FIRST))
    assert lineage is not None
    assert lineage.sha256 == again.sha256


@pytest.mark.parametrize("complete", ["manifest", {"marker": "_SUCCESS"}])
@pytest.mark.parametrize(
    ("every", "keys", "at"),
    [
        ("hour", ["2024-03-31T00:00Z", "2024-03-31T01:00Z"], "2024-03-31T00:59:59Z"),
        ("week", ["2024-W13", "2024-W14"], "2024-03-31T21:59:59Z"),
        ("month", ["2024-03", "2024-04"], "2024-03-31T21:59:59Z"),
    ],
)
def test_a_late_row_of_an_hour_a_week_or_a_month_is_ingested_with_it(
    tmp_path: Path, every: str, keys: list[str], at: str, complete: Any
) -> None:
    files = {"path": "{source}/{partition}/trips.csv", "complete": complete}
    city = City(tmp_path, MemoryStore(), declared(every, files=files))
    city.deliver(keys[0], f"1,{at}")
    city.ingest(keys[0])
    following = city.spec.partition_calendar.require(keys[1], "city")
    city.deliver(keys[1], f"2,{at}", f"3,{following.begin:%Y-%m-%dT%H:%M:%SZ}")
    assert city.ingest(keys[1]).late == {keys[0]: 1}
    assert city.stale() == [keys[0]]
    assert city.ingest(keys[0]).failures == []
    assert (city.ids(keys[0]), city.ids(keys[1]), city.stale()) == ([1, 2], [3], [])


def test_rows_too_late_or_of_later_days_refuse_their_delivery_by_line(city: City) -> None:
    city.deliver(THIRD, "1,2024-04-01T10:00:00Z", "2,2024-03-30T21:59:59Z", "3,2024-04-01T22:00:00Z")
    [fault] = city.ingest(THIRD).failures
    assert fault.startswith("2 of 3 rows are of another day than 2024-04-01 by at in Europe/Berlin, and later than")
    assert "since 2024-03-30T22:00:00Z" in fault
    assert "2024-03-30T21:59:59Z (line 3)" in fault
    assert city.store.list("late/") == []
    city.deliver(FIRST, "1,2024-03-29T22:59:59Z")
    assert "(line 2)" in city.ingest(FIRST).failures[0], "the calendar begins with this day"


def test_rows_of_a_day_that_was_not_delivered_yet_wait_for_it(city: City) -> None:
    city.deliver(SECOND, "2,2024-03-30T12:00:00Z")
    assert city.ingest(SECOND).late == {FIRST: 1}
    assert city.stale() == []
    city.deliver(FIRST, "1,2024-03-30T10:00:00Z")
    assert city.stale() == [FIRST]
    city.ingest(FIRST)
    assert (city.ids(FIRST), city.ids(SECOND)) == ([1, 2], [])


def test_a_corrected_delivery_takes_its_late_rows_back(city: City) -> None:
    city.deliver(FIRST, "1,2024-03-30T10:00:00Z")
    city.deliver(SECOND, "2,2024-03-30T12:00:00Z")
    for key in (SECOND, FIRST):
        city.ingest(key)
    city.deliver(SECOND, "2,2024-03-31T12:00:00Z")
    city.ingest(SECOND)
    assert city.stale() == [FIRST]
    city.ingest(FIRST)
    assert (city.ids(FIRST), city.ids(SECOND)) == ([1], [2])


def test_late_rows_come_to_a_day_whose_landed_files_are_gone_and_to_one_delivered_again(city: City) -> None:
    city.deliver(FIRST, "1,2024-03-30T10:00:00Z")
    city.ingest(FIRST)
    for path in city.store.list("landing/"):
        city.store.delete(path)
    for key, row in ((SECOND, "2,2024-03-30T12:00:00Z"), (SECOND, "4,2024-03-30T13:00:00Z")):
        city.deliver(key, row)
        city.ingest(key)
        assert city.stale() == [FIRST]
        assert city.ingest(FIRST).failures == []
        assert city.ids(FIRST) == [1, int(row[0])]
    city.deliver(FIRST, "5,2024-03-30T10:00:00Z")
    city.ingest(FIRST)
    assert city.ids(FIRST) == [4, 5]


def test_a_late_row_with_the_key_of_a_held_one_refuses_the_day_that_would_have_both(city: City) -> None:
    city.deliver(FIRST, "1,2024-03-30T10:00:00Z")
    city.deliver(SECOND, "1,2024-03-30T12:00:00Z")
    city.ingest(SECOND)
    [fault] = city.ingest(FIRST).failures
    assert fault.startswith("key (id): 2 rows share their key")
    assert fault.endswith(f"with late rows that came with {SECOND}")


class Killed(Exception):
    """The process ended here."""


class Mortal(MemoryStore):
    """Dies at the write with this number."""

    writes_left = 10**9

    def _write(self) -> None:
        self.writes_left -= 1
        if self.writes_left < 0:
            raise Killed

    def put(self, path: str, content: bytes) -> str:
        self._write()
        return super().put(path, content)

    def replace_partition(self, *arguments: Any, **named: Any) -> int:
        self._write()
        return super().replace_partition(*arguments, **named)


MINUTES = st.lists(st.integers(0, 3 * 1440 - 61), max_size=6, unique=True)


@given(
    days=st.tuples(MINUTES, MINUTES, MINUTES),
    order=st.permutations([0, 1, 2]),
    kills=st.lists(st.integers(0, 4), max_size=4),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_delivered_row_is_in_exactly_one_day_or_refused_whatever_the_order_and_whenever_it_is_killed(
    tmp_path: Path, days: tuple[list[int], ...], order: list[int], kills: list[int]
) -> None:
    """Three days from Berlin's 30 March, of which the second has 23 hours."""
    store = Mortal()
    city = City(tmp_path, store, declared())
    begin = datetime(2024, 3, 29, 23, tzinfo=UTC)
    calendar = city.spec.partition_calendar
    delivered: dict[int, int] = {}
    for number in order:
        rows = []
        for index, minute in enumerate(days[number]):
            at = begin + timedelta(minutes=minute)
            partition = calendar.partition_of(at)
            assert partition is not None
            is_late_enough = KEYS.index(partition.key) <= number and at >= calendar.require(
                KEYS[number], ""
            ).begin - timedelta(days=1)
            if is_late_enough:
                rows.append(f"{number * 100 + index},{at:%Y-%m-%dT%H:%M:%SZ}")
                delivered[number * 100 + index] = KEYS.index(partition.key)
        city.deliver(KEYS[number], *rows)
    pending = list(kills)
    while stale := city.stale():
        store.writes_left = pending.pop() if pending else 10**9
        try:
            assert city.ingest(stale[0]).failures == []
        except Killed:
            continue
        finally:
            store.writes_left = 10**9
    held = Counter({(id_, KEYS.index(key)): 1 for key in KEYS for id_ in city.ids(key)})
    assert sum(len(city.ids(key)) for key in KEYS) == len(delivered)
    assert held == Counter(dict.fromkeys(delivered.items(), 1))
