"""The fake of the store, in memory, that passes the contract tests of the real one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from pipelines.errors import Conflict, Refused
from pipelines.messages.partition_record import PartitionRecord
from pipelines.ports import Clock, FileStamp
from pipelines.store_paths import Key
from pipelines.testing.fake_adapter import FakeAdapter
from pipelines.testing.fixed_clock import FixedClock
from pipelines.testing.table_version import TableVersion

if TYPE_CHECKING:
    import polars as pl


class MemoryStore(FakeAdapter):
    """A ``Store`` of frames and bytes; every version of a table is kept. ``clock``: when its files are written."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or FixedClock()
        self._written: dict[str, datetime] = {}
        self._tables: dict[str, list[TableVersion]] = {}
        self._input_versions: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self.files: dict[str, bytes] = {}

    def read(
        self,
        table: str,
        *,
        days: Sequence[date] | None = None,
        partitions: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pl.DataFrame:
        import polars as pl

        from pipelines.tables.partition import with_partition

        self._check_available()
        content = self._table_version(table, version)
        own = content.partition_column
        if unknown := [name for name in columns or [] if name not in (*content.schema, own)]:
            raise Refused(f"{table} has no column {', '.join(map(repr, unknown))}; it has {', '.join(content.schema)}")
        keys = partitions if days is None else [f"{day}" for day in days]
        selected = [on for on in sorted(content.parts) if keys is None or on in set(keys)]
        empty = with_partition(pl.DataFrame(schema=content.schema), next(iter([*content.parts, *content.changed])))
        frames = [with_partition(content.parts[on], on).select(empty.columns) for on in selected]
        names = list(content.schema) if columns is None else [name for name in columns if name != own]
        return pl.concat([empty, *frames]).select(*names, own)

    def replace_partition(
        self, table: str, partition: Key, frame: pl.DataFrame | None, *, input_version: int | None = None
    ) -> int:
        self._check_available()
        key = f"{partition}"
        stored = self.input_version(table, key)
        if input_version is not None:
            if stored is not None and stored > input_version:
                raise Conflict(f"{table} has {key} from version {stored} of its input, newer than {input_version}")
            number = len(self._tables.get(table, [])) + 1
            self._input_versions.setdefault((table, key), []).append((number, input_version))
        if frame is not None:
            return self._write_rows(table, key, frame, None)
        same = self._table_version(table, None)
        self._tables[table].append(TableVersion(same.schema, same.parts, set(), same.records))
        return len(self._tables[table])

    def commit_partition(
        self, table: str, partition: Key, frame: pl.DataFrame | None, *, record: str, since: int | None
    ) -> int:
        self._check_available()
        key, history = f"{partition}", self._tables.get(table, [])
        newest = self.partition_records(table).get(key)
        if newest is not None and newest.version > (since or 0):
            raise Conflict(f"{table} has {key} of version {newest.version}, later than {since}, which was read")
        if frame is not None:
            return self._write_rows(table, key, frame, record)
        version = self._table_version(table, None)
        records = version.records | {key: PartitionRecord(version=len(history) + 1, record=record)}
        history.append(TableVersion(version.schema, version.parts, set(), records))
        return len(history)

    def partition_records(self, table: str, *, version: int | None = None) -> dict[str, PartitionRecord]:
        self._check_available()
        return dict(self._table_version(table, version).records) if table in self._tables else {}

    def _write_rows(self, table: str, key: str, frame: pl.DataFrame, record: str | None) -> int:
        from pipelines.tables.partition import check_kind, conform, partition_column, widen, widened_types

        history = self._tables.get(table, [])
        newest = history[-1] if history else TableVersion({}, {}, {key})
        check_kind(table, key, newest.partition_column)
        if widened := widened_types(frame, newest.schema):
            parts = {on: widen(table, part, widened) for on, part in newest.parts.items()}
            newest = TableVersion(newest.schema | widened, parts, set())
        rows = conform(table, key, frame, newest.schema if history else None).drop(partition_column(key))
        schema = dict(rows.schema)
        own = partition_column(key)
        existing = newest.parts
        if [*schema.items()] != [*newest.schema.items()]:
            existing = {on: conform(table, on, part, schema).drop(own) for on, part in existing.items()}
        parts = {on: part for on, part in {**existing, key: rows}.items() if part.height}
        records = newest.records | {key: PartitionRecord(version=len(history) + 1, record=record)}
        self._tables[table] = [*history, TableVersion(schema, parts, {key}, records)]
        return len(history) + 1

    def input_version(self, table: str, partition: Key, *, version: int | None = None) -> int | None:
        self._check_available()
        written = self._input_versions.get((table, f"{partition}"), [])
        return next((read for number, read in reversed(written) if version is None or number <= version), None)

    def partitions(self, table: str) -> list[str]:
        self._check_available()
        return sorted(self._tables[table][-1].parts) if table in self._tables else []

    def days(self, table: str) -> list[date]:
        return [date.fromisoformat(key) for key in self.partitions(table)]

    def version(self, table: str) -> int | None:
        self._check_available()
        return len(self._tables[table]) if table in self._tables else None

    def changed_partitions(self, table: str, since: int | None) -> set[str]:
        self._check_available()
        history = self._tables.get(table, [])
        if since is None:
            return set(self.partitions(table))
        return {on for version in history[since:] for on in version.changed}

    def changed_days(self, table: str, since: int | None) -> set[date]:
        return {date.fromisoformat(key) for key in self.changed_partitions(table, since)}

    def restore(self, table: str, version: int) -> int:
        self._check_available()
        old, new = self._table_version(table, version), self._tables[table][-1]
        changed = {
            on
            for on in set(old.parts) | set(new.parts)
            if on not in old.parts or on not in new.parts or not old.parts[on].equals(new.parts[on])
        }
        number = len(self._tables[table]) + 1
        then = {on: old.records[on].record if on in old.records else None for on in changed}
        records = {on: PartitionRecord(version=number, record=record) for on, record in then.items()}
        self._tables[table].append(TableVersion(old.schema, old.parts, changed, new.records | records))
        return len(self._tables[table])

    def _table_version(self, table: str, version: int | None) -> TableVersion:
        history = self._tables.get(table)
        if not history:
            raise Refused(f"there is no table {table}; known: {', '.join(sorted(self._tables)) or 'none'}")
        if version is not None and not 1 <= version <= len(history):
            raise Refused(f"{table} has no version {version}; it has 1 to {len(history)}")
        return history[-1 if version is None else version - 1]

    def put(self, path: str, content: bytes) -> str:
        self._check_available()
        self.files[path], self._written[path] = content, self._clock()
        return self.uri(path)

    def get(self, path: str) -> bytes:
        self._check_available()
        path = path.removeprefix("memory://")
        if path not in self.files:
            raise Refused(f"there is no file {path} in the store")
        return self.files[path]

    def delete(self, path: str) -> None:
        self._check_available()
        self.files.pop(path.removeprefix("memory://"), None)

    def exists(self, path: str) -> bool:
        self._check_available()
        return path.removeprefix("memory://") in self.files

    def list(self, prefix: str) -> list[str]:
        self._check_available()
        return sorted(path for path in self.files if path.startswith(prefix))

    def stamps(self, prefix: str) -> dict[str, FileStamp]:
        return {
            path: FileStamp(hashlib.sha256(self.files[path]).hexdigest(), self._written[path])
            for path in self.list(prefix)
        }

    def uri(self, path: str) -> str:
        return f"memory://{path}"
