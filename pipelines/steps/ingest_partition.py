"""Writes one day of each source to the raw tables, if every delivered file matches its manifest and its contract."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl
from pydantic import ValidationError

from pipelines import store_paths
from pipelines.errors import Unavailable
from pipelines.messages.delivery import DeliveryManifest, RawReceipt
from pipelines.messages.ingestion import IngestRequest, IngestResult, SourceIngest
from pipelines.ports import Ports, Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.fault_text import fault_texts
from pipelines.spec.partitions import PartitionCalendar
from pipelines.spec.source import OWN_DAY_COLUMN, SourceSpec
from pipelines.steps.ingestion.contract import check_rows, read_delivery
from pipelines.steps.ingestion.landed_files import landed_files
from pipelines.store_paths import MANIFEST
from pipelines.tables.row_identity import ROW_COLUMN


@dataclass(frozen=True)
class Contract:
    """What one source promises, with the calendar by which the rows of a day are told."""

    source: SourceSpec
    calendar: PartitionCalendar

    @property
    def digest(self) -> str:
        return self.source.contract_digest(self.calendar)


@dataclass(frozen=True)
class Delivery:
    """What one source delivered for a day: rows to write, or failures."""

    source: str
    day: date
    rows: pl.DataFrame
    failures: list[str]
    sha256: dict[str, str]
    contract: str


def run(request: IngestRequest, ports: Ports) -> IngestResult:
    """Read, check and write one day of a dataset.

    Every source is read and checked before anything is written; if one fails, nothing is written, and the result
    lists every failure of every source. A delivery that is in the raw table already is not written again, unless its
    contract has changed since: then it is checked again. Once a day is held, its landed files may be removed. Raises
    ``Unavailable`` naming each source that has not been delivered.
    """
    spec = ports.catalog.dataset(request.dataset)
    folders = _landing_days(spec, request.day, ports.store)
    deliveries: list[SourceIngest | Delivery] = []
    for name, day in folders.items():
        contract = Contract(spec.sources[name], spec.partition_calendar)
        deliveries.append(_ingested_before(name, contract, day, ports.store))
    failed = any(isinstance(item, Delivery) and item.failures for item in deliveries)
    sources = [
        item if isinstance(item, SourceIngest) else _failed_ingest(item) if failed else _write_raw(item, ports.store)
        for item in deliveries
    ]
    return IngestResult(dataset=spec.dataset, day=request.day, sources=sources)


def _landing_days(spec: DatasetSpec, day: date, store: Store) -> dict[str, date]:
    """Source to the day whose delivery is to be read, be it landed or held."""
    folders: dict[str, date] = {}
    missing = []
    for name in spec.sources:
        if name in spec.reference():
            landed = [
                store_paths.delivered_day(path)
                for path in store.list(store_paths.landing_of(name))
                if path.endswith(f"/{MANIFEST}")
            ]
            held = [store_paths.received_day(path) for path in store.list(store_paths.raw_receipts_of(name))]
            days = [other for other in [*landed, *held] if other is not None and other <= day]
        else:
            paths = [store_paths.landing(name, day, MANIFEST), store_paths.raw_receipt(name, day)]
            days = [day] if any(map(store.exists, paths)) else []
        if days:
            folders[name] = max(days)
        else:
            missing.append(f"{name} (no {store_paths.landing(name, day, MANIFEST)})")
    if missing:
        raise Unavailable(f"{spec.dataset} {day} has not been delivered by {', '.join(missing)}; deliver it, or wait")
    return folders


def _ingested_before(name: str, contract: Contract, day: date, store: Store) -> SourceIngest | Delivery:
    """The result of an earlier ingest of the same delivery, if neither the raw day nor the contract changed since.

    Else the delivery, read and checked; of a day whose landed files were removed, the held rows, checked again.
    """
    landed = store.exists(store_paths.landing(name, day, MANIFEST))
    path = store_paths.raw_receipt(name, day)
    receipt = RawReceipt.model_validate_json(store.get(path)) if store.exists(path) else None
    if receipt is not None and day in store.changed_days(store_paths.raw(name), receipt.version):
        receipt = None  # somebody else wrote the day since: what is held is not what was delivered
    if receipt is None or (landed and not _is_delivery_of(receipt, name, day, store)):
        return _read_delivery(name, contract, day, store)
    if receipt.contract != contract.digest:
        return _read_delivery(name, contract, day, store) if landed else _read_held(name, contract, day, receipt, store)
    return SourceIngest(
        source=name,
        landed_day=day,
        rows=receipt.rows,
        sha256=receipt.sha256,
        table=store_paths.raw(name),
        version=receipt.version,
        unchanged=True,
    )


def _is_delivery_of(receipt: RawReceipt, name: str, day: date, store: Store) -> bool:
    try:
        manifest = _read_manifest(name, day, store)
    except ValidationError:
        return False
    return receipt.sha256 == {file.name: file.sha256 for file in manifest.files}


def _read_manifest(name: str, day: date, store: Store) -> DeliveryManifest:
    return DeliveryManifest.read(store.get(store_paths.landing(name, day, MANIFEST)))


def _read_held(name: str, contract: Contract, day: date, receipt: RawReceipt, store: Store) -> Delivery:
    """The held rows of a day under a contract that has changed since they were written."""
    held = store.read(store_paths.raw(name), days=[day], version=receipt.version).drop("day")
    held, columns = held.rename({OWN_DAY_COLUMN: "day"}, strict=False), contract.source.columns
    rows, failures = check_rows(
        held.select(column for column in held.columns if column in columns or column == ROW_COLUMN),
        contract.source,
        day,
        timezone=contract.calendar.timezone,
    )
    hint = "; the contract has changed since this day was ingested, and its files are gone: deliver it again"
    return Delivery(name, day, rows, [f"{failure}{hint}" for failure in failures], receipt.sha256, contract.digest)


def _read_delivery(name: str, contract: Contract, day: date, store: Store) -> Delivery:
    source, no_rows = contract.source, pl.DataFrame()
    if not store.exists(store_paths.landing(name, day, MANIFEST)):
        gone = f"the raw day was changed since it was ingested, and {store_paths.landing(name, day)} has no {MANIFEST}"
        return Delivery(name, day, no_rows, [f"{gone}; deliver it again"], {}, contract.digest)
    try:
        manifest = _read_manifest(name, day, store)
    except ValidationError as error:
        faults = [f"{MANIFEST}: {text}" for text in fault_texts(error)]
        return Delivery(name, day, no_rows, faults, {}, contract.digest)
    failures = []
    if (manifest.source, manifest.day) != (name, day):
        failures.append(f"{MANIFEST} describes {manifest.source} {manifest.day}, not {name} {day}")
    contents, faults = landed_files(manifest, source.files, lambda file: _landed(name, day, file, store))
    digests = {file.name: file.sha256 for file in manifest.files}
    counts = {file.name: file.rows for file in manifest.files}
    rows, broken = no_rows, list[str]()
    if contents:
        rows, broken = read_delivery(contents, source, day, timezone=contract.calendar.timezone, row_counts=counts)
    return Delivery(name, day, rows, [*failures, *faults, *broken], digests, contract.digest)


def _landed(name: str, day: date, file: str, store: Store) -> bytes | None:
    path = store_paths.landing(name, day, file)
    return store.get(path) if store.exists(path) else None


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
    receipt = RawReceipt(rows=delivery.rows.height, sha256=delivery.sha256, version=version, contract=delivery.contract)
    store.put(store_paths.raw_receipt(delivery.source, delivery.day), receipt.model_dump_json(by_alias=True).encode())
    return SourceIngest(
        source=delivery.source,
        landed_day=delivery.day,
        rows=delivery.rows.height,
        sha256=delivery.sha256,
        table=table,
        version=version,
    )
