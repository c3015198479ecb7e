"""The surroundings of one model, written by hand: a registry, an endpoint, a store, a real ledger, a run's context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.context import OutletEventAccessors

from pipelines.adapters.sql_ledger import SqlLedger
from pipelines.errors import Refused, Unavailable
from pipelines.messages import LiveState, Message
from pipelines.ports import VersionInfo
from pipelines.settings import Settings
from pipelines.spec import Catalog, DatasetSpec, ModelSpec
from pipelines.spec.catalog import read_declaration
from pipelines.spec.features import FeatureView
from practices import _hooks, _runner
from practices.defaults import asset

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = "flight_delay"
NOW = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)


class Registry:
    """Model versions in memory; ``break_on`` names the alias whose move fails once, as a killed task would leave it."""

    def __init__(self) -> None:
        self.tags: dict[str, dict[str, str]] = {}
        self.aliases: dict[str, str] = {}
        self.break_on: str | None = None

    def add(self, version: str, **tags: str) -> None:
        self.tags[version] = {f"airworthy.{name}": value for name, value in tags.items()}

    def get(self, model: str, version: str) -> VersionInfo:
        if version not in self.tags:
            raise Refused(f"{model} has no version {version}")
        tags = self.tags[version]
        semantic = tags.get("airworthy.semantic_version")
        return VersionInfo(model=model, version=version, run_id="r", source="s", semantic=semantic, tags=tags)

    def by_alias(self, model: str, alias: str) -> VersionInfo | None:
        return self.get(model, self.aliases[alias]) if alias in self.aliases else None

    def versions(self, model: str) -> list[VersionInfo]:
        return [self.get(model, version) for version in sorted(self.tags, key=int, reverse=True)]

    def set_tags(self, model: str, version: str, tags: Mapping[str, str]) -> None:
        self.tags[version] = {**self.tags[version], **tags}

    def move_alias(self, model: str, alias: str, version: str | None) -> None:
        if self.break_on == alias:
            self.break_on = None
            raise Unavailable("the registry did not answer")
        if version is None:
            self.aliases.pop(alias, None)
        else:
            self.aliases[alias] = version


class Endpoint:
    """Serves one version, like the gateway: a rollback leaves nothing to go back to; a known key changes nothing."""

    def __init__(self) -> None:
        self.live = LiveState(model=MODEL)
        self.keys: set[str] = set()
        self.changes: list[tuple[str, str | None]] = []
        self.flushes = True

    def state(self, model: str) -> LiveState:
        return self.live

    def release(self, model: str, version: str, bundle: str, sha256: str, *, key: str) -> LiveState:
        return self._change(key, "release", version=version, previous=self.live.version, bundle_sha256=sha256)

    def rollback(self, model: str, *, key: str, reason: str) -> LiveState:
        if key not in self.keys and self.live.previous is None:
            raise Refused(f"{model} has no previous version")
        return self._change(key, "rollback", version=self.live.previous, previous=None, bundle_sha256="old")

    def _change(self, key: str, what: str, **fields: Any) -> LiveState:
        if key not in self.keys:
            self.keys.add(key)
            self.live = self.live.model_copy(update={**fields, "generation": self.live.generation + 1, "workers": 1})
            self.changes.append((what, self.live.version))
        return self.live

    def flush_log(self, model: str) -> None:
        if not self.flushes:
            raise Unavailable("the gateway did not answer")


class Store:
    """Paths alone: all that a practice asks a store for."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def list(self, prefix: str) -> list[str]:
        return [path for path in self.paths if path.startswith(prefix)]


class Airfield:
    """The ports of a practice, the answers of its steps, and the contexts of its runs."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings.from_environment({"AIRWORTHY_HOME": str(folder)})
        self.ledger = SqlLedger(f"sqlite:///{folder / 'ledger.db'}", clock=lambda: NOW)
        self.registry, self.endpoint, self.store = Registry(), Endpoint(), Store()
        self.catalog = _catalog()
        self.asked: list[Message] = []
        self.answers: dict[str, Message | Callable[[Any], Message]] = {}

    @classmethod
    def open(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Airfield:
        """An airfield that every practice lands on."""
        field = cls(folder)
        monkeypatch.setattr(_hooks, "open_ports", lambda: field)
        monkeypatch.setattr(_runner, "run_step", field.run_step)
        return field

    def declare(self, **changes: Any) -> ModelSpec:
        """Change the model's declaration by whole blocks."""
        spec = self.catalog.models[MODEL].model_copy(update=changes)
        self.catalog.models[MODEL] = spec
        return spec

    def run_step(self, step: str, request: Message, result: type[Message], *, runner: str | None = None) -> Message:
        self.asked.append(request)
        answer = self.answers[step]
        return answer if isinstance(answer, Message) else answer(request)

    def context(self, stage: str, task: str, *, run: str = "manual__1", events: Any = (), **fields: Any) -> Any:
        """The context of one try. ``events`` are ``(asset name, extra)``; further fields are the run's or params."""
        params = {
            name: fields.pop(name) for name in ("version", "as_of", "day", "hypothesis", "seed") if name in fields
        }
        run_fields = {
            "dag_id": f"{MODEL}__{stage}",
            "run_id": run,
            "run_type": SimpleNamespace(value="manual"),
            "logical_date": None,
            "run_after": NOW,
            "partition_key": None,
            "triggering_user_name": None,
            **fields,
        }
        heard: dict[Any, list[Any]] = {}
        for number, (name, extra) in enumerate(events):
            subject, state = name.split(":")
            event = SimpleNamespace(extra=extra, timestamp=NOW.replace(minute=number))
            heard.setdefault(asset(subject, state), []).append(event)
        pushed: dict[str, Any] = {}
        instance = SimpleNamespace(
            task_id=task, map_index=-1, try_number=1, xcom_push=lambda key, value: pushed.__setitem__(key, value)
        )
        return {
            "dag_run": SimpleNamespace(**run_fields),
            "params": params,
            "triggering_asset_events": heard,
            "outlet_events": OutletEventAccessors(),
            "ti": instance,
            "task_instance": instance,
            "pushed": pushed,
        }

    def lines(self, kind: str) -> list[tuple[str | None, dict[str, Any]]]:
        """Version and details of each ledger line of one kind."""
        return [(line.version, line.details) for line in self.ledger.entries(kind=kind)]


def emitted(context: Any, state: str) -> dict[str, Any]:
    """What the event of ``<model>:<state>`` would carry; empty if the task set nothing."""
    extra: dict[str, Any] = context["outlet_events"][asset(MODEL, state)].extra
    return extra


def _catalog() -> Catalog:
    spec = read_declaration(REPOSITORY / "include" / "models" / f"{MODEL}.yaml", ModelSpec)
    dataset = DatasetSpec.model_validate(
        {
            "schema": 1,
            "dataset": "flights",
            "description": "Departures",
            "owner": "flight-operations",
            "calendar": {"start": "2013-01-01", "timezone": "America/New_York"},
            "sources": {
                "flights": {"file": "flights.csv", "key": ["flight"], "columns": {"flight": {"type": "integer"}}}
            },
        }
    )
    view = read_declaration(REPOSITORY / "include" / "features" / "flight_delay.yaml", FeatureView)
    return Catalog({"flights": dataset}, {view.view: view}, {MODEL: spec}, {})
