"""Lists the delivered and the overdue partitions of a dataset from the store and the calendar."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

from pydantic import ValidationError

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.delivery import DeliveryManifest, LandedFile, RawReceipt
from pipelines.ports import Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.fault_text import fault_texts
from pipelines.spec.partitions import Partition
from pipelines.store_paths import MANIFEST


def landed_partitions(store: Store, spec: DatasetSpec, source: str) -> set[str]:
    """Keys that the source has delivered completely: those with a manifest, which is written last."""
    return set(_paths_by_key(spec, store.list(store_paths.landing_of(spec.dataset, source))))


def held_partitions(store: Store, spec: DatasetSpec, source: str) -> set[str]:
    """Keys of the source that were ingested: their landed files may have been removed since."""
    received = map(store_paths.partition_of_file, store.list(store_paths.raw_receipts_of(spec.dataset, source)))
    return {key for key in received if spec.partition_calendar.is_key(key)}


def has_landed(store: Store, spec: DatasetSpec, key: str, now: datetime) -> bool:
    """Whether every source has delivered the partition, and every reference source that one or one before.

    What was ingested counts, too, when its landed files are gone, and so does a database that has all rows by ``now``.
    While a source is missing this costs two requests per source up to the first missing one.
    """
    awaited = awaited_sources(spec, spec.partition_calendar.require(key, spec.dataset), now)
    return all(
        (_newest_copy(store, spec, source, key) is not None)
        if spec.sources[source].cadence == "reference"
        else _is_there(store, spec, source, key)
        for source in awaited
    )


def awaited_sources(spec: DatasetSpec, partition: Partition, now: datetime) -> list[str]:
    """Those whose delivery must lie there; a database whose rows are complete is read when it is needed."""
    complete = spec.complete_at(partition)
    readable = spec.extracted() if complete is None or complete <= now else []
    return [source for source in [*spec.daily(), *spec.reference()] if source not in readable]


def _is_there(store: Store, spec: DatasetSpec, source: str, key: str) -> bool:
    return store.exists(store_paths.landing(spec.dataset, source, key, MANIFEST)) or store.exists(
        store_paths.raw_receipt(spec.dataset, source, key)
    )


def _newest_copy(store: Store, spec: DatasetSpec, source: str, key: str) -> str | None:
    copies = landed_partitions(store, spec, source) | held_partitions(store, spec, source)
    return max((copy for copy in copies if copy <= key), default=None)


def delivered_manifests(store: Store, spec: DatasetSpec, key: str) -> dict[str, DeliveryManifest]:
    """Manifests of the sources that have delivered the partition, and each reference source's newest one until then.

    A partition whose landed files are gone has the manifest that its receipt tells of.
    """
    keys = {source: key for source in spec.daily() if _is_there(store, spec, source, key)}
    for source in spec.reference():
        if copy := _newest_copy(store, spec, source, key):
            keys[source] = copy
    return {source: _manifest(store, spec, source, on) for source, on in keys.items()}


def _manifest(store: Store, spec: DatasetSpec, source: str, key: str) -> DeliveryManifest:
    path = store_paths.landing(spec.dataset, source, key, MANIFEST)
    if not store.exists(path):
        receipt = RawReceipt.model_validate_json(store.get(store_paths.raw_receipt(spec.dataset, source, key)))
        files = [LandedFile(name=name, rows=receipt.rows, sha256=digest) for name, digest in receipt.sha256.items()]
        return DeliveryManifest(dataset=spec.dataset, source=source, partition=key, files=files)
    try:
        return DeliveryManifest.read(store.get(path))
    except ValidationError as error:
        subject = f"{path} is not a manifest; let the source deliver {source} of {key} again"
        raise Refused(subject, fault_texts(error)) from error


def delivery_digest(store: Store, spec: DatasetSpec, key: str, *, with_files: bool = False) -> str:
    """sha256 over the manifests of a partition's sources and its late rows, without copies; changes with each new one.

    ``with_files`` covers the delivered files, too: it also changes when a file is replaced under the same manifest.
    """
    digest = hashlib.sha256()
    for source in sorted(spec.daily()):
        folder = store_paths.landing(spec.dataset, source, key)
        paths = store.list(folder) if with_files else list(filter(store.exists, [f"{folder}{MANIFEST}"]))
        for path in [*paths, *_late_files(store, spec, source, key)]:
            digest.update(path.encode() + b"\0" + hashlib.sha256(store.get(path)).digest())
    return digest.hexdigest()


def _late_files(store: Store, spec: DatasetSpec, source: str, key: str = "") -> list[str]:
    """Rows of the partition, or of any, that came with the delivery of a later one."""
    if spec.sources[source].late is None:
        return []
    paths = store.list(store_paths.late(spec.dataset, source, key))
    return [path for path in paths if path.split("/")[3] != path.rpartition("/")[2].removesuffix(".parquet")]


def wait_end(spec: DatasetSpec, partition: Partition) -> datetime:
    """When the scheduled run of a partition stops waiting: ``due`` and ``wait`` after the partition is over.

    A table without dates has no scheduled run: the wait for it is over with its calendar's first instant.
    """
    calendar = spec.partition_calendar
    if calendar.every == "once":
        return partition.begin
    return (partition.end + spec.partition.due + spec.partition.wait).astimezone(calendar.zone)


def awaits_its_run(spec: DatasetSpec, partition: Partition, now: datetime) -> bool:
    """Whether the scheduled run of a partition waits for its files just now, so that nobody else need take them."""
    begin = spec.partition_calendar.run_time(partition)
    return begin is not None and begin <= now <= wait_end(spec, partition)


def late_partitions(store: Store, spec: DatasetSpec, now: datetime) -> dict[str, str]:
    """Partitions that have landed completely and for which no scheduled run waits: it is over, or has not begun.

    Those that begin later than ``now`` are left out. Each with a stamp that changes when a source rewrites a file of
    the partition. Costs one listing per source.
    """
    stamps = {source: store.etags(store_paths.landing_of(spec.dataset, source)) for source in spec.sources}
    landed = {source: _paths_by_key(spec, stamps[source]) for source in spec.daily()}
    copies = {
        source: set(_paths_by_key(spec, stamps[source])) | held_partitions(store, spec, source)
        for source in spec.reference()
    }
    _add_late(landed, stamps, store, spec)
    keys = sorted({key for paths in landed.values() for key in paths})
    partitions = [partition for key in keys if (partition := spec.partition_calendar.partition(key))]
    return {
        partition.key: "\n".join(
            f"{path} {stamps[source][path]}"
            for source, paths in landed.items()
            for path in paths.get(partition.key, [])
        )
        for partition in partitions
        if partition.begin <= now
        and not awaits_its_run(spec, partition, now)
        and all(
            partition.key in landed[source] if source in landed else min(copies[source], default="~") <= partition.key
            for source in awaited_sources(spec, partition, now)
        )
    }


def _add_late(
    landed: dict[str, dict[str, list[str]]], stamps: dict[str, dict[str, str]], store: Store, spec: DatasetSpec
) -> None:
    """Partitions to which late rows came, also where their landed files are gone; a never delivered one is awaited."""
    late = {source: paths for source in landed if (paths := _late_files(store, spec, source))}
    keys = {path.split("/")[3] for paths in late.values() for path in paths}
    for source in landed if late else ():
        for key in keys & held_partitions(store, spec, source):
            landed[source].setdefault(key, [])
    for source, paths in late.items():
        stamps[source] |= store.etags(store_paths.late(spec.dataset, source))
        for path in paths:
            if path.split("/")[3] in landed[source]:
                landed[source][path.split("/")[3]].append(path)


def _paths_by_key(spec: DatasetSpec, paths: Iterable[str]) -> dict[str, list[str]]:
    """Paths below ``landing/<dataset>/<source>/<key>/`` by key; only of partitions whose manifest is there."""
    paths_by_key: dict[str, list[str]] = {}
    complete = set()
    for path in paths:
        key = store_paths.delivered_partition(path)
        if key is not None and spec.partition_calendar.is_key(key):
            paths_by_key.setdefault(key, []).append(path)
            if path.count("/") == 4 and path.endswith(f"/{MANIFEST}"):
                complete.add(key)
    return {key: paths_by_key[key] for key in complete}
