"""Purchases without a key, a header or commas are held by day as they were shipped, in as many files as there are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.demo.purchases import purchases_file
from pipelines.messages.delivery import DeliveryManifest, LandedFile
from pipelines.messages.ingestion import IngestRequest, IngestResult
from pipelines.messages.validation import PublishRequest, ValidateRequest
from pipelines.spec.catalog import Catalog
from pipelines.steps import audit_partition, ingest_partition, publish_partition
from pipelines.store_paths import MANIFEST
from pipelines.testing.ports import FakePorts

SHOP = """
schema: 2
dataset: shop
partition: {every: day, start: 1997-01-01, end: 1998-06-30, due: 6h}
sources:
  purchases:
    files: {path: "{source}/{partition}/*.txt", delimiter: whitespace, header: false}
    key: row                                             # no column is one: rows may repeat
    event_time: date
    empty: allowed
    columns:
      customer_master: string
      customer_id: string
      date: {type: date, format: "%Y%m%d"}
      cds: integer
      amount: {type: number, min: 0}
"""
LINES = purchases_file().splitlines(keepends=True)
FIRST, NEXT, EMPTY = date(1997, 1, 1), date(1997, 1, 2), date(1998, 6, 29)


def lines_of(day: date) -> list[bytes]:
    return [line for line in LINES if line.split()[2] == f"{day:%Y%m%d}".encode()]


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    include = tmp_path / "include"
    (include / "datasets").mkdir(parents=True)
    (include / "datasets" / "shop.yaml").write_text(SHOP)
    catalog = Catalog.read(include)
    assert catalog.refused == {}
    made = FakePorts.make(tmp_path, catalog=catalog, store=DeltaStore(str(tmp_path / "store")))
    made.settings = made.settings.model_copy(update={"include": include})
    return made


def deliver(ports: FakePorts, day: date, files: Mapping[str, bytes]) -> IngestResult:
    listed = [
        LandedFile(name=name, rows=content.count(b"\n"), sha256=hashlib.sha256(content).hexdigest())
        for name, content in files.items()
    ]
    for name, content in files.items():
        ports.store.put(store_paths.landing("shop", "purchases", f"{day}", name), content)
    manifest = DeliveryManifest(source="purchases", partition=f"{day}", files=listed)
    path = store_paths.landing("shop", "purchases", f"{day}", MANIFEST)
    ports.store.put(path, manifest.model_dump_json(by_alias=True).encode())
    return ingest_partition.run(IngestRequest(dataset="shop", partition=f"{day}"), ports)


def failures(result: IngestResult) -> list[str]:
    return [failure for source in result.sources for failure in source.failures]


def test_each_purchase_of_a_day_is_published_once_however_many_files_it_comes_in(ports: FakePorts) -> None:
    lines = lines_of(FIRST)
    assert failures(deliver(ports, FIRST, {"b.txt": b"".join(lines[7:]), "a.txt": b"".join(lines[:7])})) == []
    audit = audit_partition.run(ValidateRequest(dataset="shop", partition=f"{FIRST}"), ports)
    publish_partition.run(PublishRequest(audit=audit, accept=True), ports)
    kept = ports.store.read(store_paths.validated("shop", "purchases"))
    expected = [
        (master.decode(), customer.decode(), FIRST, int(cds), float(amount))
        for line in lines
        for master, customer, _, cds, amount in [line.split()]
    ]
    assert kept.select("customer_master", "customer_id", "date", "cds", "amount").rows() == expected


def test_purchases_that_repeat_are_all_kept(ports: FakePorts) -> None:
    lines = lines_of(FIRST)
    assert failures(deliver(ports, FIRST, {"a.txt": b"".join([*lines, *lines])})) == []
    assert ports.store.read(store_paths.raw("shop", "purchases")).height == 2 * len(lines)


def test_a_day_without_a_file_is_a_day_without_purchases(ports: FakePorts) -> None:
    result = deliver(ports, EMPTY, {})
    assert (failures(result), [source.rows for source in result.sources]) == ([], [0])


def test_each_fault_names_the_file_in_which_it_is(ports: FakePorts) -> None:
    wrong = b"00004 0001 19970101 two 29.33\n"
    found = failures(deliver(ports, FIRST, {"a.txt": b"".join(lines_of(FIRST)), "b.txt": wrong, "c.txt": wrong * 2}))
    assert found == [
        "b.txt: column 'cds': 1 of 1 values not of type integer, for example 'two' (line 1)",
        "c.txt: column 'cds': 2 of 2 values not of type integer, for example 'two' (line 1)",
    ]


def test_a_purchase_of_another_day_is_refused(ports: FakePorts) -> None:
    [fault] = failures(deliver(ports, FIRST, {"a.txt": b"".join([*lines_of(FIRST), lines_of(NEXT)[0]])}))
    assert f" rows are of another day than {FIRST} by date in UTC" in fault


def test_a_file_of_another_name_and_one_that_is_missing_are_named(ports: FakePorts) -> None:
    lines = b"".join(lines_of(FIRST))
    [fault] = failures(deliver(ports, FIRST, {"a.txt": lines, "b.csv": lines}))
    assert fault == "_manifest.json lists 'b.csv', which the contract does not know: its files are *.txt"
    deliver(ports, NEXT, {"a.txt": b"".join(lines_of(NEXT))})
    ports.store.delete(store_paths.landing("shop", "purchases", f"{FIRST}", "a.txt"))
    [*_, missing] = failures(ingest_partition.run(IngestRequest(dataset="shop", partition=f"{FIRST}"), ports))
    assert missing == "a.txt is listed but missing; deliver it again"
