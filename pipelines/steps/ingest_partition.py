"""Writes one partition of each source to the raw tables, if every file matches its manifest and its contract."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import polars as pl
from pydantic import ValidationError

from pipelines import store_paths
from pipelines.errors import Unavailable
from pipelines.messages.delivery import DeliveryManifest, FileStamp, RawReceipt
from pipelines.messages.ingestion import IngestRequest, IngestResult, SourceIngest
from pipelines.ports import Ports, Store
from pipelines.rules.complete_delivery import complete_partitions, missing_part
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.fault_text import fault_texts
from pipelines.spec.partitions import Partition, PartitionCalendar, partition_name
from pipelines.spec.source import SourceSpec
from pipelines.steps.ingestion.contract import check_rows, read_delivery
from pipelines.steps.ingestion.landed_files import file_digests, landed_files
from pipelines.steps.ingestion.late_rows import (
    LATE,
    digests,
    read_late,
    read_own,
    rows_by_partition,
    write_late,
    write_own,
)
from pipelines.store_paths import MANIFEST
from pipelines.tables.partition import partition_column
from pipelines.tables.row_identity import ROW_COLUMN


@dataclass(frozen=True)
class Contract:
    """What one source of a dataset promises, with the calendar by which the rows of a partition are told."""

    dataset: str
    name: str
    source: SourceSpec
    calendar: PartitionCalendar

    @classmethod
    def of(cls, spec: DatasetSpec, name: str) -> Contract:
        return cls(spec.dataset, name, spec.sources[name], spec.partition_calendar)

    @property
    def digest(self) -> str:
        return self.source.contract_digest(self.calendar)

    @property
    def table(self) -> str:
        return store_paths.raw(self.dataset, self.name)

    def landing(self, key: str, name: str = "") -> str:
        return store_paths.landing(self.dataset, self.name, key, name)

    def receipt(self, key: str) -> str:
        return store_paths.raw_receipt(self.dataset, self.name, key)

    def stamps(self, store: Store, key: str) -> dict[str, FileStamp]:
        """Of the landed files of a partition, by name."""
        folder = self.landing(key)
        return {path.removeprefix(folder): stamp for path, stamp in store.stamps(folder).items()}

    def complete(self, store: Store, now: datetime, key: str = "") -> set[str]:
        """Keys of the complete deliveries; of one partition that alone."""
        folder = self.landing(key) if key else store_paths.landing_of(self.dataset, self.name)
        return complete_partitions(self.source.files, store.stamps(folder), now)

    def check_rows(self, delivered: pl.DataFrame, key: str) -> tuple[pl.DataFrame, list[str]]:
        return check_rows(delivered, self.source, self._rows_of(key), timezone=self.calendar.timezone)

    def read(
        self, contents: Mapping[str, bytes], key: str, row_counts: Mapping[str, int]
    ) -> tuple[pl.DataFrame, list[str]]:
        partition = self._rows_of(key)
        return read_delivery(
            contents,
            self.source,
            partition,
            timezone=self.calendar.timezone,
            row_counts=row_counts,
            earliest=self._earliest(partition),
        )

    def recheck(self, stored: pl.DataFrame, key: str) -> tuple[pl.DataFrame, list[str]]:
        """Rows by their names in the tables, checked again."""
        rows = stored.rename({self.source.stored_name(name): name for name in self.source.columns}, strict=False)
        return self.check_rows(
            rows.select(name for name in rows.columns if name in (*self.source.columns, ROW_COLUMN)), key
        )

    def _earliest(self, partition: Partition | None) -> datetime | None:
        """Since when rows of earlier partitions are taken; None: they are not."""
        if partition is None or self.source.late is None:
            return None
        first = next(self.calendar.partitions(self.calendar.start + timedelta(days=31)))
        return max(partition.begin - self.source.late.allow, first.begin)

    def _rows_of(self, key: str) -> Partition | None:
        """The partition in which all rows must be; None for a copy, and for a table without dates."""
        is_dated = self.source.cadence != "reference" and self.calendar.every != "once"
        return self.calendar.partition(key) if is_dated else None


@dataclass(frozen=True)
class Delivery:
    """What one source delivered for a partition: rows to write, or failures."""

    contract: Contract
    partition: str
    rows: pl.DataFrame
    failures: list[str]
    sha256: dict[str, str]
    late: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Rows of earlier partitions that it brought, by partition."""
    own: pl.DataFrame | None = None
    """Its own rows, where late ones of other deliveries are among ``rows``; else None."""


def run(request: IngestRequest, ports: Ports) -> IngestResult:
    """Read, check and write one partition of a dataset.

    Every source is read and checked before anything is written; if one fails, nothing is written, and the result
    lists every failure of every source. A delivery that is in the raw table already is not written again, unless its
    contract has changed since: then it is checked again. Once a partition is held, its landed files may be removed.
    Raises ``Unavailable`` naming each source that has not been delivered, ``Refused`` for a partition that the dataset
    does not have.
    """
    spec = ports.catalog.dataset(request.dataset)
    spec.partition_calendar.require(request.partition, spec.dataset)
    deliveries: list[SourceIngest | Delivery] = []
    now = ports.clock()
    for name, key in _landed_partitions(spec, request.partition, ports.store, now).items():
        source = _ingested_before(Contract.of(spec, name), key, ports.store, now)
        deliveries.append(source if isinstance(source, SourceIngest) else _with_late_rows(source, ports.store))
    failed = any(isinstance(item, Delivery) and item.failures for item in deliveries)
    sources = [
        item if isinstance(item, SourceIngest) else _failed_ingest(item) if failed else _write_raw(item, ports.store)
        for item in deliveries
    ]
    return IngestResult(dataset=spec.dataset, partition=request.partition, sources=sources)


def _landed_partitions(spec: DatasetSpec, key: str, store: Store, now: datetime) -> dict[str, str]:
    """Source to the partition whose delivery is to be read, be it landed or held."""
    folders: dict[str, str] = {}
    missing = []
    for name in spec.sources:
        contract = Contract.of(spec, name)
        if name in spec.reference():
            landed = contract.complete(store, now)
            held = map(store_paths.partition_of_file, store.list(store_paths.raw_receipts_of(spec.dataset, name)))
            keys = [copy for copy in {*landed, *held} if spec.partition_calendar.is_key(copy) and copy <= key]
        else:
            keys = [key] if contract.complete(store, now, key) or store.exists(contract.receipt(key)) else []
        if keys:
            folders[name] = max(keys)
        else:
            part = missing_part(contract.source.files, contract.stamps(store, key), now)
            missing.append(f"{name} ({contract.landing(key)}: {part})")
    if missing:
        raise Unavailable(f"{spec.dataset} {partition_name(key)} has not been delivered by {', '.join(missing)}")
    return folders


def _ingested_before(contract: Contract, key: str, store: Store, now: datetime) -> SourceIngest | Delivery:
    """The result of an earlier ingest of the same delivery, if neither the raw partition nor the contract changed.

    Else the delivery, read and checked; where the landed files were removed, the held rows, checked again.
    """
    landed = bool(contract.complete(store, now, key))
    path = contract.receipt(key)
    receipt = RawReceipt.model_validate_json(store.get(path)) if store.exists(path) else None
    if receipt is not None and key in store.changed_partitions(contract.table, receipt.version):
        receipt = None  # somebody else wrote the partition since: what is held is not what was delivered
    if receipt is None or (landed and not _is_delivery_of(receipt, contract, key, store)):
        return _read_delivery(contract, key, store, landed=landed)
    late = {name: digest for name, digest in receipt.sha256.items() if name.startswith(LATE)}
    if receipt.contract != contract.digest or late != digests(read_late(store, contract.dataset, contract.name, key)):
        return (
            _read_delivery(contract, key, store, landed=True) if landed else _read_held(contract, key, receipt, store)
        )
    return SourceIngest(
        source=contract.name,
        landed=key,
        rows=receipt.rows,
        sha256=receipt.sha256,
        table=contract.table,
        version=receipt.version,
        unchanged=True,
    )


def _is_delivery_of(receipt: RawReceipt, contract: Contract, key: str, store: Store) -> bool:
    own = {name: digest for name, digest in receipt.sha256.items() if not name.startswith(LATE)}
    if not contract.source.files.complete.by_manifest:
        return own == file_digests(_read_files(contract, key, store))
    try:
        manifest = _read_manifest(contract, key, store)
    except ValidationError:
        return False
    return own == {file.name: file.sha256 for file in manifest.files}


def _read_manifest(contract: Contract, key: str, store: Store) -> DeliveryManifest:
    return DeliveryManifest.read(store.get(contract.landing(key, MANIFEST)))


def _read_files(contract: Contract, key: str, store: Store) -> dict[str, bytes]:
    """Name to content of the data files of a delivery that has no manifest."""
    names = [name for name in contract.stamps(store, key) if contract.source.files.has(name)]
    return {name: store.get(contract.landing(key, name)) for name in names}


def _read_held(contract: Contract, key: str, receipt: RawReceipt, store: Store) -> Delivery:
    """The held rows of a partition under a contract that has changed since they were written."""
    own = {name: digest for name, digest in receipt.sha256.items() if not name.startswith(LATE)}
    if own == receipt.sha256:
        held = store.read(contract.table, partitions=[key], version=receipt.version).drop(partition_column(key))
    else:
        held = read_own(store, contract.dataset, contract.name, key)
    rows, failures = contract.recheck(held, key)
    hint = "; the contract has changed since this was ingested, and its files are gone: deliver it again"
    return Delivery(contract, key, rows, [f"{failure}{hint}" for failure in failures], own)


def _read_delivery(contract: Contract, key: str, store: Store, *, landed: bool) -> Delivery:
    source, no_rows = contract.source, pl.DataFrame()
    if not landed:
        changed = f"the raw {partition_name(key)} was changed since it was ingested"
        fault = f"{changed}, and {contract.landing(key)} has no complete delivery; deliver it again"
        return Delivery(contract, key, no_rows, [fault], {})
    if not source.files.complete.by_manifest:
        contents = _read_files(contract, key, store)
        if not contents and not source.may_land_no_file:
            fault = f"{contract.landing(key)} has no file {source.files.name}; deliver it again"
            return Delivery(contract, key, no_rows, [fault], {})
        rows, broken = contract.read(contents, key, {})
        return Delivery(contract, key, rows, broken, file_digests(contents))
    try:
        manifest = _read_manifest(contract, key, store)
    except ValidationError as error:
        faults = [f"{MANIFEST}: {text}" for text in fault_texts(error)]
        return Delivery(contract, key, no_rows, faults, {})
    failures: list[str] = []
    described = (manifest.dataset or contract.dataset, manifest.source, manifest.partition)
    if described != (contract.dataset, contract.name, key):
        of_other = f"{manifest.dataset} " if manifest.dataset not in (None, contract.dataset) else ""
        failures.append(
            f"{MANIFEST} describes {of_other}{manifest.source} {manifest.partition}, not {contract.name} {key}"
        )
    contents, faults = landed_files(manifest, source, lambda file: _landed(contract, key, file, store))
    digests = {file.name: file.sha256 for file in manifest.files}
    counts = {file.name: file.rows for file in manifest.files}
    rows, broken = no_rows, []
    if contents or not faults:
        rows, broken = contract.read(contents, key, counts)
    return Delivery(contract, key, rows, [*failures, *faults, *broken], digests)


def _with_late_rows(delivery: Delivery, store: Store) -> Delivery:
    """Its rows of earlier partitions set apart, and those of its own that later deliveries brought added."""
    contract, key = delivery.contract, delivery.partition
    if delivery.failures or contract.source.cadence == "reference":
        return delivery
    late = rows_by_partition(delivery.rows, contract.source, contract.calendar, key)
    own = late.pop(key)
    files = read_late(store, contract.dataset, contract.name, key)
    if not files:
        return replace(delivery, rows=own, late=late)
    parts = [own, *(pl.read_parquet(io.BytesIO(content)) for content in files.values())]
    rows, failures = contract.recheck(pl.concat(parts, how="diagonal_relaxed"), key)
    came_with = ", ".join(name.removeprefix(LATE) for name in files)
    failures = [f"{failure}; with late rows that came with {came_with}" for failure in failures]
    sha256 = delivery.sha256 | digests(files)
    return replace(delivery, rows=rows, failures=failures, sha256=sha256, late=late, own=own)


def _landed(contract: Contract, key: str, file: str, store: Store) -> bytes | None:
    path = contract.landing(key, file)
    return store.get(path) if store.exists(path) else None


def _failed_ingest(delivery: Delivery) -> SourceIngest:
    return SourceIngest(
        source=delivery.contract.name,
        landed=delivery.partition,
        rows=delivery.rows.height,
        sha256=delivery.sha256,
        failures=delivery.failures,
    )


def _write_raw(delivery: Delivery, store: Store) -> SourceIngest:
    contract, key = delivery.contract, delivery.partition
    if contract.source.cadence != "reference":
        write_late(store, contract.dataset, contract.name, key, delivery.late)
    if delivery.own is not None:
        write_own(store, contract.dataset, contract.name, key, delivery.own)
    version = store.replace_partition(contract.table, key, delivery.rows)
    receipt = RawReceipt(rows=delivery.rows.height, sha256=delivery.sha256, version=version, contract=contract.digest)
    content = receipt.model_dump_json(by_alias=True).encode()
    store.put(store_paths.delivery(contract.dataset, contract.name, key, version), content)
    store.put(contract.receipt(key), content)
    return SourceIngest(
        source=contract.name,
        landed=key,
        rows=delivery.rows.height,
        sha256=delivery.sha256,
        late={partition: rows.height for partition, rows in delivery.late.items()},
        table=contract.table,
        version=version,
    )
