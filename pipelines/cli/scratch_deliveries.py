"""Brings deliveries into the store of a trial: named files, or copies of what an installation has landed and holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines import store_paths
from pipelines.cli.named_file import read_named_file
from pipelines.errors import Refused
from pipelines.messages.delivery import DeliveryManifest, RawReceipt
from pipelines.ports import Store
from pipelines.rules.complete_delivery import complete_partitions
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.partitions import ONCE

PARTITION_OF_ROW = "__partition"
Deliveries = dict[str, list[str]]
"""Source to the partitions that it has delivered, ascending."""


def deliver_files(dataset: DatasetSpec, names: list[str], scratch: Store) -> Deliveries:
    """Each file's rows in the partitions of their times; a copy of a reference, and a table without dates, whole.

    ``names``: paths, or ``SOURCE=PATH``. Raises ``Refused`` with every fault of every file, and for a source without
    a file.
    """
    from pipelines.steps.ingestion.delivered_file import read_file
    from pipelines.steps.ingestion.file_split import split_file
    from pipelines.steps.ingestion.written_delivery import write_delivery

    parts: dict[str, dict[str, dict[str, tuple[bytes, int]]]] = {}
    whole: list[tuple[str, str, bytes, int]] = []
    dated: dict[str, dict[str, bytes]] = {}
    faults = []
    for number, text in enumerate(names, 1):
        name, path = _named(dataset, text)
        file, content = path.name, read_named_file(path)
        declared = dataset.sources[name]
        landed_as = file if declared.files.has(file) else declared.files.name.replace("*", f"try-{number}")
        if declared.cadence == "reference" or dataset.partition.every == "once" or declared.row_time is None:
            rows = read_file(file, content, declared.files, list(declared.columns))
            faults += [f"{file}: {failure}" for failure in rows.failures]
            whole.append((name, landed_as, content, rows.rows.height if rows.rows is not None else 0))
            continue
        split, broken = split_file(file, content, declared, dataset.partition_calendar)
        faults += [f"{file}: {fault}" for fault in broken]
        if landed_as in dated.setdefault(name, {}):
            faults.append(f"{file}: {name} has one file {landed_as} for each partition; name one file of it")
        dated[name][landed_as] = content
        for key, part in split.items():
            parts.setdefault(name, {}).setdefault(key, {})[landed_as] = (part.content, part.rows)
    if faults:
        raise Refused("the files cannot be taken apart by their days; nothing was tried", faults)
    keys = sorted(key for split_parts in parts.values() for key in split_parts)
    for name, landed_as, content, rows_of_file in whole:
        parts.setdefault(name, {}).setdefault(keys[0] if keys else ONCE, {})[landed_as] = (content, rows_of_file)
    if missing := [name for name in dataset.sources if name not in parts]:
        raise Refused(f"no file of {', '.join(missing)}: name one of each source, or none to take what has landed")
    for name, deliveries in parts.items():
        manifests = {key: write_delivery(dataset, name, key, files, scratch) for key, files in deliveries.items()}
        if name in dated:
            _hold_rows(dataset, name, dated[name], manifests, scratch)
    return {name: sorted(deliveries) for name, deliveries in parts.items()}


def _hold_rows(
    dataset: DatasetSpec,
    name: str,
    files: Mapping[str, bytes],
    manifests: Mapping[str, DeliveryManifest],
    scratch: Store,
) -> None:
    """Hold the rows of whole files: they are read once, and not again for each partition.

    What is not without a fault as a whole is left to be read, and refused, partition by partition.
    """
    import polars as pl

    from pipelines.steps.ingestion.contract import read_delivery
    from pipelines.tables.event_instants import event_instants

    source, calendar = dataset.sources[name], dataset.partition_calendar
    rows, faults = read_delivery(files, source, None, timezone=calendar.timezone)
    time = source.stored_time
    if faults or time is None:
        return
    instants = event_instants(rows, time, calendar.timezone)
    partitions = {instant: calendar.partition_of(instant) for instant in instants.unique() if instant is not None}
    keys = [partition.key if (partition := partitions.get(instant)) else None for instant in instants]
    by_key = rows.with_columns(pl.Series(PARTITION_OF_ROW, keys, dtype=pl.String)).partition_by(
        PARTITION_OF_ROW, as_dict=True, include_key=False, maintain_order=True
    )
    for (key,), part in by_key.items():
        manifest = manifests.get(str(key))
        if manifest is None or part.height < source.minimum_rows or part.height != manifest.rows:
            continue
        version = scratch.replace_partition(store_paths.raw(dataset.dataset, name), str(key), part)
        receipt = RawReceipt(
            rows=part.height,
            sha256={file.name: file.sha256 for file in manifest.files},
            version=version,
            contract=source.contract_digest(calendar),
        )
        content = receipt.model_dump_json(by_alias=True).encode()
        scratch.put(store_paths.raw_receipt(dataset.dataset, name, str(key)), content)


def copy_deliveries(
    dataset: DatasetSpec, store: Store, scratch: Store, now: datetime, *, most_bytes: int | None = None
) -> Deliveries:
    """Every complete delivery as it landed, with its manifest or marker; of a removed one the rows that are held.

    ``most_bytes``: of the newest partitions only so many, and of a reference the copies that they use. Raises
    ``Refused`` if a source has no delivery, saying what each lacks.
    """
    landed = {name: _Landed.of(dataset, name, store, now) for name in dataset.sources}
    if missing := [_how_to_land(dataset, name) for name, source in landed.items() if not source.keys]:
        raise Refused(f"nothing of {dataset.dataset} can be tried; name a file of each source, or land it", missing)
    dated = [name for name in dataset.sources if name not in dataset.reference()]
    copied: dict[str, list[str]] = {name: [] for name in dataset.sources}
    size, oldest = 0, ""
    for key in sorted({key for name in dated for key in landed[name].keys}, reverse=True):
        if most_bytes is not None and size > most_bytes:
            break
        oldest = key
        for name in dated:
            if key in landed[name].keys:
                size += landed[name].copy(key, store, scratch)
                copied[name].append(key)
    for name in dataset.reference():
        earlier = [key for key in landed[name].keys if key <= oldest]
        for key in landed[name].keys:
            if not earlier or key >= max(earlier):
                landed[name].copy(key, store, scratch)
                copied[name].append(key)
    return {name: sorted(keys) for name, keys in copied.items()}


@dataclass(frozen=True)
class _Landed:
    """What a source has delivered. ``files``: partition to the paths of its folder; none of one that is only held."""

    dataset: str
    name: str
    files: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, dataset: DatasetSpec, name: str, store: Store, now: datetime) -> _Landed:
        stamps = store.stamps(store_paths.landing_of(dataset.dataset, name))
        complete = complete_partitions(dataset.sources[name].files, stamps, now)
        held = map(store_paths.partition_of_file, store.list(store_paths.raw_receipts_of(dataset.dataset, name)))
        files: dict[str, list[str]] = {key: [] for key in {*complete, *held} if dataset.partition_calendar.is_key(key)}
        for path in stamps:
            key = store_paths.delivered_partition(path)
            if key in complete and key in files:
                files[key].append(path)
        return cls(dataset.dataset, name, files)

    @property
    def keys(self) -> Collection[str]:
        return self.files.keys()

    def copy(self, key: str, store: Store, scratch: Store) -> int:
        """Copy one partition; returns its bytes."""
        contents = {path: store.get(path) for path in self.files[key]}
        for path, content in contents.items():
            scratch.put(path, content)
        return sum(map(len, contents.values())) if contents else self._copy_held(key, store, scratch)

    def _copy_held(self, key: str, store: Store, scratch: Store) -> int:
        """The raw rows of a partition whose landed files were removed since; those that came late are among them."""
        from pipelines.steps.ingestion.late_rows import LATE

        table, path = store_paths.raw(self.dataset, self.name), store_paths.raw_receipt(self.dataset, self.name, key)
        receipt = RawReceipt.model_validate_json(store.get(path))
        rows = store.read(table, partitions=[key], version=receipt.version)
        rows = rows.drop(rows.columns[-1])
        own = {name: digest for name, digest in receipt.sha256.items() if not name.startswith(LATE)}
        copied = receipt.model_copy(update={"version": scratch.replace_partition(table, key, rows), "sha256": own})
        scratch.put(path, copied.model_dump_json(by_alias=True).encode())
        return int(rows.estimated_size())


def _how_to_land(dataset: DatasetSpec, name: str) -> str:
    """`deliver` needs a file, but of a table in a database."""
    command = f"airworthy deliver {dataset.dataset} {name} PARTITION"
    if dataset.sources[name].sql is not None:
        return f"{name}: no complete delivery; `{command}` reads one from its table"
    return f"{name}: no complete delivery; `{command} FILE` lands one"


def _named(dataset: DatasetSpec, text: str) -> tuple[str, Path]:
    """The source that is written before the path, or that has the file's name, or whose files may have it."""
    from pipelines.steps.drafting.table_guess import identifier

    source, sign, path = text.partition("=")
    if sign and source in dataset.sources:
        return source, Path(path)
    stem = identifier(Path(text).name.partition(".")[0])
    if stem in dataset.sources:
        return stem, Path(text)
    possible = [name for name, declared in dataset.sources.items() if declared.files.has(Path(text).name)]
    if len(possible) != 1:
        sources = ", ".join(dataset.sources)
        raise Refused(f"{text} may be of any of {sources}; say of which, as in {next(iter(dataset.sources))}={text}")
    return possible[0], Path(text)
