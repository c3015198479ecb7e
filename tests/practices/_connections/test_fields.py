"""The address of a service is read from an Airflow connection, whose password is masked in logs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipelines import wiring
from pipelines.errors import Refused
from pipelines.settings import Settings
from pipelines.spec.sql_table import SqlTable
from practices._connections.fields import read_connection


def test_a_connection_of_the_environment_is_enough_to_read_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(tmp_path / "warehouse.db") as connection:
        connection.execute("CREATE TABLE orders (id integer)")
    connection.close()
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"sqlite:///{tmp_path}/warehouse.db")
    ports = wiring.open_ports(Settings.from_environment({}), connections=read_connection)
    table = SqlTable(connection="warehouse", table="orders")
    assert ports.database("warehouse").columns(table) == ["id"]


def test_every_field_of_a_connection_is_handed_on_and_its_password_is_in_no_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgres://ann:open-sesame@db.example:5433/sales?sslmode=require")
    fields = read_connection("warehouse")
    assert (fields.kind, fields.host, fields.port, fields.schema_) == ("postgres", "db.example", 5433, "sales")
    assert fields.extra == {"sslmode": "require"}
    assert fields.password.get_secret_value() == "open-sesame"
    assert "open-sesame" not in repr(fields)


def test_a_connection_that_nobody_declared_is_refused_with_how_to_create_it() -> None:
    with pytest.raises(Refused, match="airflow connections add nowhere"):
        read_connection("nowhere")


def test_a_process_without_airflow_reads_no_database() -> None:
    with pytest.raises(Refused, match="by Airflow's processes alone"):
        wiring.open_ports(Settings.from_environment({})).database("warehouse")
