"""Deliveries that are complete by a marker or a quiet time are held like those with a manifest, and never by halves."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.errors import Unavailable
from pipelines.messages.ingestion import IngestRequest, SourceIngest
from pipelines.spec.catalog import Catalog
from pipelines.spec.dataset import DatasetSpec
from pipelines.steps import ingest_partition
from pipelines.steps.ingestion.written_delivery import write_delivery
from pipelines.testing.fixed_clock import FixedClock
from pipelines.testing.ports import FakePorts

KEY = "2024-02-01"
MARKER, QUIET = {"marker": "_SUCCESS"}, {"quiet": "10m"}


class Landing:
    """A source of one integer column on a clock that moves by hand, and the store into whose folder it writes."""

    def __init__(self, home: Path, complete: Any, **fields: Any) -> None:
        files = {"path": "{source}/{partition}/*.csv", "complete": complete}
        source = {"files": files, "key": ["id"], "columns": {"id": "integer"}, **fields}
        self.spec = DatasetSpec.model_validate(
            {
                "schema": 2,
                "dataset": "shop",
                "partition": {"every": "day", "start": "2024-01-01"},
                "sources": {"sales": source},
            }
        )
        self.clock = FixedClock(datetime.fromisoformat("2024-02-02T01:00:00Z"))
        self.store, self.root = DeltaStore(str(home / "store")), home / "store"
        catalog = Catalog({"shop": self.spec}, {}, {}, {})
        self.ports = FakePorts.make(home, catalog=catalog, store=self.store, clock=self.clock)

    def write(self, name: str, *ids: int) -> None:
        """A whole file, as of now."""
        self.store.put(self.path(name), "".join(f"{line}\n" for line in ["id", *ids]).encode())
        self.stamp(name)

    def stamp(self, name: str) -> None:
        os.utime(self.root / self.path(name), (self.clock().timestamp(),) * 2)

    def path(self, name: str) -> str:
        return store_paths.landing("shop", "sales", KEY, name)

    def ingest(self) -> SourceIngest:
        [source] = ingest_partition.run(IngestRequest(dataset="shop", partition=KEY), self.ports).sources
        assert source.failures == []
        return source

    def rows(self) -> list[int]:
        return self.store.read(store_paths.raw("shop", "sales"))["id"].sort().to_list()

    def advance(self, minutes: float) -> None:
        self.clock.advance(timedelta(minutes=minutes))


@pytest.fixture
def landing(tmp_path: Path) -> Callable[..., Landing]:
    return lambda complete, **fields: Landing(tmp_path, complete, **fields)


def test_files_are_read_when_the_marker_is_newer_than_all_of_them(landing: Callable[..., Landing]) -> None:
    sales = landing(MARKER)
    sales.write("a.csv", 1)
    with pytest.raises(Unavailable, match="its marker _SUCCESS has not been written"):
        sales.ingest()
    sales.store.put(sales.path("_SUCCESS"), b"")
    sales.stamp("_SUCCESS")
    sales.advance(1)
    sales.write("b.csv", 2)
    with pytest.raises(Unavailable, match=r"its marker _SUCCESS is older than b\.csv"):
        sales.ingest()
    sales.stamp("_SUCCESS")
    ingested = sales.ingest()
    assert (ingested.rows, sorted(ingested.sha256), sales.rows()) == (2, ["a.csv", "b.csv"], [1, 2])
    assert sales.ingest().unchanged


def test_a_redelivery_is_taken_with_its_marker_and_the_held_rows_serve_until_then(
    landing: Callable[..., Landing],
) -> None:
    sales = landing(MARKER)
    write_delivery(sales.spec, "sales", KEY, {"a.csv": (b"id\n1\n", 1), "b.csv": (b"id\n2\n", 1)}, sales.store)
    assert sorted(sales.store.list(sales.path(""))) == [sales.path(name) for name in ("_SUCCESS", "a.csv", "b.csv")]
    assert sales.ingest().rows == 2
    sales.clock.at = datetime.now(sales.clock.at.tzinfo) + timedelta(days=1)
    sales.write("a.csv", 7)
    assert (sales.ingest().unchanged, sales.rows()) == (True, [1, 2])
    sales.stamp("_SUCCESS")
    assert (sales.ingest().unchanged, sales.rows()) == (False, [2, 7])
    write_delivery(sales.spec, "sales", KEY, {"a.csv": (b"id\n9\n", 1)}, sales.store)
    assert (sales.ingest().rows, sales.rows()) == (1, [9])


def test_a_marker_alone_is_a_delivery_without_rows_where_one_is_allowed(landing: Callable[..., Landing]) -> None:
    sales = landing(MARKER, empty="allowed")
    sales.store.put(sales.path("_SUCCESS"), b"")
    assert sales.ingest().rows == 0


def test_a_file_that_grows_is_read_when_it_has_rested_and_again_when_it_grew(landing: Callable[..., Landing]) -> None:
    sales = landing(QUIET)
    for known in ([1], [1, 2]):
        sales.write("a.csv", *known)
        sales.advance(9)
        with pytest.raises(Unavailable, match=r"a\.csv was written at .*, less than 10m ago"):
            sales.ingest()
    sales.advance(1)
    assert (sales.ingest().unchanged, sales.rows()) == (False, [1, 2])
    sales.write("a.csv", 1, 2, 3)
    assert (sales.ingest().unchanged, sales.rows()) == (True, [1, 2])
    sales.advance(10)
    assert (sales.ingest().unchanged, sales.rows()) == (False, [1, 2, 3])
    sales.store.delete(sales.path("a.csv"))
    assert (sales.ingest().unchanged, sales.rows()) == (True, [1, 2, 3])
    assert sales.store.list(sales.path("")) == [], "nothing of ours was written into the source's folder"


def test_the_contract_of_held_days_does_not_change_with_what_completes_a_delivery(
    landing: Callable[..., Landing],
) -> None:
    digests = {
        landing(complete).spec.sources["sales"].contract_digest(landing(complete).spec.partition_calendar)
        for complete in ("manifest", MARKER, QUIET)
    }
    assert len(digests) == 1
