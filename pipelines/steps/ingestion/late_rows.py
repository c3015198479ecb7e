"""Late rows go to their own partition: each row of a delivery is in exactly one of them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping

import polars as pl

from pipelines import store_paths
from pipelines.ports import Store
from pipelines.spec.event_time import EventTime
from pipelines.spec.partitions import PartitionCalendar
from pipelines.spec.source import SourceSpec
from pipelines.tables.event_instants import event_instants
from pipelines.tables.parquet_bytes import parquet_bytes

LATE = "late/"
"""Begins in a receipt the name of what came with a later delivery, ``late/2024-02-01``; no file's name has a slash."""


def rows_by_partition(
    rows: pl.DataFrame, source: SourceSpec, calendar: PartitionCalendar, key: str
) -> dict[str, pl.DataFrame]:
    """Checked rows by the partition of their events; those without a time are of the delivered one, ``key``."""
    if source.row_time is None or source.late is None:
        return {key: rows}
    names = [source.stored_name(name) for name in source.row_time.columns]
    instants = event_instants(rows, EventTime(names[0], tuple(names[1:])), calendar.timezone)
    partitions = {instant: calendar.partition_of(instant) for instant in instants.unique() if instant is not None}
    keys = [partition.key if (partition := partitions.get(instant)) else key for instant in instants]
    by_key = rows.with_columns(pl.Series("__partition", keys, dtype=pl.String)).partition_by(
        "__partition", as_dict=True, include_key=False, maintain_order=True
    )
    return {key: rows.clear(), **{str(name): part for (name,), part in by_key.items()}}


def read_late(store: Store, dataset: str, source: str, key: str) -> dict[str, bytes]:
    """``late/<delivery>`` to the file of rows that came with it; without those of the partition's own delivery."""
    paths = store.list(store_paths.late(dataset, source, key))
    deliveries = {path.rpartition("/")[2].removesuffix(".parquet"): path for path in paths}
    return {f"{LATE}{delivery}": store.get(path) for delivery, path in deliveries.items() if delivery != key}


def read_own(store: Store, dataset: str, source: str, key: str) -> pl.DataFrame:
    """The rows of the partition's own delivery, stored when the first late ones came to them."""
    return pl.read_parquet(io.BytesIO(store.get(store_paths.late(dataset, source, key, key))))


def write_own(store: Store, dataset: str, source: str, key: str, rows: pl.DataFrame) -> None:
    store.put(store_paths.late(dataset, source, key, key), parquet_bytes(rows))


def write_late(store: Store, dataset: str, source: str, key: str, parts: Mapping[str, pl.DataFrame]) -> None:
    """Make ``parts`` all the late rows that the delivery of ``key`` brought; what an earlier one brought is removed.

    Written before the delivery's own partition: a kill in between leaves that one to be ingested again, which writes
    the same.
    """
    for partition, rows in parts.items():
        store.put(store_paths.late(dataset, source, partition, key), parquet_bytes(rows))
    for path in store.list(store_paths.late(dataset, source)):
        partition, _, name = path.removeprefix(store_paths.late(dataset, source)).partition("/")
        if name == f"{key}.parquet" and partition != key and partition not in parts:
            store.delete(path)


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
