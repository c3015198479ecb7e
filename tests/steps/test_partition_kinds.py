"""Hours, weeks, months and tables without dates go from their files to validated tables as days do."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import store_paths
from pipelines.adapters.store.delta import DeltaStore
from pipelines.errors import Refused
from pipelines.messages.delivery import DeliveryManifest, LandedFile
from pipelines.messages.ingestion import IngestRequest, IngestResult
from pipelines.messages.validation import PublishRequest, PublishResult, ValidateRequest
from pipelines.spec.catalog import Catalog
from pipelines.steps import audit_partition, ingest_partition, publish_partition
from pipelines.steps.auditing.lineage import delivery_of
from pipelines.store_paths import MANIFEST
from pipelines.testing.ports import FakePorts

KINDS = {"hourly": "hour", "weekly": "week", "monthly": "month", "dateless": "once", "other": "week"}
KEYS = {
    "hour": ("2024-02-12T23:00Z", "2024-02-13T00:00Z"),
    "week": ("2024-W07", "2024-W08"),
    "month": ("2024-02", "2024-03"),
}
INSTANTS = {
    "hour": ("2024-02-12T23:30:00Z", "2024-02-13T00:00:00Z"),
    "week": ("2024-02-11T23:00:00Z", "2024-02-18T23:00:00Z"),
    "month": ("2024-02-29T22:59:59Z", "2024-02-29T23:00:00Z"),
}
"""In Berlin a week begins at 23:00 UTC of its Sunday."""


def declared(dataset: str, every: str) -> dict[str, Any]:
    columns = {"at": {"type": "timestamp"}, "id": {"type": "integer"}, "partition": {"type": "string"}}
    return {
        "schema": 2,
        "dataset": dataset,
        "description": "Readings",
        "owner": "metering",
        "partition": {"every": every}
        if every == "once"
        else {"every": every, "start": "2024-01-01", "timezone": "Europe/Berlin"},
        "sources": {
            "readings": {"files": "{source}/{partition}/readings.csv", "key": ["at", "id"], "columns": columns},
            "meters": {
                "files": "{source}/{partition}/meters.csv",
                "cadence": "reference",
                "key": ["id"],
                "columns": {"id": {"type": "integer"}},
            },
        },
    }


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    include = tmp_path / "include"
    (include / "datasets").mkdir(parents=True)
    for dataset, every in KINDS.items():
        (include / "datasets" / f"{dataset}.yaml").write_text(yaml.safe_dump(declared(dataset, every)))
    catalog = Catalog.read(include)
    assert catalog.refused == {}
    made = FakePorts.make(tmp_path, catalog=catalog, store=DeltaStore(str(tmp_path / "store")))
    made.settings = made.settings.model_copy(update={"include": include})
    return made


def deliver(ports: FakePorts, dataset: str, source: str, key: str, *lines: str) -> str:
    """Returns the digest of the file."""
    content = "".join(f"{line}\n" for line in lines).encode()
    digest = hashlib.sha256(content).hexdigest()
    file = LandedFile(name=f"{source}.csv", rows=len(lines) - 1, sha256=digest)
    ports.store.put(store_paths.landing(dataset, source, key, f"{source}.csv"), content)
    manifest = DeliveryManifest(dataset=dataset, source=source, partition=key, files=[file])
    ports.store.put(
        store_paths.landing(dataset, source, key, MANIFEST), manifest.model_dump_json(by_alias=True).encode()
    )
    return digest


def ingest(ports: FakePorts, dataset: str, key: str) -> IngestResult:
    return ingest_partition.run(IngestRequest(dataset=dataset, partition=key), ports)


def publish(ports: FakePorts, dataset: str, key: str) -> PublishResult:
    audit = audit_partition.run(ValidateRequest(dataset=dataset, partition=key), ports)
    return publish_partition.run(PublishRequest(audit=audit, accept=True), ports)


@pytest.mark.parametrize("dataset", ["hourly", "weekly", "monthly"])
def test_partitions_of_each_kind_go_from_file_to_validated_table_in_any_order(ports: FakePorts, dataset: str) -> None:
    (first, second), instants = KEYS[KINDS[dataset]], INSTANTS[KINDS[dataset]]
    deliver(ports, dataset, "meters", first, "id", "7")
    for key, instant in zip((second, first), reversed(instants), strict=True):
        deliver(ports, dataset, "readings", key, "at,id,partition", f"{instant},7,own text")
        assert [source.failures for source in ingest(ports, dataset, key).sources] == [[], []]
        publish(ports, dataset, key)
    rows = ports.store.read(f"validated/{dataset}.readings")
    assert rows.select("at", "source_partition", "partition").rows() == [
        (datetime.fromisoformat(instant).astimezone(UTC), "own text", key)
        for key, instant in zip((first, second), instants, strict=True)
    ]
    assert ports.store.partitions(f"validated/{dataset}.meters") == [first]
    assert ports.store.exists(store_paths.profile(f"validated/{dataset}.readings", second))


@pytest.mark.parametrize("dataset", ["hourly", "weekly", "monthly"])
def test_a_row_of_the_next_partition_is_refused_by_its_time(ports: FakePorts, dataset: str) -> None:
    every = KINDS[dataset]
    deliver(ports, dataset, "meters", KEYS[every][0], "id", "7")
    deliver(ports, dataset, "readings", KEYS[every][0], "at,id,partition", f"{INSTANTS[every][1]},7,x")
    [fault] = [fault for source in ingest(ports, dataset, KEYS[every][0]).sources for fault in source.failures]
    assert fault.startswith(f"1 of 1 rows are of another {every} than {KEYS[every][0]} by at in Europe/Berlin")
    assert ports.store.partitions(f"raw/{dataset}.readings") == []


def test_a_table_without_dates_is_one_partition_that_a_new_delivery_replaces(ports: FakePorts) -> None:
    for number, years in enumerate((["1999-01-01T00:00:00Z"], ["1999-01-01T00:00:00Z", "2040-01-01T00:00:00Z"]), 1):
        deliver(ports, "dateless", "meters", "all", "id", "7")
        lines = [f"{year},{number},x" for year in years]
        deliver(ports, "dateless", "readings", "all", "at,id,partition", *lines)
        assert [source.failures for source in ingest(ports, "dateless", "all").sources] == [[], []]
        publish(ports, "dateless", "all")
        rows = ports.store.read("validated/dateless.readings")
        assert rows.select("id", "partition").rows() == [(number, "all")] * number


def test_two_datasets_with_a_source_of_one_name_are_apart(ports: FakePorts) -> None:
    week = KEYS["week"][0]
    for dataset, reading in (("weekly", 1), ("other", 2)):
        deliver(ports, dataset, "meters", week, "id", "7")
        deliver(ports, dataset, "readings", week, "at,id,partition", f"{INSTANTS['week'][0]},{reading},x")
        ingest(ports, dataset, week)
        publish(ports, dataset, week)
    read = [ports.store.read(f"validated/{dataset}.readings")["id"].to_list() for dataset in ("weekly", "other")]
    assert read == [[1], [2]]


@pytest.mark.parametrize(("dataset", "key"), [("weekly", "2024-02-12"), ("weekly", "2023-W52"), ("dateless", "2024")])
def test_a_key_that_the_dataset_does_not_have_is_refused(ports: FakePorts, dataset: str, key: str) -> None:
    with pytest.raises(Refused, match=f"{dataset} has no"):
        ingest(ports, dataset, key)


def test_a_validated_partition_tells_its_files_by_digest_also_after_it_was_delivered_again(ports: FakePorts) -> None:
    week, table, digests = KEYS["week"][0], "validated/weekly.readings", []
    deliver(ports, "weekly", "meters", week, "id", "7")
    for reading in (1, 2):
        line = f"{INSTANTS['week'][0]},{reading},x"
        digests.append(deliver(ports, "weekly", "readings", week, "at,id,partition", line))
        ingest(ports, "weekly", week)
        publish(ports, "weekly", week)
        version = ports.store.input_version(table, week)
        assert version is not None
        made_from = delivery_of(ports.store, "weekly", "readings", week, version)
        assert made_from is not None
        assert made_from.sha256 == {"readings.csv": digests[-1]}
    before = delivery_of(ports.store, "weekly", "readings", week, version - 1)
    assert before is not None
    assert before.sha256 == {"readings.csv": digests[0]}
