"""A delivery is kept whole or refused whole, with every broken promise of every source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.demo.land import land
from pipelines.errors import Refused, Unavailable
from pipelines.messages.delivery import DeliveryManifest, LandedFile
from pipelines.messages.ingestion import IngestRequest, IngestResult
from pipelines.steps import ingest_partition
from pipelines.store_paths import MANIFEST
from pipelines.testing.ports import FakePorts

DAY = date(2013, 1, 5)
NEXT = date(2013, 1, 6)
Mend = Callable[[list[list[str]]], list[list[str]]]


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    made = FakePorts.make(tmp_path, store=DeltaStore(str(tmp_path / "store")))
    land(DAY, NEXT, made)
    return made


def ingest(ports: FakePorts, day: date = DAY) -> IngestResult:
    return ingest_partition.run(IngestRequest(dataset="flights", partition=f"{day}"), ports)


def deliver(
    ports: FakePorts, content: bytes, *, source: str = "flights", day: date = DAY, rows: int | None = None
) -> None:
    """Deliver a file with a manifest that is honest about it."""
    count = content.count(b"\n") - 1 if rows is None else rows
    file = LandedFile(name=f"{source}.csv", rows=count, sha256=hashlib.sha256(content).hexdigest())
    ports.store.put(store_paths.landing("flights", source, day, f"{source}.csv"), content)
    manifest = DeliveryManifest(source=source, partition=f"{day}", files=[file])
    ports.store.put(
        store_paths.landing("flights", source, day, MANIFEST), manifest.model_dump_json(by_alias=True).encode()
    )


def delivered(ports: FakePorts, source: str = "flights") -> list[list[str]]:
    text = ports.store.get(store_paths.landing("flights", source, DAY, f"{source}.csv")).decode()
    return [line.split(",") for line in text.splitlines()]


def spoil(ports: FakePorts, mend: Mend, source: str = "flights") -> None:
    lines = mend(delivered(ports, source))
    deliver(ports, "".join(",".join(line) + "\n" for line in lines).encode(), source=source)


def failures(result: IngestResult, source: str = "flights") -> list[str]:
    return next(found.failures for found in result.sources if found.source == source)


def untouched(ports: FakePorts) -> bool:
    return all(
        DAY not in ports.store.days(store_paths.raw("flights", source))
        for source in ("flights", "weather", "planes", "airports")
    )


def set_cell(row: int, column: str, value: str) -> Mend:
    def change(lines: list[list[str]]) -> list[list[str]]:
        lines[row][lines[0].index(column)] = value
        return lines

    return change


def rename(old: str, new: str) -> Mend:
    def change(lines: list[list[str]]) -> list[list[str]]:
        lines[0][lines[0].index(old)] = new
        return lines

    return change


def test_a_good_day_is_kept_with_its_types_and_digests(ports: FakePorts) -> None:
    result = ingest(ports)
    assert not any(source.failures for source in result.sources)
    kept = ports.store.read(store_paths.raw("flights", "flights"), days=[DAY])
    assert kept.height == 720
    assert kept.schema["time_hour"] == pl.Datetime("us", "UTC")
    assert kept.schema["flight"] == pl.Int64
    assert {source.source: source.rows for source in result.sources}["planes"] == 3322
    assert all(source.sha256 for source in result.sources)


def test_the_same_delivery_twice_writes_nothing_the_second_time(ports: FakePorts) -> None:
    ingest(ports)
    before = ports.store.version(store_paths.raw("flights", "flights"))
    again = ingest(ports)
    assert all(source.unchanged for source in again.sources)
    assert ports.store.version(store_paths.raw("flights", "flights")) == before


def test_a_corrected_delivery_replaces_the_day(ports: FakePorts) -> None:
    ingest(ports)
    spoil(ports, lambda lines: lines[:-1])
    result = ingest(ports)
    assert not failures(result)
    assert ports.store.read(store_paths.raw("flights", "flights"), days=[DAY]).height == 719


def test_a_day_restored_by_hand_is_written_again(ports: FakePorts) -> None:
    ingest(ports)
    ports.store.replace_partition(
        store_paths.raw("flights", "flights"),
        DAY,
        ports.store.read(store_paths.raw("flights", "flights"), days=[DAY]).head(3),
    )
    ingest(ports)
    assert ports.store.read(store_paths.raw("flights", "flights"), days=[DAY]).height == 720


def test_a_reference_copy_is_read_once_for_all_days(ports: FakePorts) -> None:
    ingest(ports)
    result = ingest(ports, NEXT)
    planes = next(source for source in result.sources if source.source == "planes")
    assert (planes.landed, planes.unchanged) == (f"{DAY}", True)
    assert ports.store.days(store_paths.raw("flights", "planes")) == [DAY]


@pytest.mark.parametrize(
    ("mend", "expected"),
    [
        (rename("dest", "destination"), ["column 'dest' is missing", "column 'destination' is not in the contract"]),
        (lambda lines: [line[1:] for line in lines], ["column 'year' is missing"]),
        (lambda lines: [[*line, "x"] for line in lines], ["column 'x' is not in the contract"]),
        (set_cell(3, "flight", "far"), ["column 'flight': 1 of 720 values not of type integer, for example 'far'"]),
        (set_cell(3, "time_hour", "noon"), ["column 'time_hour': 1 of 720 values not of type timestamp"]),
        (set_cell(3, "carrier", "NA"), ["column 'carrier': 1 of 720 values null"]),
        (
            set_cell(3, "origin", "BOS"),
            ["column 'origin': 1 of 720 values not one of EWR, JFK, LGA, for example 'BOS'"],
        ),
        (set_cell(3, "minute", "75"), ["column 'minute': 1 of 720 values above 59, for example '75'"]),
        (
            set_cell(3, "time_hour", "2013-01-06T10:00:00Z"),
            ["1 of 720 rows are of another day than 2013-01-05 by time_hour + minute in America/New_York"],
        ),
        (lambda lines: [*lines, lines[1]], ["key (time_hour, carrier, flight): 2 rows share their key"]),
        (lambda lines: lines[:1], ["0 rows delivered, fewer than 1"]),
    ],
)
def test_a_broken_promise_is_named_and_nothing_is_written(ports: FakePorts, mend: Mend, expected: list[str]) -> None:
    spoil(ports, mend)
    found = failures(ingest(ports))
    for start in expected:
        assert any(failure.startswith(start) for failure in found), found
    assert untouched(ports)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        ("carrier,flight\nÄ,1\n".encode("latin-1"), "line 2 is not UTF-8 (byte 0xc4)"),
        (b"carrier,flight\n1,2\n1,2,3\n", "the file is not readable as CSV"),
    ],
)
def test_an_unreadable_file_is_refused_for_what_it_is(ports: FakePorts, content: bytes, expected: str) -> None:
    deliver(ports, content)
    assert any(failure.startswith(expected) for failure in failures(ingest(ports)))
    assert untouched(ports)


def test_all_failures_of_all_sources_are_reported_at_once(ports: FakePorts) -> None:
    spoil(ports, lambda lines: set_cell(5, "minute", "x")(set_cell(3, "origin", "BOS")(lines)))
    spoil(ports, rename("dest", "destination"))
    spoil(ports, set_cell(2, "origin", "BOS"), "weather")
    result = ingest(ports)
    assert len(failures(result)) >= 4
    assert len(failures(result, "weather")) == 1
    assert untouched(ports)


def test_a_truncated_file_is_known_by_its_digest(ports: FakePorts) -> None:
    path = store_paths.landing("flights", "flights", DAY, "flights.csv")
    ports.store.put(path, ports.store.get(path)[:2000])
    assert any("sha256" in failure and "truncated" in failure for failure in failures(ingest(ports)))
    assert untouched(ports)


def test_a_manifest_that_miscounts_is_refused(ports: FakePorts) -> None:
    deliver(ports, ports.store.get(store_paths.landing("flights", "flights", DAY, "flights.csv")), rows=1)
    assert failures(ingest(ports)) == ["flights.csv has 720 rows, its manifest says 1"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"source": "flights"}'])
def test_a_manifest_that_is_none_is_refused(ports: FakePorts, content: bytes) -> None:
    ports.store.put(store_paths.landing("flights", "flights", DAY, MANIFEST), content)
    assert all(failure.startswith(MANIFEST) for failure in failures(ingest(ports)))
    assert untouched(ports)


def test_a_listed_file_that_is_not_there_is_refused(ports: FakePorts, tmp_path: Path) -> None:
    (tmp_path / "store" / "landing" / "flights" / "flights" / "2013-01-05" / "flights.csv").unlink()
    assert "is listed but missing" in failures(ingest(ports))[0]


def test_a_day_that_was_not_delivered_is_waited_for_by_name(ports: FakePorts) -> None:
    with pytest.raises(Unavailable, match=r"flights \(landing/flights/flights/2013-01-09/: no man.*weather"):
        ingest(ports, date(2013, 1, 9))


def test_a_refused_day_leaves_others_alone_and_goes_through_once_mended(ports: FakePorts) -> None:
    good = ports.store.get(store_paths.landing("flights", "flights", DAY, "flights.csv"))
    spoil(ports, rename("dest", "destination"))
    ingest(ports)
    ingest(ports, NEXT)
    assert ports.store.days(store_paths.raw("flights", "flights")) == [NEXT]
    deliver(ports, good)
    assert not any(source.failures for source in ingest(ports).sources)
    assert ports.store.days(store_paths.raw("flights", "flights")) == [DAY, NEXT]


def test_a_day_without_observations_is_kept_as_such(tmp_path: Path) -> None:
    ports = FakePorts.make(tmp_path, store=DeltaStore(str(tmp_path / "store")))
    land(date(2013, 12, 31), date(2013, 12, 31), ports)
    result = ingest(ports, date(2013, 12, 31))
    assert not any(source.failures for source in result.sources)


def manifest_with(ports: FakePorts, change: Callable[[bytes], bytes], source: str = "flights") -> None:
    path = store_paths.landing("flights", source, DAY, MANIFEST)
    ports.store.put(path, change(ports.store.get(path)))


def digest_of(ports: FakePorts) -> str:
    return (
        DeliveryManifest.read(ports.store.get(store_paths.landing("flights", "flights", DAY, MANIFEST))).files[0].sha256
    )


@pytest.mark.parametrize("form", [str.upper, "sha256:{}".format, " SHA256:{} ".format])
def test_a_digest_is_taken_in_capitals_and_with_its_kind_before_it(
    ports: FakePorts, form: Callable[[str], str]
) -> None:
    digest = digest_of(ports)
    manifest_with(ports, lambda content: content.replace(digest.encode(), form(digest).encode()))
    assert failures(ingest(ports)) == []
    assert all(source.unchanged for source in ingest(ports).sources)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_manifest_is_taken_with_a_byte_order_mark(ports: FakePorts, encoding: str) -> None:
    manifest_with(ports, lambda content: content.decode().encode(encoding))
    assert failures(ingest(ports)) == []


@pytest.mark.parametrize("source", ["flights", "planes"])
def test_a_held_day_serves_when_its_landed_files_are_gone(ports: FakePorts, source: str) -> None:
    first = ingest(ports)
    for path in ports.store.list(f"landing/flights/{source}/"):
        ports.store.delete(path)
    again = ingest(ports, DAY)
    assert [one.rows for one in again.sources] == [one.rows for one in first.sources]
    assert all(one.unchanged for one in again.sources)


def test_a_reference_copy_that_is_gone_serves_later_days_too(ports: FakePorts) -> None:
    ingest(ports)
    for path in ports.store.list("landing/flights/planes/"):
        ports.store.delete(path)
    planes = next(source for source in ingest(ports, NEXT).sources if source.source == "planes")
    assert (planes.landed, planes.unchanged, planes.failures) == (f"{DAY}", True, [])


def test_a_held_day_that_somebody_changed_needs_a_new_delivery_when_its_files_are_gone(ports: FakePorts) -> None:
    ingest(ports)
    table = store_paths.raw("flights", "flights")
    ports.store.replace_partition(table, DAY, ports.store.read(table, days=[DAY]).head(3))
    for path in ports.store.list("landing/flights/flights/"):
        ports.store.delete(path)
    [fault] = failures(ingest(ports))
    assert fault.startswith("the raw day 2013-01-05 was changed since it was ingested")


def with_column(ports: FakePorts, name: str, **changes: object) -> None:
    """Change the contract of a column of flights."""
    flights = ports.catalog.datasets["flights"].sources["flights"]
    flights.columns[name] = type(flights.columns[name]).model_validate(flights.columns[name].model_dump() | changes)


@pytest.mark.parametrize("gone", [False, True])
def test_a_held_day_is_checked_again_when_its_contract_has_changed(ports: FakePorts, gone: bool) -> None:
    ingest(ports)
    if gone:
        for path in ports.store.list("landing/flights/flights/"):
            ports.store.delete(path)
    with_column(ports, "distance", max=2000)
    [fault] = failures(ingest(ports))
    assert fault.startswith("column 'distance': ")
    assert ("deliver it again" in fault) == gone
    with_column(ports, "distance", max=9000)
    again = ingest(ports)
    assert failures(again) == []
    assert not again.sources[0].unchanged
    assert ports.store.read(store_paths.raw("flights", "flights"), days=[DAY]).height == 720
    assert ingest(ports).sources[0].unchanged


def test_a_description_is_no_change_of_the_contract(ports: FakePorts) -> None:
    ingest(ports)
    with_column(ports, "distance", description="Miles.")
    assert ingest(ports).sources[0].unchanged


@pytest.mark.parametrize("gone", [False, True])
def test_an_integer_that_becomes_a_number_keeps_the_held_days(ports: FakePorts, gone: bool) -> None:
    ingest(ports)
    before = ports.store.read(store_paths.raw("flights", "flights"), days=[DAY])
    if gone:
        for path in ports.store.list("landing/flights/flights/2013-01-05/"):
            ports.store.delete(path)
    with_column(ports, "distance", type="number")
    assert not any(source.failures for source in [*ingest(ports).sources, *ingest(ports, NEXT).sources])
    rows = ports.store.read(store_paths.raw("flights", "flights"))
    assert rows.schema["distance"] == pl.Float64
    assert rows.filter(day=DAY).drop("distance").equals(before.drop("distance"))
    assert rows.filter(day=DAY)["distance"].cast(pl.Int64).equals(before["distance"])


def test_another_change_of_type_names_the_way_on(ports: FakePorts) -> None:
    ingest(ports)
    with_column(ports, "carrier", pii=True)
    with_column(ports, "distance", type="string", min=None)
    with pytest.raises(Refused, match="declare the source under another name and deliver its days again"):
        ingest(ports)


def test_a_folder_that_is_no_day_is_no_delivery(ports: FakePorts) -> None:
    for folder in ("20130104", "2013-W01-1", "2013-01-03-old", "2013-1-3"):
        ports.store.put(f"landing/flights/planes/{folder}/{MANIFEST}", b"{}")
    planes = next(source for source in ingest(ports).sources if source.source == "planes")
    assert (planes.landed, planes.failures) == (f"{DAY}", [])
