"""A source of another shape goes from its file to features: each row is published or quarantined, none is lost."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.messages.delivery import DeliveryManifest, LandedFile
from pipelines.messages.ingestion import IngestRequest, IngestResult
from pipelines.messages.validation import PublishRequest, ValidateRequest
from pipelines.rules.quarantine import judge_audit
from pipelines.spec.catalog import Catalog
from pipelines.steps import audit_partition, ingest_partition, publish_partition
from pipelines.store_paths import MANIFEST
from pipelines.testing.ports import FakePorts
from tests.steps.built_features import build_view

FIRST, SECOND = date(2024, 4, 26), date(2024, 4, 27)
"""In Cairo the first of them has no midnight."""
DATASET: dict[str, Any] = {
    "schema": 2,
    "dataset": "city",
    "description": "Trips",
    "owner": "mobility",
    "partition": {"every": "day", "start": f"{FIRST}", "timezone": "Africa/Cairo"},
    "max_quarantined_share": 0.5,
    "sources": {
        "trips": {
            "files": "{source}/{partition}/trips.csv",
            "key": ["hour", "trip"],
            "known": {"before": "1d"},
            "known_columns": {"delay": {"after": "delay"}},
            "empty": "allowed",
            "suite": "trips",
            "columns": {
                "hour": {"type": "timestamp"},
                "minute": {"type": "integer"},
                "trip": {"type": "integer"},
                "country": {"type": "string", "allowed": ["DE", "NA"]},
                "delay": {"type": "integer", "nullable": True},
                "day": {"type": "string"},
                "reasons": {"type": "string", "nullable": True},
                "driver": {"type": "string", "pii": True},
            },
        }
    },
}
SUITE = {
    "suite": "trips",
    "expectations": [
        {
            "type": "expect_column_values_to_match_regex",
            "kwargs": {"column": "delay", "regex": "^-?[0-9]{1,2}$"},
            "reason": "the delay has more than two digits",
        },
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "source_day", "value_set": ["Friday", "Saturday"]},
            "reason": "no day of the week",
        },
    ],
}
VIEW = {
    "schema": 2,
    "view": "trip_delay",
    "description": "Trips an hour before they begin.",
    "owner": "mobility",
    "entity": ["hour", "trip"],
    "rows": {"per": "trips", "lead": "1h"},
    "label": {"late": "delay >= 15"},
    "features": {"country": "own", "weekday_name": {"own": "source_day"}},
}
HEADER = "hour,minute,trip,country,delay,day,reasons,driver"


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    include = tmp_path / "include"
    for file, fields in (("datasets/city", DATASET), ("expectations/trips", SUITE), ("features/trip_delay", VIEW)):
        (include / f"{file}.yaml").parent.mkdir(parents=True, exist_ok=True)
        (include / f"{file}.yaml").write_text(yaml.safe_dump(fields))
    catalog = Catalog.read(include)
    assert catalog.refused == {}
    made = FakePorts.make(tmp_path, catalog=catalog, store=DeltaStore(str(tmp_path / "store")))
    made.settings = made.settings.model_copy(update={"include": include})
    return made


def deliver(ports: FakePorts, day: date, *rows: str) -> IngestResult:
    content = "\r\n".join([HEADER, *rows, ""]).encode("utf-8-sig")
    file = LandedFile(name="trips.csv", rows=len(rows), sha256=f"SHA256:{hashlib.sha256(content).hexdigest().upper()}")
    ports.store.put(store_paths.landing("city", "trips", day, "trips.csv"), content)
    manifest = DeliveryManifest(source="trips", partition=f"{day}", files=[file]).model_dump_json(by_alias=True)
    ports.store.put(store_paths.landing("city", "trips", day, MANIFEST), manifest.encode())
    return ingest_partition.run(IngestRequest(dataset="city", partition=f"{day}"), ports)


def validate(ports: FakePorts, day: date) -> tuple[int, bool]:
    """Rows of the day's features, and whether they satisfy the rule."""
    audit = audit_partition.run(ValidateRequest(dataset="city", partition=f"{day}"), ports)
    assert judge_audit(audit, 0.5).passed
    publish_partition.run(PublishRequest(audit=audit, accept=True), ports)
    built = build_view(ports, "trip_delay", day)
    return built.partitions[day].rows, built.verdicts[day].passed


def test_each_row_of_an_own_source_is_published_or_quarantined_as_it_was_delivered(ports: FakePorts) -> None:
    delivered = deliver(
        ports,
        FIRST,
        "2024-04-25T22:00:00.250Z,5,1,NA,517,Friday,snow,Ann",
        "2024-04-26T12:00:00+03:00,0,2,DE,,Friday,,Bob",
        "2024-04-26T20:59:59Z,0,3,DE,20,Friday,NA,Cem",
    )
    assert delivered.sources[0].failures == []
    assert validate(ports, FIRST) == (2, True)
    kept = ports.store.read("validated/city.trips", days=[FIRST])
    assert kept.select("trip", "country", "delay", "source_day", "reasons", "day").rows() == [
        (2, "DE", None, "Friday", None, FIRST),
        (3, "DE", 20, "Friday", None, FIRST),
    ]
    [bad] = ports.store.read("quarantine/city.trips", days=[FIRST]).to_dicts()
    assert (bad["trip"], bad["country"], bad["source_reasons"]) == (1, "NA", "snow")
    assert (bad["reasons"], bad["hour"].microsecond) == (["the delay has more than two digits"], 250_000)
    built = ports.store.read("features/trip_delay", days=[FIRST])
    assert built.select("trip", "weekday_name", "late").rows() == [(2, "Friday", None), (3, "Friday", True)]
    pages = [ports.store.get(path).decode() for path in ports.store.list("reports/")]
    assert pages
    assert not any(name in page for page in pages for name in ("Ann", "Bob", "Cem"))


def test_a_row_of_the_day_before_refuses_the_delivery(ports: FakePorts) -> None:
    result = deliver(ports, FIRST, "2024-04-25T21:59:59Z,0,1,NA,5,Friday,,Ann")
    [fault] = result.sources[0].failures
    assert fault.startswith("1 of 1 rows are of another day than 2024-04-26 by hour in Africa/Cairo")
    assert ports.store.days("raw/city.trips") == []


def test_an_empty_day_of_the_entities_passes_through_to_its_features(ports: FakePorts) -> None:
    assert deliver(ports, FIRST).sources[0].failures == []
    assert validate(ports, FIRST) == (0, True)
    deliver(ports, SECOND, "2024-04-27T10:00:00Z,0,1,DE,5,Saturday,,Ann")
    assert validate(ports, SECOND) == (1, True)
    deliver(ports, SECOND)
    assert validate(ports, SECOND) == (0, True)
    assert [ports.store.days(table) for table in ("raw/city.trips", "validated/city.trips", "features/trip_delay")] == [
        []
    ] * 3
    assert ports.store.read("validated/city.trips").schema["hour"] == pl.Datetime("us", "UTC")
