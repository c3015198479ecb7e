"""Writes one day of each source to the raw tables, if every delivered file matches its manifest and its contract."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date

import polars as pl
from pydantic import ValidationError

from pipelines import store_paths
from pipelines.errors import Unavailable
from pipelines.messages.delivery import DeliveryManifest, RawReceipt
from pipelines.messages.ingestion import IngestRequest, IngestResult, SourceIngest
from pipelines.ports import Ports, Store
from pipelines.spec.dataset import DatasetSpec, SourceSpec
from pipelines.steps.ingestion.contract import read_delivery
from pipelines.store_paths import MANIFEST


@dataclass(frozen=True)
class Delivery:
    """The content of one landing folder: rows to write, or failures."""

    source: str
    day: date
    manifest: DeliveryManifest | None
    rows: pl.DataFrame
    failures: list[str]

    @property
    def sha256(self) -> dict[str, str]:
        return {file.name: file.sha256 for file in self.manifest.files} if self.manifest else {}


def run(request: IngestRequest, ports: Ports) -> IngestResult:
    """Read, check and write one day of a dataset.

    Every source is read and checked before anything is written; if one fails, nothing is written, and the result
    lists every failure of every source. A delivery that is in the raw table already is not written again. Raises
    ``Unavailable`` naming each source that has not been delivered.
    """
    spec = ports.catalog.dataset(request.dataset)
    folders = _landing_days(spec, request.day, ports.store)
    deliveries: list[SourceIngest | Delivery] = []
    for name, day in folders.items():
        earlier = _earlier_ingest(name, day, ports.store)
        deliveries.append(earlier or _read_delivery(name, spec.sources[name], day, ports.store))
    failed = any(isinstance(item, Delivery) and item.failures for item in deliveries)
    sources = [
        item if isinstance(item, SourceIngest) else _failed_ingest(item) if failed else _write_raw(item, ports.store)
        for item in deliveries
    ]
    return IngestResult(dataset=spec.dataset, day=request.day, sources=sources)


def _landing_days(spec: DatasetSpec, day: date, store: Store) -> dict[str, date]:
    """Source to the day whose landing folder is to be read."""
    folders: dict[str, date] = {}
    missing = []
    for name in spec.sources:
        if name in spec.reference():
            landed = [path.split("/")[2] for path in store.list(f"landing/{name}/") if path.endswith(MANIFEST)]
            folder = max((folder_day for folder_day in landed if folder_day <= day.isoformat()), default=None)
        else:
            folder = day.isoformat() if store.exists(store_paths.landing(name, day, MANIFEST)) else None
        if folder is None:
            missing.append(f"{name} (no {store_paths.landing(name, day, MANIFEST)})")
        else:
            folders[name] = date.fromisoformat(folder)
    if missing:
        raise Unavailable(f"{spec.dataset} {day} has not been delivered by {', '.join(missing)}; deliver it, or wait")
    return folders


def _read_manifest(name: str, day: date, store: Store) -> DeliveryManifest:
    return DeliveryManifest.model_validate_json(store.get(store_paths.landing(name, day, MANIFEST)))


def _earlier_ingest(name: str, day: date, store: Store) -> SourceIngest | None:
    """The result of an earlier ingest of the same delivery, if the raw day was not written since."""
    path = store_paths.raw_receipt(name, day)
    if not store.exists(path):
        return None
    receipt = RawReceipt.model_validate_json(store.get(path))
    if day in store.changed_days(store_paths.raw(name), receipt.version):
        return None
    try:
        manifest = _read_manifest(name, day, store)
    except ValidationError:
        return None
    if receipt.sha256 != {file.name: file.sha256 for file in manifest.files}:
        return None
    return SourceIngest(
        source=name,
        landed_day=day,
        rows=receipt.rows,
        sha256=receipt.sha256,
        table=store_paths.raw(name),
        version=receipt.version,
        unchanged=True,
    )


def _read_delivery(name: str, source: SourceSpec, day: date, store: Store) -> Delivery:
    no_rows = pl.DataFrame()
    try:
        manifest = _read_manifest(name, day, store)
    except ValidationError as error:
        faults = [f"{MANIFEST}: {'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors()]
        return Delivery(name, day, None, no_rows, faults)
    failures = []
    if (manifest.source, manifest.day) != (name, day):
        failures.append(f"{MANIFEST} describes {manifest.source} {manifest.day}, not {name} {day}")
    listed = {file.name: file for file in manifest.files}
    failures += [
        f"{MANIFEST} lists {other!r}, which the contract does not know" for other in listed.keys() - {source.file}
    ]
    if source.file not in listed:
        return Delivery(name, day, manifest, no_rows, [*failures, f"{MANIFEST} does not list {source.file}"])
    path = store_paths.landing(name, day, source.file)
    if not store.exists(path):
        return Delivery(name, day, manifest, no_rows, [*failures, f"{path} is listed but missing; deliver it again"])
    content = store.get(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != listed[source.file].sha256:
        failures.append(
            f"{source.file} has sha256 {digest[:12]}…, its manifest says {listed[source.file].sha256[:12]}…; "
            "it was truncated or changed, deliver it again"
        )
    rows, broken = read_delivery(content, source, day)
    if not broken and rows.height != listed[source.file].rows:
        broken.append(f"{source.file} has {rows.height} rows, its manifest says {listed[source.file].rows}")
    return Delivery(name, day, manifest, rows, failures + broken)


def _failed_ingest(delivery: Delivery) -> SourceIngest:
    return SourceIngest(
        source=delivery.source,
        landed_day=delivery.day,
        rows=delivery.rows.height,
        sha256=delivery.sha256,
        failures=delivery.failures,
    )


def _write_raw(delivery: Delivery, store: Store) -> SourceIngest:
    table = store_paths.raw(delivery.source)
    version = store.replace_partition(table, delivery.day, delivery.rows)
    receipt = RawReceipt(rows=delivery.rows.height, sha256=delivery.sha256, version=version)
    store.put(store_paths.raw_receipt(delivery.source, delivery.day), receipt.model_dump_json(by_alias=True).encode())
    return SourceIngest(
        source=delivery.source,
        landed_day=delivery.day,
        rows=delivery.rows.height,
        sha256=delivery.sha256,
        table=table,
        version=version,
    )
