"""What `deliver` lands is ingested as it stands: real purchases of a year and a half, split by day, none lost."""

from __future__ import annotations

import os
import stat
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from pipelines.adapters.store.delta import DeltaStore
from pipelines.cli.main import parser
from pipelines.demo.purchases import FILE, purchases_file
from pipelines.errors import Refused
from pipelines.messages.ingestion import IngestRequest
from pipelines.messages.validation import PublishRequest, ValidateRequest
from pipelines.spec.catalog import Catalog
from pipelines.steps import audit_partition, ingest_partition, publish_partition
from pipelines.testing.ports import FakePorts

SHOP: dict[str, Any] = {
    "schema": 2,
    "dataset": "shop",
    "description": "Purchases of compact discs",
    "owner": "data-platform",
    "partition": {"every": "day", "start": date(1997, 1, 1), "end": date(1998, 6, 30), "due": "6h"},
    "sources": {
        "purchases": {
            "files": {"path": "{source}/{partition}/*.txt", "delimiter": "whitespace", "header": False},
            "key": "row",
            "event_time": "date",
            "empty": "allowed",
            "columns": {
                "customer_master": "string",
                "customer_id": "string",
                "date": {"type": "date", "format": "%Y%m%d"},
                "cds": "integer",
                "amount": {"type": "number", "min": 0, "unit": "USD"},
            },
        }
    },
}


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    include = tmp_path / "include" / "datasets"
    include.mkdir(parents=True)
    (include / "shop.yaml").write_text(yaml.safe_dump(SHOP, sort_keys=False))
    catalog = Catalog.read(include.parent)
    assert catalog.refused == {}
    return FakePorts.make(tmp_path, catalog=catalog, store=DeltaStore(str(tmp_path / "store")))


def deliver(ports: FakePorts, *words: str) -> None:
    options = parser().parse_args(["deliver", "shop", "purchases", *words])
    assert options.run(options, ports) == 0


def hold(ports: FakePorts, day: date) -> pl.DataFrame:
    """Ingest, validate and publish one day; the rows that are published."""
    [ingested] = ingest_partition.run(IngestRequest(dataset="shop", partition=f"{day}"), ports).sources
    assert ingested.failures == []
    audit = audit_partition.run(ValidateRequest(dataset="shop", partition=f"{day}"), ports)
    publish_partition.run(PublishRequest(audit=audit, accept=True), ports)
    return ports.store.read("validated/shop.purchases", days=[day])


def test_what_is_landed_before_a_stack_was_started_is_for_its_owner_alone(ports: FakePorts, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("00001 0001 19970101 1 11.77\n")
    home = tmp_path / "srv" / "home"
    ports.settings = ports.settings.model_copy(update={"home": home, "store": str(home / "store")})
    ports.store = DeltaStore(ports.settings.store)
    before = os.umask(0o022)
    try:
        deliver(ports, "1997-01-01", str(tmp_path / "a.txt"))
    finally:
        os.umask(before)
    assert (home / "store").is_dir()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_real_purchases_are_split_by_day_and_held_row_by_row(
    ports: FakePorts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE).write_bytes(purchases_file())
    deliver(ports, "--split", str(tmp_path / FILE))
    assert capsys.readouterr().out == "landed 546 partition(s) of purchases with 6,919 rows\n"
    lines = [line.split() for line in purchases_file().decode().splitlines()]
    for day in (date(1997, 1, 1), date(1997, 3, 15), date(1998, 6, 30)):
        expected = [
            (master, customer, day, int(cds), float(amount))
            for master, customer, written, cds, amount in lines
            if written == f"{day:%Y%m%d}"
        ]
        rows = hold(ports, day)
        assert rows.select("customer_master", "customer_id", "date", "cds", "amount").rows() == expected
        assert rows["__row"].n_unique() == len(expected)
    landed = [path for path in ports.store.list("landing/") if path.endswith(FILE)]
    delivered = b"".join(ports.store.get(path) for path in landed).decode().splitlines()
    assert sorted(delivered) == sorted(purchases_file().decode().splitlines())


def test_files_of_one_partition_are_landed_with_their_manifest(ports: FakePorts, tmp_path: Path) -> None:
    for name, line in (("a.txt", "1 1 19970105 2 9.5\n"), ("b.txt", "2 2 19970105 1 3\n2 2 19970105 1 3\n")):
        (tmp_path / name).write_text(line)
    deliver(ports, "1997-01-05", str(tmp_path / "a.txt"), str(tmp_path / "b.txt"))
    assert hold(ports, date(1997, 1, 5))["customer_id"].to_list() == ["1", "2", "2"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["1997-01-05"], "no file was named for 1997-01-05"),
        (["1996-01-05", "good.txt"], "its calendar ends with 1998-06-30 and begins with 1997-01-01"),
        (["soon", "good.txt"], "shop has no day 'soon'"),
        (["1997-01-05", "missing.txt"], "missing.txt cannot be read: No such file"),
        (["1997-01-05", "good.csv"], "good.csv is no file of the source, whose files are *.txt; rename it"),
        (["1997-01-05", "bad.txt"], "bad.txt: the file is not readable as CSV: 1 lines do not have the 5 declared"),
        (["--split", "bad.txt"], "the file is not readable as CSV: 1 lines do not have the 5 declared"),
        (["--split", "good.txt", "good.txt"], "--split takes one file, and no partition"),
    ],
)
def test_what_cannot_be_landed_is_refused_whole(ports: FakePorts, tmp_path: Path, words: list[str], fault: str) -> None:
    for name in ("good.txt", "good.csv"):
        (tmp_path / name).write_text("1 1 19970105 2 9.5\n")
    (tmp_path / "bad.txt").write_text("1 1 19970105 2 9.5\n1 1 19970105\n")
    paths = [str(tmp_path / word) if "." in word else word for word in words]
    with pytest.raises(Refused) as refused:
        deliver(ports, *paths)
    assert fault in str(refused.value)
    assert ports.store.list("landing/") == []


def test_a_delivery_that_takes_the_place_of_an_earlier_one_says_so(
    ports: FakePorts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1 1 19970105 2 9.5\n")
    deliver(ports, "1997-01-05", str(path))
    assert "replaced" not in capsys.readouterr().out
    path.write_text("1 1 19970105 2 9.5\n1 1 19970106 2 9.5\n")
    deliver(ports, "--split", str(path))
    assert capsys.readouterr().out == (
        "landed 2 partition(s) of purchases with 2 rows\n1 of them replaced what was delivered before: 1997-01-05\n"
    )


def test_the_parts_of_a_file_bear_the_only_name_that_the_source_reads(ports: FakePorts, tmp_path: Path) -> None:
    source = ports.catalog.datasets["shop"].sources["purchases"]
    named = source.files.model_copy(update={"path": "{source}/{partition}/purchases.txt"})
    ports.catalog.datasets["shop"].sources["purchases"] = source.model_copy(update={"files": named})
    path = tmp_path / "export (1).csv"
    path.write_text("1 1 19970105 2 9.5\n")
    deliver(ports, "--split", str(path))
    assert "landing/shop/purchases/1997-01-05/purchases.txt" in ports.store.list("landing/")
    assert hold(ports, date(1997, 1, 5)).height == 1
    path.rename(tmp_path / "export.txt.gz")
    with pytest.raises(Refused, match=r"export.txt.gz is no file of the source, whose files are purchases.txt"):
        deliver(ports, "--split", str(tmp_path / "export.txt.gz"))
