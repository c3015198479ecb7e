"""A table is read as it is, in its window, by SQL that holds no value; nothing is written, no error tells a value."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from pipelines.adapters.connection import ConnectionFields
from pipelines.adapters.source_database import SqlDatabase
from pipelines.errors import Refused, Unavailable
from pipelines.spec.column import ColumnSpec
from pipelines.spec.partitions import PartitionCalendar
from pipelines.spec.source import SourceSpec
from pipelines.spec.sql_table import SqlTable, Window
from pipelines.steps.ingestion.extracted_rows import extracted_table, rows_in_window
from tests.postgresql import postgresql_server

CALENDAR = PartitionCalendar("day", date(2024, 1, 1), None, "Europe/Berlin")
DAY = CALENDAR.partition("2024-03-31")
"""Of 23 hours: the clocks of Berlin skip 02:00."""
SECRET = "pass-of-the-warehouse"


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    with postgresql_server() as folder:
        yield folder


class Warehouse:
    """One of the two databases, with tables of our own."""

    def __init__(self, kind: str, place: Path) -> None:
        self.kind, self._place = kind, place
        host = str(place)
        fields = {"kind": "sqlite", "host": host} if kind == "sqlite" else {"kind": "postgres", "host": host}
        login = {} if kind == "sqlite" else {"login": "airworthy", "schema_": "postgres", "password": SecretStr(SECRET)}
        self.fields = ConnectionFields.model_validate({"connection": "warehouse", **fields, **login})
        self.database = SqlDatabase(self.fields)

    def execute(self, *statements: str) -> None:
        if self.kind == "sqlite":
            with sqlite3.connect(self._place) as connection:
                for statement in statements:
                    connection.execute(statement)
            connection.close()
            return
        with psycopg.connect(host=str(self._place), user="airworthy", dbname="postgres") as opened:
            for statement in statements:
                opened.execute(statement.encode())

    def read(self, table: SqlTable, columns: dict[str, Any], window: str | None = None) -> list[tuple[Any, ...]]:
        specs = {name: ColumnSpec.model_validate(column) for name, column in columns.items()}
        assert DAY is not None
        in_window = None if window is None else Window(window, DAY, "Europe/Berlin")
        return [tuple(row) for portion in self.database.read(table, specs, in_window) for row in portion]


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    if request.param == "sqlite":
        place = tmp_path / "warehouse.db"
        place.touch()
        return Warehouse("sqlite", place)
    opened = Warehouse("postgresql", request.getfixturevalue("server"))
    opened.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return opened


def orders(**fields: Any) -> SqlTable:
    return SqlTable.model_validate({"connection": "warehouse", "table": "orders", **fields})


def test_a_whole_table_is_read_whatever_its_names_are(warehouse: Warehouse) -> None:
    warehouse.execute(
        'CREATE TABLE orders ("order" integer, "the ""amount""; DROP TABLE orders" numeric, "100%(x)s :y" text)',
        "INSERT INTO orders VALUES (1, 2.5, 'a'), (2, NULL, NULL)",
    )
    names = ["order", 'the "amount"; DROP TABLE orders', "100%(x)s :y"]
    assert warehouse.database.columns(orders()) == names
    rows = warehouse.read(orders(), {"order": "integer", names[1]: "decimal", names[2]: "string"})
    assert sorted(rows) == [(1, 2.5, "a"), (2, None, None)]


def test_a_query_is_read_as_it_is_written(warehouse: Warehouse) -> None:
    warehouse.execute(
        "CREATE TABLE orders (id integer, at text)", "INSERT INTO orders VALUES (1, 'x :y'), (2, '12:30')"
    )
    query = "SELECT id, at || ' :z %s' AS note, '\\:' AS sign FROM orders WHERE at <> ' :q'"
    table = orders(table=None, query=query)
    assert warehouse.database.columns(table) == ["id", "note", "sign"]
    rows = warehouse.read(table, {"note": "string", "sign": "string"})
    assert sorted(rows) == [("12:30 :z %s", "\\:"), ("x :y :z %s", "\\:")]


def test_a_day_is_read_by_the_instants_of_its_zone(warehouse: Warehouse) -> None:
    warehouse.execute(
        f"CREATE TABLE orders (id integer, at {'text' if warehouse.kind == 'sqlite' else 'timestamptz'})",
        "INSERT INTO orders VALUES (1, '2024-03-30T22:59:58Z'), (2, '2024-03-30T23:00:00Z'),"
        " (3, '2024-03-31T12:00:00+02:00'), (4, '2024-03-31 21:59:59.999Z'), (5, '2024-03-31T22:00:02Z')",
    )
    rows = warehouse.read(orders(), {"id": "integer", "at": "timestamp"}, "at")
    assert sorted(row[0] for row in rows) == [2, 3, 4]


@pytest.mark.parametrize("column", [{"type": "timestamp", "timezone": "Europe/Berlin"}, {"type": "date"}])
def test_a_day_of_local_times_or_dates_is_in_what_is_read(warehouse: Warehouse, column: dict[str, str]) -> None:
    kind = "date" if column["type"] == "date" else "timestamp"
    at = (
        ["2024-03-29", "2024-03-31", "2024-04-02"] if kind == "date" else ["2024-03-29 23:59:59", "2024-03-31 01:30:00"]
    )
    warehouse.execute(
        f"CREATE TABLE orders (id integer, at {'text' if warehouse.kind == 'sqlite' else kind})",
        f"INSERT INTO orders VALUES {', '.join(f'({number}, {text!r})' for number, text in enumerate(at))}",
    )
    rows = warehouse.read(orders(), {"id": "integer", "at": column}, "at")
    assert [row[0] for row in rows] == [1]


@pytest.mark.parametrize("value", ["'soon'", "'now'", "'12:00'", "'31.03.2024'", "1711836000", "2024", "NULL", "''"])
def test_a_row_that_would_be_in_no_day_is_refused(tmp_path: Path, value: str) -> None:
    warehouse = Warehouse("sqlite", tmp_path / "warehouse.db")
    warehouse.execute(
        "CREATE TABLE orders (id integer, at)", f"INSERT INTO orders VALUES (1, {value}), (2, '2024-03-31T10:00:00Z')"
    )
    with pytest.raises(Refused, match="1 rows of orders have no at that is a time, so they are in no day"):
        warehouse.read(orders(), {"id": "integer", "at": "timestamp"}, "at")


def test_a_null_time_a_text_and_a_time_without_a_zone_are_refused_by_postgresql_too(server: Path) -> None:
    warehouse = Warehouse("postgresql", server)
    for kind, value, fault in (
        ("timestamptz", "NULL", "1 rows of orders have no at"),
        ("timestamptz", "'infinity'", "1 rows of orders have no at that is a time"),
        ("date", "'-infinity'", "1 rows of orders have no at that is a time"),
        ("text", "'2024-03-31'", "at of orders is text, which is no time; cast it"),
        ("timestamp", "'2024-03-31'", "without a zone; declare its `timezone`"),
    ):
        warehouse.execute(
            "DROP TABLE IF EXISTS orders",
            f"CREATE TABLE orders (id integer, at {kind})",
            f"INSERT INTO orders VALUES (1, {value})",
        )
        with pytest.raises(Refused, match=fault):
            warehouse.read(orders(), {"id": "integer", "at": "timestamp"}, "at")


def test_nothing_can_be_written(warehouse: Warehouse) -> None:
    warehouse.execute("CREATE TABLE orders (id integer)", "INSERT INTO orders VALUES (1)")
    with pytest.raises(Refused):
        warehouse.read(
            orders(table=None, query="WITH x AS (DELETE FROM orders RETURNING id) SELECT id FROM x"), {"id": "integer"}
        )
    assert warehouse.read(orders(), {"id": "integer"}) == [(1,)]


def test_a_missing_table_is_named_and_a_value_is_not(warehouse: Warehouse) -> None:
    with pytest.raises(Refused, match="orders"):
        warehouse.database.columns(orders())
    warehouse.execute("CREATE TABLE orders (email text)", "INSERT INTO orders VALUES ('ann@example.org')")
    query = (
        "SELECT CAST(email AS integer) AS id FROM orders"
        if warehouse.kind == "postgresql"
        else "SELECT json(email) AS id FROM orders"
    )
    with pytest.raises(Refused, match="whose text may hold values") as error:
        warehouse.read(orders(table=None, query=query), {"id": "integer"})
    assert "ann@example.org" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_server_that_does_not_answer_is_tried_again_without_telling_the_password(tmp_path: Path) -> None:
    fields = Warehouse("postgresql", tmp_path).fields
    with pytest.raises(Unavailable, match="connection 'warehouse' does not answer") as error:
        SqlDatabase(fields).columns(orders())
    assert SECRET not in str(error.value) + repr(fields)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [({"kind": "mysql"}, "postgresql and sqlite"), ({"kind": "sqlite", "host": "/nowhere.db"}, "no file /nowhere.db")],
)
def test_another_database_and_a_missing_file_are_refused(fields: dict[str, str], fault: str) -> None:
    with pytest.raises(Refused, match=fault):
        SqlDatabase(ConnectionFields.model_validate({"connection": "warehouse", **fields})).columns(orders())


def test_the_record_of_a_read_has_its_statement_and_no_value(warehouse: Warehouse) -> None:
    assert DAY is not None
    columns = {"at": ColumnSpec(type="timestamp")}
    text = warehouse.database.statement(orders(table="sales.orders"), columns, Window("at", DAY, "UTC"))
    assert 'FROM "sales"."orders"' in " ".join(text.split())
    assert "2024" not in text


def test_numbers_of_a_database_have_their_digits(server: Path) -> None:
    warehouse = Warehouse("postgresql", server)
    warehouse.execute("DROP TABLE IF EXISTS orders", "CREATE TABLE orders (n numeric, at timestamptz)")
    warehouse.execute("INSERT INTO orders VALUES (12345678901234567890.123456789, '2024-03-31T10:00:00.750+02')")
    [row] = warehouse.read(orders(), {"n": "decimal", "at": "timestamp"}, "at")
    assert row == (Decimal("12345678901234567890.123456789"), datetime(2024, 3, 31, 8, 0, 0, 750_000, UTC))


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Europe/Berlin", "America/Los_Angeles"])
@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("date", {"type": "date"}),
        ("timestamp", {"type": "date"}),
        ("timestamptz", {"type": "date"}),
        ("timestamp", {"type": "timestamp", "timezone": "Asia/Tokyo"}),
        ("timestamp", {"type": "timestamp", "timezone": "America/New_York", "ambiguous": "latest"}),
        ("timestamptz", {"type": "timestamp"}),
    ],
)
def test_each_row_of_a_table_is_read_for_exactly_one_day_whatever_its_type_and_zone(
    server: Path, kind: str, column: dict[str, Any], zone: str
) -> None:
    """Midnights and the instants beside them, over a week in which clocks change."""
    warehouse = Warehouse("postgresql", server)
    days = [date(2024, 10, 28) + timedelta(days=number) for number in range(10)]
    times = [
        f"{day} {clock}"
        for day in days
        for clock in (["00:00"] if column["type"] == "date" else ["00:00", "23:59:59.999999"])
    ]
    warehouse.execute(
        "DROP TABLE IF EXISTS orders",
        f"CREATE TABLE orders (id integer, at {kind})",
        f"INSERT INTO orders VALUES {', '.join(f'({number}, {time!r})' for number, time in enumerate(times))}",
    )
    source = SourceSpec.model_validate(
        {
            "sql": {"connection": "warehouse", "table": "orders"},
            "key": ["id"],
            "event_time": "at",
            "columns": {"id": "integer", "at": column},
        }
    )
    assert source.sql is not None
    held: list[int] = []
    for partition in PartitionCalendar("day", date(2024, 10, 25), None, zone).partitions(date(2024, 11, 10)):
        window = Window("at", partition, zone)
        read = extracted_table(warehouse.database.read(source.sql, source.columns, window), ["id", "at"], 1000)
        held += rows_in_window(read, source, window)["id"].to_list() if read.height else []
    assert sorted(held) == list(range(len(times)))


def test_a_value_that_python_cannot_hold_is_refused_with_what_it_may_be_and_not_shown(server: Path) -> None:
    warehouse = Warehouse("postgresql", server)
    warehouse.execute("DROP TABLE IF EXISTS orders", "CREATE TABLE orders (id integer, born date)")
    for value in ("infinity", "20000-01-01", "0044-03-15 BC"):
        warehouse.execute("DELETE FROM orders", f"INSERT INTO orders VALUES (1, '{value}')")
        with pytest.raises(Refused, match="infinite or outside of the years 1 to 9999") as error:
            warehouse.read(orders(), {"id": "integer", "born": "date"})
        assert value not in str(error.value)


def test_a_connection_that_is_lost_half_way_is_tried_again_and_yields_no_half(server: Path) -> None:
    warehouse = Warehouse("postgresql", server)
    warehouse.execute(
        "DROP TABLE IF EXISTS orders",
        "CREATE TABLE orders AS SELECT n AS id, repeat('x', 200) AS text FROM generate_series(1, 30000) n",
    )
    columns = {name: ColumnSpec.model_validate(kind) for name, kind in (("id", "integer"), ("text", "string"))}

    def portions() -> Iterator[Any]:
        for number, portion in enumerate(warehouse.database.read(orders(), columns, None)):
            if number == 1:
                warehouse.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
            yield portion

    with pytest.raises(Unavailable, match="terminating connection"):
        extracted_table(portions(), list(columns), 1_000_000)
    assert extracted_table(warehouse.database.read(orders(), columns, None), list(columns), 1_000_000).height == 30_000
