"""Fakes of store, ledger, registry and endpoint, in memory, that pass the contract tests of the real adapters.

Every fake has ``down``: while it is True the fake raises ``Unavailable``, as if its service did not answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import Conflict, Refused, unknown_name
from pipelines.ledger.examination import examine, seal_details
from pipelines.ledger.hash_chain import head, next_line
from pipelines.ledger.rows import to_row
from pipelines.ledger.seals import SEAL_KIND, SEAL_SUBJECT
from pipelines.messages.incident import Incident
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import RolloutState
from pipelines.ports import Clock, LedgerEntry, VersionInfo
from pipelines.settings import REPOSITORY, Settings
from pipelines.spec.catalog import Catalog
from pipelines.spec.strategy import FULL_SHARE
from pipelines.store_paths import Key
from pipelines.testing.fake_adapter import FakeAdapter
from pipelines.testing.fixed_clock import FixedClock
from pipelines.testing.table_version import TableVersion

if TYPE_CHECKING:
    import polars as pl

SEMANTIC_VERSION = "airworthy.semantic_version"


class MemoryStore(FakeAdapter):
    """A ``Store`` of frames and bytes; every version of a table is kept."""

    def __init__(self) -> None:
        self._tables: dict[str, list[TableVersion]] = {}
        self._input_versions: dict[tuple[str, str], int] = {}
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
        self, table: str, partition: Key, frame: pl.DataFrame, *, input_version: int | None = None
    ) -> int:
        from pipelines.tables.partition import check_kind, conform, partition_column, widen, widened_types

        self._check_available()
        key = f"{partition}"
        stored = self.input_version(table, key)
        if input_version is not None:
            if stored is not None and stored > input_version:
                raise Conflict(f"{table} has {key} from version {stored} of its input, newer than {input_version}")
            self._input_versions[table, key] = input_version
        history = self._tables.get(table, [])
        newest = history[-1] if history else TableVersion({}, {}, {key})
        check_kind(table, key, newest.partition_column)
        if widened := widened_types(frame, newest.schema):
            parts = {on: widen(table, part, widened) for on, part in newest.parts.items()}
            newest = TableVersion(newest.schema | widened, parts, set())
        rows = conform(table, key, frame, newest.schema if history else None).drop(partition_column(key))
        schema = dict(rows.schema)
        own = partition_column(key)
        existing = {on: conform(table, on, part, schema).drop(own) for on, part in newest.parts.items()}
        parts = {on: part for on, part in {**existing, key: rows}.items() if part.height}
        self._tables[table] = [*history, TableVersion(schema, parts, {key})]
        return len(history) + 1

    def input_version(self, table: str, partition: Key) -> int | None:
        self._check_available()
        return self._input_versions.get((table, f"{partition}"))

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
        self._tables[table].append(TableVersion(old.schema, old.parts, changed))
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
        self.files[path] = content
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

    def etags(self, prefix: str) -> dict[str, str]:
        return {path: hashlib.sha256(self.files[path]).hexdigest() for path in self.list(prefix)}

    def uri(self, path: str) -> str:
        return f"memory://{path}"


class MemoryLedger(FakeAdapter):
    """A ``Ledger`` in a list. A test may alter or remove ``lines``, which ``faults`` then reports by the ``heads``."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or FixedClock()
        self.lines: list[LedgerEntry] = []
        self.heads: list[str] = []

    def append(
        self,
        kind: str,
        model: str,
        version: str | None,
        details: Mapping[str, Any],
        *,
        actor: str,
        key: str | None = None,
    ) -> LedgerEntry:
        self._check_available()
        for line in self.lines:
            if key is not None and line.key == key:
                return line
        last = self.lines[-1] if self.lines else None
        at = self._clock()
        line = next_line(last, at=at, kind=kind, model=model, version=version, actor=actor, details=details, key=key)
        self.lines.append(line)
        self.heads.append(head(self.lines))
        return line

    def entries(
        self, model: str | None = None, version: str | None = None, kind: str | None = None, *, after: int = 0
    ) -> list[LedgerEntry]:
        self._check_available()
        fields = {"model": model, "version": version, "kind": kind}
        filters = {name: value for name, value in fields.items() if value is not None}
        newer = [line for line in self.lines if line.number > after]
        return [line for line in newer if all(getattr(line, name) == value for name, value in filters.items())]

    def faults(self) -> list[str]:
        self._check_available()
        return [fault.text for fault in examine([to_row(line) for line in self.lines], self.heads).faults]

    def repair(self, because: str, *, person: str) -> list[LedgerEntry]:
        self._check_available()
        seals = seal_details([to_row(line) for line in self.lines], self.heads, because)
        return [self.append(SEAL_KIND, SEAL_SUBJECT, None, details, actor=person) for details in seals]


class MemoryRegistry(FakeAdapter):
    """A ``Registry`` of versions that a test adds with ``register``."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[str, VersionInfo]] = {}
        self._aliases: dict[tuple[str, str], str] = {}

    def register(
        self,
        model: str,
        *,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        run_id: str | None = None,
    ) -> VersionInfo:
        """Add the next version of a model, as training does."""
        known = self._versions.setdefault(model, {})
        version = str(len(known) + 1)
        known[version] = VersionInfo(
            model=model,
            version=version,
            run_id=run_id or f"run-{model}-{version}",
            source=f"memory://models/{model}/{version}",
            tags=dict(tags or {}),
            metrics=dict(metrics or {}),
        )
        return self.get(model, version)

    def get(self, model: str, version: str) -> VersionInfo:
        self._check_available()
        if model not in self._versions:
            raise unknown_name(f"there is no model {model} in the registry", sorted(self._versions))
        info = self._versions[model].get(version)
        if info is None:
            raise unknown_name(f"{model} has no version {version} in the registry", self._versions[model])
        aliases = sorted(alias for (name, alias), target in self._aliases.items() if (name, target) == (model, version))
        return info.model_copy(update={"aliases": tuple(aliases), "semantic": info.tags.get(SEMANTIC_VERSION)})

    def by_alias(self, model: str, alias: str) -> VersionInfo | None:
        self._check_available()
        version = self._aliases.get((model, alias))
        return None if version is None else self.get(model, version)

    def versions(self, model: str) -> list[VersionInfo]:
        self._check_available()
        return [self.get(model, version) for version in sorted(self._versions.get(model, {}), key=int, reverse=True)]

    def set_tags(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        info = self.get(model, version)
        self._versions[model][version] = info.model_copy(update={"tags": {**info.tags, **tags}})

    def move_alias(self, model: str, alias: str, version: str | None) -> None:
        self._check_available()
        if version is None:
            self._aliases.pop((model, alias), None)
            return
        self.get(model, version)
        self._aliases[model, alias] = version


class FakeEndpoint(FakeAdapter):
    """An ``Endpoint`` that records its calls; every row gets the same ``answer``."""

    def __init__(self, answer: float = 0.5) -> None:
        self.answer = answer
        self.calls: list[tuple[str, dict[str, Any]]] = []
        """All calls, oldest first: ``("release", {"model": "churn", "version": "3", ...})``."""
        self._states: dict[str, LiveState] = {}
        self._answers: dict[str, LiveState] = {}

    def state(self, model: str) -> LiveState:
        self._check_available()
        return self._states.get(model, LiveState(model=model))

    def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> LiveState:
        now = self.state(model)
        self.calls.append(("release", {"model": model, "version": version, "bundle": bundle, "key": key}))
        previous = now.version if now.version != version else now.previous
        return self._set_state(key, now, version=version, previous=previous, bundle_sha256=sha256)

    def rollout(self, model: str) -> RolloutState:
        """What is live, without any rollout. Raises ``Refused`` if nothing is."""
        live = self.state(model)
        if live.version is None:
            raise Refused(f"{model} has no champion yet; release a version first")
        split = {live.version: FULL_SHARE}
        return RolloutState(
            model=model, generation=live.generation, champion=live.version, previous=live.previous, split=split
        )

    def restore_previous(self, model: str, *, key: str, reason: str) -> LiveState:
        now = self.state(model)
        self.calls.append(("rollback", {"model": model, "reason": reason, "key": key}))
        if key not in self._answers and now.previous is None:
            raise Refused(f"{model} has no previous version to go back to")
        return self._set_state(key, now, version=now.previous, previous=None, bundle_sha256=None)

    def load_unreleased(self, model: str, version: str, bundle: str, sha256: str, *, seconds: float) -> str:  # noqa: ARG002
        if (live := self.state(model).version) is not None:
            raise Refused(f"version {live} of {model} is live; begin a rollout to test another one")
        self.calls.append(("load_unreleased", {"model": model, "version": version, "seconds": seconds}))
        return "probe"

    def unload_unreleased(self, model: str) -> None:
        self._check_available()
        self.calls.append(("unload_unreleased", {"model": model}))

    def _set_state(self, key: str, now: LiveState, **changes: Any) -> LiveState:
        if key not in self._answers:
            self._states[now.model] = now.model_copy(update={**changes, "generation": now.generation + 1, "workers": 1})
            self._answers[key] = self._states[now.model]
        return self._answers[key]

    def flush_log(self, model: str) -> None:
        self._check_available()
        self.calls.append(("flush_log", {"model": model}))

    def predict(
        self,
        model: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        ids: Sequence[str] | None = None,
        prediction_time: datetime | None = None,
    ) -> list[float]:
        if self.state(model).version is None:
            raise Refused(f"no version of {model} is live")
        request = {"model": model, "columns": list(columns), "rows": [list(row) for row in rows]}
        self.calls.append(("predict", {**request, "ids": ids, "prediction_time": prediction_time}))
        return [self.answer] * len(rows)


class NoIncidents(FakeAdapter):
    """``Incidents`` of an installation in which nothing is wrong; read only."""

    def read(self, *, active_only: bool = False) -> list[Incident]:  # noqa: ARG002
        self._check_available()
        return []

    def waiting(self) -> dict[str, int]:
        self._check_available()
        return {}


@dataclass
class FakePorts:
    """``Ports`` made of fakes; replace any of them in a test."""

    settings: Settings
    catalog: Catalog
    clock: Clock = field(default_factory=FixedClock)
    store: Any = field(default_factory=MemoryStore)
    registry: Any = field(default_factory=MemoryRegistry)
    ledger: Any = field(default_factory=MemoryLedger)
    endpoint: Any = field(default_factory=FakeEndpoint)
    incidents: Any = field(default_factory=NoIncidents)
    """A test of incidents sets it to the real one, on a file of its own."""
    notifiers: dict[str, Any] = field(default_factory=dict)
    """``Notifier`` by channel."""
    targets: dict[str, Any] = field(default_factory=dict)
    """``DeploymentTarget`` by model; a model without one is served by ``endpoint``."""

    def target(self, model: str) -> Any:
        return self.targets.get(model, self.endpoint)

    def notifier(self, channel: str) -> Any:
        return self.notifiers[channel]

    @classmethod
    def make(cls, tmp_path: Path, **overrides: Any) -> FakePorts:
        """An installation whose home is ``tmp_path`` and whose declarations are the repository's own."""
        settings = overrides.pop("settings", None) or Settings.from_environment(
            {"AIRWORTHY_HOME": str(tmp_path), "AIRWORTHY_INCLUDE": str(REPOSITORY / "include")}
        )
        catalog = overrides.pop("catalog", None) or Catalog.read(settings.include)
        return cls(settings=settings, catalog=catalog, **overrides)
