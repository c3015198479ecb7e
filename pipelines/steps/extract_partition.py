"""Lands what each database table of a dataset holds of a partition, as a file with its manifest; once, for good.

A table changes and a delivery does not: from here on ingestion, audit and lineage know the file alone.
"""

from __future__ import annotations

from datetime import datetime

from pipelines import store_paths
from pipelines.errors import Refused, Unavailable
from pipelines.messages.delivery import Extraction
from pipelines.messages.ingestion import ExtractRequest, ExtractResult
from pipelines.ports import Ports, Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.partitions import Partition
from pipelines.spec.sql_table import EXTRACT_FILE, SqlTable, Window
from pipelines.steps.ingestion.extracted_rows import extracted_table, parquet_file, rows_in_window
from pipelines.steps.ingestion.written_delivery import write_delivery
from pipelines.store_paths import MANIFEST


def run(request: ExtractRequest, ports: Ports) -> ExtractResult:
    """Read each table of the partition that was not read yet and land it, or exactly those that are named, anew.

    Raises ``Unavailable`` before the partition is due, because its rows are not complete then, and ``Refused`` with
    every fault of every table; then nothing is landed.
    """
    spec = ports.catalog.dataset(request.dataset)
    partition = spec.partition_calendar.require(request.partition, spec.dataset)
    names = _not_extracted(spec, partition.key, ports.store) if request.sources is None else request.sources
    complete, now = spec.complete_at(partition), ports.clock()
    if names and complete is not None and now < complete:
        raise Unavailable(f"{spec.dataset} {partition} is complete in its database at {complete:%Y-%m-%dT%H:%M:%SZ}")
    extracts: dict[str, tuple[bytes, int, Extraction]] = {}
    faults = []
    for name in names:
        try:
            extracts[name] = _extract(spec, name, partition, ports, now)
        except Refused as error:
            faults += [f"{name}: {text}" for text in error.reasons or [error.subject]]
    if faults:
        raise Refused(f"{spec.dataset} {partition} cannot be read from its database; nothing was landed", faults)
    for name, (content, count, extraction) in extracts.items():
        write_delivery(spec, name, partition.key, {EXTRACT_FILE: (content, count)}, ports.store, extraction)
    rows = {name: count for name, (_, count, _) in extracts.items()}
    return ExtractResult(dataset=spec.dataset, partition=partition.key, rows=rows)


def _not_extracted(spec: DatasetSpec, key: str, store: Store) -> list[str]:
    """Once a partition was ingested, its copies of references stay those with which it was."""
    names = [
        name
        for name in spec.extracted()
        if not store.exists(store_paths.landing(spec.dataset, name, key, MANIFEST))
        and not store.exists(store_paths.raw_receipt(spec.dataset, name, key))
    ]
    was_ingested = store.exists(store_paths.receipt(spec.dataset, key))
    return [name for name in names if not (was_ingested and spec.sources[name].cadence == "reference")]


def _extract(
    spec: DatasetSpec, name: str, partition: Partition, ports: Ports, now: datetime
) -> tuple[bytes, int, Extraction]:
    source, column = spec.sources[name], spec.window_of(name)
    if source.sql is None:
        raise Refused("it delivers files, and is not read from a database")
    database = ports.database(source.sql.connection)
    missing = [column for column in source.columns if column not in (present := database.columns(source.sql))]
    if missing:
        where = f"{_relation(source.sql)} has {', '.join(present)}"
        raise Refused(where, [f"column {column!r} is missing; {where}" for column in missing])
    window = None if column is None else Window(column, partition, spec.partition.timezone)
    rows = extracted_table(database.read(source.sql, source.columns, window), list(source.columns), source.sql.max_rows)
    if window is not None:
        rows = rows_in_window(rows, source, window)
    content = parquet_file(rows, source.key_columns)
    extraction = Extraction(
        connection=source.sql.connection,
        statement=database.statement(source.sql, source.columns, window),
        at=now,
        begin=partition.begin if window else None,
        end=partition.end if window else None,
    )
    return content, rows.height, extraction


def _relation(table: SqlTable) -> str:
    return table.table or "the query"
