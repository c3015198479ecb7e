"""What a database holds of a partition is landed once, row by row, and goes the way of a file from there."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import store_paths
from pipelines.adapters.connection import ConnectionFields
from pipelines.adapters.source_database import SqlDatabase
from pipelines.adapters.store.delta import DeltaStore
from pipelines.cli.main import parser
from pipelines.errors import Refused, Unavailable
from pipelines.messages.delivery import DeliveryManifest
from pipelines.messages.ingestion import ExtractRequest, IngestRequest, SourceIngest
from pipelines.messages.validation import PublishRequest, ValidateRequest
from pipelines.spec.catalog import Catalog
from pipelines.steps import audit_partition, extract_partition, ingest_partition, publish_partition
from pipelines.store_paths import MANIFEST
from pipelines.testing.fixed_clock import FixedClock
from pipelines.testing.ports import FakePorts

KEYS = ["2024-01-30", "2024-01-31", "2024-02-01"]
COLUMNS = {
    "id": "integer",
    "at": "timestamp",
    "amount": {"type": "decimal", "scale": 2},
    "paid": "boolean or null",
    "email": {"type": "string", "pii": True},
}
SALES: dict[str, Any] = {
    "schema": 2,
    "dataset": "sales",
    "description": "Orders",
    "owner": "sales",
    "partition": {"every": "day", "start": "2024-01-01", "timezone": "Europe/Berlin", "due": "2h"},
    "sources": {
        "orders": {
            "sql": {"connection": "warehouse", "table": "orders"},
            "key": ["id"],
            "event_time": "at",
            "empty": "allowed",
            "columns": COLUMNS,
        },
        "shops": {
            "sql": {"connection": "warehouse", "query": "SELECT id, lower(name) AS name FROM shops"},
            "cadence": "reference",
            "key": ["id"],
            "columns": {"id": "integer", "name": "string"},
        },
    },
}
ONCE = {
    "schema": 2,
    "dataset": "loans",
    "description": "Loans",
    "owner": "risk",
    "partition": {"every": "once"},
    "sources": {"loans": {"sql": {"connection": "warehouse", "table": "orders"}, "key": "row", "columns": COLUMNS}},
}
DUE = datetime(2024, 2, 1, 1, tzinfo=UTC)
"""When the last day of January has been over for two hours in Berlin."""


class Shop:
    """A store, and a database with two tables."""

    def __init__(self, folder: Path) -> None:
        include = folder / "include" / "datasets"
        include.mkdir(parents=True)
        for spec in (SALES, ONCE):
            (include / f"{spec['dataset']}.yaml").write_text(yaml.safe_dump(spec))
        catalog = Catalog.read(include.parent)
        assert catalog.refused == {}
        self._file = folder / "warehouse.db"
        self.execute("CREATE TABLE orders (id, at, amount, paid, email, note)", "CREATE TABLE shops (id, name)")
        self.execute("INSERT INTO shops VALUES (1, 'ACE')")
        self.ports = FakePorts.make(
            folder, catalog=catalog, store=DeltaStore(str(folder / "store")), clock=FixedClock(DUE)
        )
        fields = ConnectionFields(connection="warehouse", kind="sqlite", host=str(self._file))
        self.ports.databases["warehouse"] = SqlDatabase(fields)

    def execute(self, *statements: str, rows: list[tuple[Any, ...]] | None = None) -> None:
        with sqlite3.connect(self._file) as connection:
            for statement in statements:
                connection.executemany(statement, rows) if rows is not None else connection.execute(statement)
        connection.close()

    def insert(self, *rows: tuple[Any, ...]) -> None:
        """Each of ``id, at, amount, paid, email``."""
        self.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, 'x')", rows=list(rows))

    def extract(self, key: str, dataset: str = "sales") -> dict[str, int]:
        return extract_partition.run(ExtractRequest(dataset=dataset, partition=key), self.ports).rows

    def ingest(self, key: str, dataset: str = "sales") -> dict[str, SourceIngest]:
        result = ingest_partition.run(IngestRequest(dataset=dataset, partition=key), self.ports)
        return {source.source: source for source in result.sources}

    def validated(self, key: str, dataset: str, source: str) -> pl.DataFrame:
        audit = audit_partition.run(ValidateRequest(dataset=dataset, partition=key), self.ports)
        publish_partition.run(PublishRequest(audit=audit, accept=True), self.ports)
        return self.ports.store.read(store_paths.validated(dataset, source), partitions=[key])

    def manifest(self, key: str, source: str = "orders", dataset: str = "sales") -> DeliveryManifest:
        return DeliveryManifest.read(self.ports.store.get(store_paths.landing(dataset, source, key, MANIFEST)))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_day_of_a_table_goes_from_the_database_to_its_validated_table(shop: Shop) -> None:
    shop.insert(
        (1, "2024-01-30T22:59:59.999Z", 1, 1, "ann@example.org"),
        (2, "2024-01-31T00:00:00+01:00", 2.5, None, "ben@example.org"),
        (3, "2024-01-31T22:59:59.999999Z", "3.10", "true", "cem@example.org"),
        (4, "2024-01-31T23:00:00Z", 4, "false", "dan@example.org"),
    )
    assert shop.extract("2024-01-31") == {"orders": 2, "shops": 1}
    assert {name: (source.rows, source.failures) for name, source in shop.ingest("2024-01-31").items()} == {
        "orders": (2, []),
        "shops": (1, []),
    }
    rows = shop.validated("2024-01-31", "sales", "orders")
    assert [(row["id"], str(row["amount"]), row["paid"]) for row in rows.to_dicts()] == [
        (2, "2.50", None),
        (3, "3.10", True),
    ]
    extraction = shop.manifest("2024-01-31").extraction
    assert extraction is not None
    assert (extraction.connection, extraction.begin, extraction.at) == ("warehouse", DUE - timedelta(hours=26), DUE)
    assert "note" not in extraction.statement


def test_what_was_read_stays_whatever_the_table_holds_later(shop: Shop) -> None:
    shop.insert((1, "2024-01-31T10:00:00Z", 1, None, "a"))
    shop.extract("2024-01-31")
    first = shop.ingest("2024-01-31")
    shop.insert((2, "2024-01-31T11:00:00Z", 1, None, "b"))
    assert shop.extract("2024-01-31") == {}
    assert shop.ingest("2024-01-31")["orders"].unchanged
    for path in shop.ports.store.list("landing/"):
        shop.ports.store.delete(path)  # a held partition needs no landed file, and is not read again for want of one
    assert shop.extract("2024-01-31") == {}
    assert shop.ingest("2024-01-31")["orders"].sha256 == first["orders"].sha256


def test_a_person_has_a_day_read_again(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.extract("2024-01-31")
    assert shop.ingest("2024-01-31")["orders"].rows == 0
    shop.insert((2, "2024-01-31T11:00:00Z", 1, None, "b"))
    options = parser().parse_args(["deliver", "sales", "orders", "2024-01-31"])
    assert options.run(options, shop.ports) == 0
    assert capsys.readouterr().out.startswith("landed 1 partition(s) of orders with 1 rows\n1 of them replaced")
    assert shop.ingest("2024-01-31")["orders"].rows == 1
    options = parser().parse_args(["deliver", "sales", "orders", "2024-01-31", "a.csv"])
    with pytest.raises(Refused, match="read from a database; name one partition, and no file"):
        options.run(options, shop.ports)


def test_a_day_is_not_read_before_it_is_due(shop: Shop) -> None:
    shop.ports.clock = FixedClock(DUE - timedelta(seconds=1))
    with pytest.raises(Unavailable, match="complete in its database at 2024-02-01T01:00:00Z"):
        shop.extract("2024-01-31")
    assert shop.ports.store.list("landing/") == []


def test_a_table_without_dates_is_read_whole_with_its_repeated_rows(shop: Shop) -> None:
    shop.insert(*[(1, "2024-01-31T10:00:00Z", 1, None, "a")] * 2, (2, "1970-01-01T00:00:00Z", 1, None, "b"))
    assert shop.extract("all", "loans") == {"loans": 3}
    assert shop.ingest("all", "loans")["loans"].failures == []
    assert shop.validated("all", "loans", "loans").height == 3


def test_a_missing_column_and_a_missing_table_are_told_together_and_nothing_is_landed(shop: Shop) -> None:
    shop.execute("DROP TABLE shops", "ALTER TABLE orders DROP COLUMN paid", "ALTER TABLE orders DROP COLUMN email")
    with pytest.raises(Refused) as error:
        shop.extract("2024-01-31")
    assert sorted(error.value.reasons) == [
        "orders: column 'email' is missing; orders has id, at, amount, note",
        "orders: column 'paid' is missing; orders has id, at, amount, note",
        "shops: the database of connection 'warehouse' refuses the query: no such table: shops",
    ]
    assert shop.ports.store.list("landing/") == []


def test_values_that_break_the_contract_are_named_without_those_of_people(shop: Shop) -> None:
    shop.insert(
        (1, "2024-01-31T10:00:00Z", "1.005", None, None), (1, "2024-01-31T10:00:00Z", "much", None, "ann@example.org")
    )
    shop.extract("2024-01-31")
    text = json.dumps(shop.ingest("2024-01-31")["orders"].failures)
    for fault in (
        "'amount': 2 of 2 values not of type decimal",
        "'email': 1 of 2 values null",
        "2 rows share their key",
    ):
        assert fault in text
    assert "ann@" not in text


def test_more_rows_than_declared_are_refused(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    orders = shop.ports.catalog.datasets["sales"].sources["orders"]
    assert orders.sql is not None
    object.__setattr__(orders, "sql", orders.sql.model_copy(update={"max_rows": 2}))
    shop.insert(*[(number, "2024-01-31T10:00:00Z", 1, None, "a") for number in range(3)])
    with pytest.raises(Refused, match=r"more than 2 rows .* or raise `sql.max_rows`"):
        shop.extract("2024-01-31")


@given(
    minutes=st.lists(st.integers(-26 * 60, 50 * 60), max_size=12),
    values=st.lists(
        st.one_of(st.integers(-(2**63), 2**63 - 1), st.none(), st.text(), st.floats(allow_nan=False)),
        min_size=12,
        max_size=12,
    ),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_row_of_the_table_is_in_exactly_one_day_with_its_value(
    tmp_path_factory: pytest.TempPathFactory, minutes: list[int], values: list[Any]
) -> None:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    shop.ports.clock = FixedClock(datetime(2024, 3, 1, tzinfo=UTC))
    begin = datetime(2024, 1, 30, 23, tzinfo=UTC)
    stamps = [f"{begin + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}" for minute in minutes]
    table = dict(enumerate(values[: len(stamps)]))
    shop.insert(*[(number, stamp, 1, None, table[number]) for number, stamp in enumerate(stamps)])
    landed: dict[int, Any] = {}
    for key in ["2024-01-29", *KEYS, "2024-02-02"]:
        shop.extract(key)
        for row in pl.read_parquet(
            shop.ports.store.get(store_paths.landing("sales", "orders", key, "extract.parquet"))
        ).to_dicts():
            assert row["id"] not in landed
            landed[row["id"]] = row["email"]
    assert landed.keys() == table.keys()
    assert {number: str(value) for number, value in landed.items()} == {
        number: str(value) for number, value in table.items()
    }
