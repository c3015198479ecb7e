"""Tells from which delivered files a raw partition, the features of a day, and a snapshot were made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.delivery import RawReceipt
from pipelines.messages.features import FeatureRecord
from pipelines.messages.training import SnapshotResult
from pipelines.ports import Store
from pipelines.steps.features.staleness import feature_records


def delivery_of(store: Store, dataset: str, source: str, key: str, raw_version: int) -> RawReceipt | None:
    """The delivery that the partition held at a version of the raw table; None if none is recorded.

    ``raw_version`` of a validated partition is its ``input_version``.
    """
    paths = store.list(store_paths.delivery(dataset, source, key))
    versions = {int(path.rpartition("/")[2].removesuffix(".json")): path for path in paths}
    newest = max((version for version in versions if version <= raw_version), default=None)
    return None if newest is None else RawReceipt.model_validate_json(store.get(versions[newest]))


@dataclass(frozen=True)
class InputPartition:
    """A validated partition as it was read: at a version of its table, from a version of the raw table.

    ``files``: delivered file to its sha256; empty if nothing is recorded of the delivery.
    """

    table: str
    key: str
    version: int
    raw_version: int | None
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DayLineage:
    """The features of a day; ``record`` None: they were written before 0.2.0, and name nothing."""

    day: date
    record: FeatureRecord | None
    inputs: list[InputPartition]


def read_record(store: Store, model: str, digest: str) -> SnapshotResult:
    """What is recorded of a snapshot. ``Refused`` if there is none."""
    path = store_paths.snapshot(model, digest, "snapshot.json")
    if not store.exists(path):
        raise Refused(f"model {model} has no snapshot {digest}")
    return SnapshotResult.model_validate_json(store.get(path))


def snapshot_days(store: Store, snapshot: SnapshotResult) -> Iterator[DayLineage]:
    """The days of features that a snapshot may have rows of, ascending: its feature table as it was then."""
    table = next(name for name in snapshot.table_versions if name.startswith("features/"))
    version = snapshot.table_versions[table]
    records = feature_records(store, table, version)
    first = min((part.first for part in snapshot.parts.values() if part.first), default=None)
    for day in sorted(store.read(table, columns=[], version=version)["day"].unique()):
        if day > snapshot.as_of.date() or (first is not None and day < first.date() - timedelta(1)):
            continue
        record = records.get(day)
        yield DayLineage(day, record, [] if record is None else list(_inputs(store, record)))


def _inputs(store: Store, record: FeatureRecord) -> Iterator[InputPartition]:
    for table, version in record.inputs.items():
        dataset, _, source = table.removeprefix("validated/").partition(".")
        for key in [] if version is None else record.partitions.get(table, []):
            assert version is not None
            raw = store.input_version(table, key, version=version)
            delivery = None if raw is None else delivery_of(store, dataset, source, key, raw)
            yield InputPartition(table, key, version, raw, {} if delivery is None else delivery.sha256)
