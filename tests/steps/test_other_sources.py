"""Half-hourly, weekly, monthly and dateless sources go from the file as it is shipped to the validated table."""

from __future__ import annotations

import csv
import gzip
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.adapters.store.delta import DeltaStore
from pipelines.cli.deliver import split_and_deliver
from pipelines.cli.main import parser
from pipelines.messages.ingestion import IngestRequest
from pipelines.messages.validation import PublishRequest, ValidateRequest
from pipelines.spec.catalog import Catalog
from pipelines.steps import audit_partition, ingest_partition, publish_partition
from pipelines.testing.fixed_clock import FixedClock
from pipelines.testing.ports import FakePorts
from tests import other_sources as other

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    other.write_declarations(tmp_path / "include", NOW)
    catalog = Catalog.read(tmp_path / "include")
    assert catalog.refused == {}
    store = DeltaStore(str(tmp_path / "store"))
    return FakePorts.make(tmp_path, catalog=catalog, store=store, clock=FixedClock(datetime(2099, 1, 1, tzinfo=UTC)))


def hold(ports: FakePorts, dataset: str, key: str) -> list[dict[str, Any]]:
    """Ingest, validate and publish one partition; the rows that are published, without the partition."""
    [ingested] = ingest_partition.run(IngestRequest(dataset=dataset, partition=key), ports).sources
    assert ingested.failures == []
    audit = audit_partition.run(ValidateRequest(dataset=dataset, partition=key), ports)
    publish_partition.run(PublishRequest(audit=audit, accept=True), ports)
    rows = ports.store.read(f"validated/{dataset}.{ingested.source}", partitions=[key])
    return rows.drop("partition", "day", "__row", strict=False).to_dicts()


def split(ports: FakePorts, dataset: str, source: str, path: Path, content: bytes) -> dict[str, int]:
    path.write_bytes(content)
    return split_and_deliver(ports.catalog.dataset(dataset), source, path, ports.store)


def test_weeks_are_split_from_one_file_and_held_with_their_values(ports: FakePorts, tmp_path: Path) -> None:
    content = other.weeks_file(4)
    landed = split(ports, "air", "weeks", tmp_path / "co2.csv", content)
    assert landed == {f"2001-W{week}": 1 for week in range(49, 53)}
    shipped = list(csv.DictReader(io.StringIO(content.decode())))
    expected = [{"date": date.fromisoformat(row["date"]), "co2": float(row["co2"])} for row in shipped]
    assert [row for key in landed for row in hold(ports, "air", key)] == expected


def test_months_are_split_from_one_file_and_held_with_their_values(ports: FakePorts, tmp_path: Path) -> None:
    content = other.months_file()
    landed = split(ports, "equipment", "orders", tmp_path / "elec_equip.csv", content)
    shipped = list(csv.DictReader(io.StringIO(content.decode())))
    assert (len(landed), min(landed)) == (len(shipped), "1995-01")
    for row in (shipped[0], shipped[100], shipped[-1]):
        month, day, year = row["DATE"].split("-")
        on = date(int(year), MONTHS.index(month) + 1, int(day))
        assert hold(ports, "equipment", f"{on:%Y-%m}") == [
            {"DATE": on, other.EQUIPMENT_INDEX: Decimal(row[other.EQUIPMENT_INDEX])}
        ]


def test_a_table_without_dates_is_held_row_by_row(ports: FakePorts, tmp_path: Path) -> None:
    path = tmp_path / "diabetes_data_raw.csv.gz"
    path.write_bytes(other.patients_file())
    options = parser().parse_args(["deliver", "patients", "measurements", "all", str(path)])
    assert options.run(options, ports) == 0
    lines = [line.split() for line in gzip.decompress(other.patients_file()).decode().splitlines()]
    expected = [tuple(float(value) for value in line) for line in lines]
    assert [tuple(row.values()) for row in hold(ports, "patients", "all")] == expected
    assert len(expected) == 442


@pytest.mark.parametrize(
    ("dataset", "keys"), [("meter", ["2024-02-12T10:00Z", "2024-02-12T11:00Z"]), ("readings", [f"{NOW.date()}"])]
)
def test_half_hours_are_held_by_hour_or_day(ports: FakePorts, tmp_path: Path, dataset: str, keys: list[str]) -> None:
    begin = other.METER_DAY + timedelta(hours=10) if dataset == "meter" else NOW - timedelta(hours=3)
    content = other.half_hours_file(begin, 4)
    assert list(split(ports, dataset, "readings", tmp_path / "readings.jsonl", content)) == keys
    rows = pl.DataFrame([row for key in keys for row in hold(ports, dataset, key)])
    assert rows["at"].to_list() == [begin + number * timedelta(minutes=30) for number in range(4)]
    assert rows["spots"].to_list() == [Decimal(value) for value in ("5.0", "11.0", "16.0", "23.0")]


def test_a_profile_holds_decimals_as_numbers(ports: FakePorts, tmp_path: Path) -> None:
    from pipelines.tables.profile import TableProfile

    split(ports, "meter", "readings", tmp_path / "readings.jsonl", other.half_hours_file(other.METER_DAY, 2))
    hold(ports, "meter", "2024-02-12T00:00Z")
    profile = TableProfile.model_validate_json(
        ports.store.get("profiles/validated/meter.readings/2024-02-12T00:00Z.json")
    )
    assert {name: (column.mean, column.maximum) for name, column in profile.numeric.items()} == {"spots": (8.0, 11.0)}
