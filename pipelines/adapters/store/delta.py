"""The ``Store`` port over Delta Lake: a partition is replaced whole, and earlier versions stay readable.

Tables are Delta Lake, partitioned by ``day`` or by ``partition``, in a folder or in object storage. Each commit names
the partitions that it replaced, so that a reader can list the changes since a version.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TypeVar

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from pipelines import store_paths
from pipelines.adapters.store.delta_log import (
    INPUT_TRANSACTION,
    commit_properties,
    is_about,
    named_partitions,
    records_of,
)
from pipelines.adapters.store.files import StorageAccess, access_refusal, open_files, relative_path, storage_errors
from pipelines.errors import Conflict, Refused, Unavailable
from pipelines.messages.partition_record import PartitionRecord
from pipelines.ports import FileStamp
from pipelines.spec.partitions import kind_of_key
from pipelines.store_paths import Key
from pipelines.tables.partition import (
    Types,
    check_kind,
    conform,
    partition_column,
    partition_value,
    widen,
    widened_types,
)

Answer = TypeVar("Answer")

MAX_COMMIT_ATTEMPTS = 12
FIRST_WAIT_SECONDS = 0.02
LONGEST_WAIT_SECONDS = 2.0
LOG_RETENTION = {"delta.logRetentionDuration": "interval 3650 days"}
"""Snapshots name the table versions that they read, so the log is kept longer than Delta's default of 30 days."""


class DeltaStore:
    """The ``Store`` below ``root``: a folder path or a URL such as ``s3://bucket/prefix``.

    ``options`` are Delta Lake's storage options (``AWS_ENDPOINT_URL``, ...) or a function that returns the current
    ones; missing options come from the environment.
    """

    def __init__(self, root: str, options: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None) -> None:
        self._access = StorageAccess(options)
        self._files = open_files(root, self._access)
        self.root = self._files.root

    # ---- tables ------------------------------------------------------------------------------------------------

    def read(
        self,
        table: str,
        *,
        days: Sequence[date] | None = None,
        partitions: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pl.DataFrame:
        """Rows ascending by partition, within one in the order written. Only files of the selected ones are read."""
        with self._table_errors(table):
            handle = self._require_table(table, version)
            own = _partition_column(handle)
            rows = pl.scan_delta(handle, storage_options=self._access.options() or None)
            existing = rows.collect_schema().names()
            unknown = [name for name in columns or [] if name not in existing]
            if unknown:
                raise Refused(f"{table} has no column {', '.join(map(repr, unknown))}; it has {', '.join(existing)}")
            names = [name for name in (existing if columns is None else columns) if name != own]
            if columns is not None and not names:
                rows = rows.select(own)
            selected: Sequence[Key] | None = days if partitions is None else partitions
            if selected is not None:
                rows = rows.filter(pl.col(own).is_in([partition_value(key) for key in selected]))
            return rows.select(*names, own).collect().sort(own, maintain_order=True)

    def replace_partition(
        self, table: str, partition: Key, frame: pl.DataFrame | None, *, input_version: int | None = None
    ) -> int:
        """Columns that the table lacks are added to it; a column of another type is ``Refused`` (see ``conform``).

        A concurrent commit that changes the same partition, or adds columns, makes this write start again, and so
        compares ``input_version`` again.
        """
        key = f"{partition}"

        def attempt_write() -> int:
            handle = self._open_table(table)
            newest = _input_version(handle, key)
            if input_version is not None and newest is not None and newest > input_version:
                raise Conflict(f"{table} has {key} from version {newest} of its input, newer than {input_version}")
            inputs = None if input_version is None else (key, input_version)
            return self._commit(table, key, frame, handle, commit_properties(set() if frame is None else {key}, inputs))

        return self._retry_commit(table, attempt_write)

    def commit_partition(
        self, table: str, partition: Key, frame: pl.DataFrame | None, *, record: str, since: int | None
    ) -> int:
        key = f"{partition}"

        def attempt_write() -> int:
            handle = self._open_table(table)
            version = -1 if handle is None else int(handle.version())
            newer = version - (-1 if since is None else since)
            if handle is not None and newer > 0 and any(is_about(commit, key) for commit in handle.history(newer)):
                raise Conflict(f"{table} has {key} of a later version than {since}, which was read")
            properties = commit_properties(set() if frame is None else {key}, recorded=(key, record, version + 1))
            return self._commit(table, key, frame, handle, properties)

        return self._retry_commit(table, attempt_write)

    def _commit(
        self, table: str, key: str, frame: pl.DataFrame | None, handle: DeltaTable | None, properties: CommitProperties
    ) -> int:
        """Write the rows, or without them a commit that says something of a partition and changes none."""
        if frame is not None:
            return self._write_rows(table, key, frame, handle, properties)
        if handle is None:
            raise Refused(f"there is no table {table} in the store {self.root}")
        handle.create_write_transaction([], mode="append", schema=handle.schema(), commit_properties=properties)
        return int(self._require_table(table, None).version())

    def _write_rows(
        self, table: str, key: str, frame: pl.DataFrame, handle: DeltaTable | None, properties: CommitProperties
    ) -> int:
        if handle is None:
            handle = self._create(table, key, conform(table, key, frame, None))
        check_kind(table, key, _partition_column(handle))
        existing = _column_types(handle)
        if widened := widened_types(frame, existing):
            self._widen(table, handle, widened)
            existing = _column_types(handle)
        rows = conform(table, key, frame, existing)
        added = len(rows.columns) > len(existing)
        write_deltalake(
            handle,
            rows,
            mode="overwrite",
            predicate=f"{partition_column(key)} = '{key}'",
            schema_mode="merge" if added else None,
            commit_properties=properties,
        )
        return int(handle.version())

    def partition_records(self, table: str, *, version: int | None = None) -> dict[str, PartitionRecord]:
        """Of another program's commit, and of a truncated log, every partition counts as written without a record."""
        with self._table_errors(table):
            handle = self._open_table(table)
            if handle is None:
                return {}
            commits = handle.history()
            handle = self._require_table(table, version)
            unnamed, records = records_of(commits, int(handle.version()))
            return {key: PartitionRecord(version=unnamed) for key in _files_by_partition(handle)} | records

    def input_version(self, table: str, partition: Key, *, version: int | None = None) -> int | None:
        with self._table_errors(table):
            handle = self._open_table(table) if version is None else self._require_table(table, version)
            return _input_version(handle, f"{partition}")

    def partitions(self, table: str) -> list[str]:
        with self._table_errors(table):
            handle = self._open_table(table)
            return sorted(_files_by_partition(handle)) if handle else []

    def days(self, table: str) -> list[date]:
        return _dates(table, self.partitions(table))

    def version(self, table: str) -> int | None:
        with self._table_errors(table):
            handle = self._open_table(table)
            return int(handle.version()) if handle else None

    def changed_partitions(self, table: str, since: int | None) -> set[str]:
        """Also all if another program's commit does not name its partitions, or if the log was truncated."""
        with self._table_errors(table):
            handle = self._open_table(table)
            if handle is None:
                return set()
            everything = set(_files_by_partition(handle))
            newer = 0 if since is None else handle.version() - since
            commits = handle.history(newer) if newer > 0 else []
            if since is None or len(commits) < newer:
                return everything
            changed: set[str] = set()
            for commit in commits:
                if (named := named_partitions(commit)) is None:
                    return everything | changed
                changed |= named
            return changed

    def changed_days(self, table: str, since: int | None) -> set[date]:
        return set(_dates(table, self.changed_partitions(table, since)))

    def restore(self, table: str, version: int) -> int:
        def attempt_write() -> int:
            old, new = self._require_table(table, version), self._require_table(table, None)
            before, after = _files_by_partition(old), _files_by_partition(new)
            changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
            new.restore(version, commit_properties=commit_properties(changed, restored=version))
            return int(self._require_table(table, None).version())

        return self._retry_commit(table, attempt_write)

    def _retry_commit(self, table: str, attempt_write: Callable[[], Answer]) -> Answer:
        """Retry up to 12 times after concurrent commits; waits double, with jitter."""
        jitter = random.SystemRandom()
        for attempt in range(MAX_COMMIT_ATTEMPTS):
            with self._table_errors(table):
                try:
                    return attempt_write()
                except CommitFailedError:
                    time.sleep(jitter.random() * min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**attempt))
        raise Unavailable(
            f"{table} met {MAX_COMMIT_ATTEMPTS} concurrent commits in a row; try again when other writers are done"
        )

    def _widen(self, table: str, handle: DeltaTable, types: Types) -> None:
        """Make integer columns of a table to numbers, in one commit that changes no value and so names no partition.

        The predicate lets a partition that is written meanwhile be a conflict; a plain overwrite would leave it as
        integers.
        """
        rows = pl.scan_delta(handle, storage_options=self._access.options() or None).collect()
        write_deltalake(
            handle,
            widen(table, rows, types),
            mode="overwrite",
            predicate=f"{_partition_column(handle)} IS NOT NULL",
            schema_mode="overwrite",
            commit_properties=commit_properties(set()),
        )

    def _create(self, table: str, key: str, rows: pl.DataFrame) -> DeltaTable:
        """An empty table, or the table that another writer created meanwhile."""
        where = self._table_uri(table)
        if "://" not in where:
            os.makedirs(where, exist_ok=True)
        return DeltaTable.create(
            where,
            schema=rows.clear().to_arrow().schema,
            mode="ignore",
            partition_by=[partition_column(key)],
            configuration=LOG_RETENTION,
            storage_options=self._access.options(),
        )

    def _open_table(self, table: str, version: int | None = None) -> DeltaTable | None:
        try:
            return DeltaTable(self._table_uri(table), version=version, storage_options=self._access.options())
        except TableNotFoundError:
            return None

    def _require_table(self, table: str, version: int | None) -> DeltaTable:
        handle = self._open_table(table)
        if handle is None:
            raise Refused(f"there is no table {table} in the store {self.root}")
        if version is None or version == handle.version():
            return handle
        if not 0 <= version <= handle.version():
            raise Refused(f"{table} has no version {version}; it has 0 to {handle.version()}")
        handle.load_as_version(version)
        return handle

    def _table_uri(self, table: str) -> str:
        return self.uri(store_paths.table_root(table))

    @contextmanager
    def _table_errors(self, table: str) -> Iterator[None]:
        """Translate errors into ``Refused`` and ``Unavailable``; ``CommitFailedError`` passes through."""
        action = f"table {table} in the store {self.root}"
        try:
            with storage_errors(action, self._access):
                yield
        except CommitFailedError:
            raise
        except (DeltaError, pl.exceptions.PolarsError) as error:
            message = " ".join(str(error).split())
            text = self._access.mask_secrets(message)
            cause = error if text == message else None
            if refused := access_refusal(action, text):
                raise refused from cause
            if "Generic " in text or "object-store error" in text:
                raise Unavailable(f"{action} does not answer: {text[:400]}") from cause
            raise Refused(f"{action} cannot be read; restore an earlier version of it", [text[:400]]) from cause

    # ---- files -------------------------------------------------------------------------------------------------

    def put(self, path: str, content: bytes) -> str:
        with storage_errors(f"writing {path} to the store {self.root}", self._access):
            self._files.put(relative_path(path, self.root), content)
        return self.uri(path)

    def get(self, path: str) -> bytes:
        with storage_errors(f"reading {path} from the store {self.root}", self._access):
            return self._files.get(relative_path(path, self.root))

    def delete(self, path: str) -> None:
        with storage_errors(f"deleting {path} from the store {self.root}", self._access):
            self._files.delete(relative_path(path, self.root))

    def exists(self, path: str) -> bool:
        with storage_errors(f"looking for {path} in the store {self.root}", self._access):
            return self._files.exists(relative_path(path, self.root))

    def list(self, prefix: str) -> list[str]:
        with storage_errors(f"listing {prefix} in the store {self.root}", self._access):
            return self._files.list(prefix)

    def stamps(self, prefix: str) -> dict[str, FileStamp]:
        with storage_errors(f"listing {prefix} in the store {self.root}", self._access):
            return self._files.stamps(prefix)

    def uri(self, path: str) -> str:
        return f"{self.root}/{relative_path(path, self.root)}"


def _input_version(handle: DeltaTable | None, key: str) -> int | None:
    version = None if handle is None else handle.transaction_version(f"{INPUT_TRANSACTION}/{key}")
    return None if version is None else int(version)


def _column_types(handle: DeltaTable) -> dict[str, pl.DataType]:
    return dict(pl.scan_delta(handle).collect_schema())


def _partition_column(handle: DeltaTable) -> str:
    return str(handle.metadata().partition_columns[0])


def _files_by_partition(handle: DeltaTable) -> dict[str, set[str]]:
    """Key of each partition to its files."""
    actions = pl.DataFrame(handle.get_add_actions(flatten=True))
    files: dict[str, set[str]] = {}
    if actions.height:
        for path, key in actions.select("path", f"partition.{_partition_column(handle)}").iter_rows():
            files.setdefault(f"{key}", set()).add(path)
    return files


def _dates(table: str, keys: Iterable[str]) -> list[date]:
    """Ascending. Raises ``Refused`` for a table that is not by day."""
    if others := [key for key in keys if kind_of_key(key) != "day"]:
        raise Refused(f"{table} has no days but {len(others)} other partitions, for example {others[0]}")
    return sorted(map(date.fromisoformat, keys))
