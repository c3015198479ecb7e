"""Lists the delivered and the overdue partitions of a dataset from the store and the calendar."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

from pydantic import ValidationError

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.messages.delivery import DeliveryManifest, FileStamp, RawReceipt
from pipelines.ports import Store
from pipelines.rules.complete_delivery import complete_partitions, missing_part
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.fault_text import fault_texts
from pipelines.spec.partitions import Partition
from pipelines.store_paths import MANIFEST
from practices._arrivals.scheduled_wait import awaits_its_run


def landed_partitions(store: Store, spec: DatasetSpec, source: str, now: datetime, key: str = "") -> set[str]:
    """Keys that the source has delivered completely, as its files declare it; of one partition that alone."""
    folder = store_paths.landing(spec.dataset, source, key) if key else store_paths.landing_of(spec.dataset, source)
    complete = complete_partitions(spec.sources[source].files, store.stamps(folder), now)
    return set(filter(spec.partition_calendar.is_key, complete))


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
        (_newest_copy(store, spec, source, key, now) is not None)
        if spec.sources[source].cadence == "reference"
        else _is_there(store, spec, source, key, now)
        for source in awaited
    )


def awaited_sources(spec: DatasetSpec, partition: Partition, now: datetime) -> list[str]:
    """Those whose delivery must lie there; a database whose rows are complete is read when it is needed."""
    complete = spec.complete_at(partition)
    readable = spec.extracted() if complete is None or complete <= now else []
    return [source for source in [*spec.daily(), *spec.reference()] if source not in readable]


def _is_there(store: Store, spec: DatasetSpec, source: str, key: str, now: datetime) -> bool:
    return bool(landed_partitions(store, spec, source, now, key)) or store.exists(
        store_paths.raw_receipt(spec.dataset, source, key)
    )


def _newest_copy(store: Store, spec: DatasetSpec, source: str, key: str, now: datetime) -> str | None:
    copies = landed_partitions(store, spec, source, now) | held_partitions(store, spec, source)
    return max((copy for copy in copies if copy <= key), default=None)


def delivered_rows(store: Store, spec: DatasetSpec, key: str, now: datetime) -> dict[str, int | None]:
    """Rows by source of the sources that have delivered the partition, and of each reference source's newest copy.

    They are those of the manifest or, where the landed files are gone, of the receipt; None: nobody has counted them.
    """
    keys = {source: key for source in spec.daily() if _is_there(store, spec, source, key, now)}
    for source in spec.reference():
        if copy := _newest_copy(store, spec, source, key, now):
            keys[source] = copy
    return {source: _rows(store, spec, source, on) for source, on in keys.items()}


def _rows(store: Store, spec: DatasetSpec, source: str, key: str) -> int | None:
    path = store_paths.landing(spec.dataset, source, key, MANIFEST)
    receipt = store_paths.raw_receipt(spec.dataset, source, key)
    if not spec.sources[source].files.complete.by_manifest or not store.exists(path):
        return RawReceipt.model_validate_json(store.get(receipt)).rows if store.exists(receipt) else None
    try:
        return DeliveryManifest.read(store.get(path)).rows
    except ValidationError as error:
        subject = f"{path} is not a manifest; let the source deliver {source} of {key} again"
        raise Refused(subject, fault_texts(error)) from error


def lacking_part(store: Store, spec: DatasetSpec, source: str, key: str, now: datetime) -> str | None:
    """What the delivery of a source lacks to be complete, and what to do; None: it is complete."""
    folder = store_paths.landing(spec.dataset, source, key)
    stamps = {path.removeprefix(folder): stamp for path, stamp in store.stamps(folder).items()}
    return missing_part(spec.sources[source].files, stamps, now)


def delivery_digest(store: Store, spec: DatasetSpec, key: str, *, with_files: bool = False) -> str:
    """sha256 over the manifests of a partition's sources and its late rows, without copies; changes with each new one.

    Where no manifest tells of the files, it is over their stamps. ``with_files`` covers the delivered files, too: it
    also changes when a file is replaced under the same manifest.
    """
    digest = hashlib.sha256()
    for source in sorted(spec.daily()):
        folder = store_paths.landing(spec.dataset, source, key)
        if not spec.sources[source].files.complete.by_manifest:
            paths = []
            digest.update(repr(sorted((path, stamp.etag) for path, stamp in store.stamps(folder).items())).encode())
        elif with_files:
            paths = store.list(folder)
        else:
            paths = list(filter(store.exists, [f"{folder}{MANIFEST}"]))
        for path in [*paths, *_late_files(store, spec, source, key)]:
            digest.update(path.encode() + b"\0" + hashlib.sha256(store.get(path)).digest())
    return digest.hexdigest()


def _late_files(store: Store, spec: DatasetSpec, source: str, key: str = "") -> list[str]:
    """Rows of the partition, or of any, that came with the delivery of a later one."""
    if spec.sources[source].late is None:
        return []
    paths = store.list(store_paths.late(spec.dataset, source, key))
    return [path for path in paths if path.split("/")[3] != path.rpartition("/")[2].removesuffix(".parquet")]


def late_partitions(store: Store, spec: DatasetSpec, now: datetime) -> dict[str, str]:
    """Partitions that have landed completely and for which no scheduled run waits: it is over, or has not begun.

    Those that begin later than ``now`` are left out. Each with a stamp that changes when a source rewrites a file of
    the partition. Costs one listing per source.
    """
    stamps = {source: store.stamps(store_paths.landing_of(spec.dataset, source)) for source in spec.sources}
    landed = {source: _paths_by_key(spec, source, stamps[source], now) for source in spec.daily()}
    copies = {
        source: set(_paths_by_key(spec, source, stamps[source], now)) | held_partitions(store, spec, source)
        for source in spec.reference()
    }
    _add_late(landed, stamps, store, spec)
    keys = sorted({key for paths in landed.values() for key in paths})
    partitions = [partition for key in keys if (partition := spec.partition_calendar.partition(key))]
    return {
        partition.key: "\n".join(
            f"{path} {stamps[source][path].etag}"
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
    landed: dict[str, dict[str, list[str]]], stamps: dict[str, dict[str, FileStamp]], store: Store, spec: DatasetSpec
) -> None:
    """Partitions to which late rows came, also where their landed files are gone; a never delivered one is awaited."""
    late = {source: paths for source in landed if (paths := _late_files(store, spec, source))}
    keys = {path.split("/")[3] for paths in late.values() for path in paths}
    for source in landed if late else ():
        for key in keys & held_partitions(store, spec, source):
            landed[source].setdefault(key, [])
    for source, paths in late.items():
        stamps[source] |= store.stamps(store_paths.late(spec.dataset, source))
        for path in paths:
            if path.split("/")[3] in landed[source]:
                landed[source][path.split("/")[3]].append(path)


def _paths_by_key(
    spec: DatasetSpec, source: str, stamps: Mapping[str, FileStamp], now: datetime
) -> dict[str, list[str]]:
    """Paths below ``landing/<dataset>/<source>/<key>/`` by key; only of partitions that are complete."""
    complete = complete_partitions(spec.sources[source].files, stamps, now)
    paths_by_key: dict[str, list[str]] = {key: [] for key in filter(spec.partition_calendar.is_key, complete)}
    for path in stamps:
        if (key := store_paths.delivered_partition(path)) in paths_by_key:
            paths_by_key[key].append(path)
    return paths_by_key
