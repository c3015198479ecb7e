"""Fakes of store, ledger, registry and endpoint, in memory, that pass the contract tests of the real adapters.

Every fake has ``down``: while it is True the fake raises ``Unavailable``, as if its service did not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import Refused, unknown_name
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
from pipelines.testing.fake_adapter import FakeAdapter
from pipelines.testing.fixed_clock import FixedClock
from pipelines.testing.memory_store import MemoryStore as MemoryStore

if TYPE_CHECKING:
    pass

SEMANTIC_VERSION = "airworthy.semantic_version"


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
    """``Notifier`` by channel; ``SourceDatabase`` by connection:"""
    databases: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, Any] = field(default_factory=dict)
    """``DeploymentTarget`` by model; a model without one is served by ``endpoint``."""

    def target(self, model: str) -> Any:
        return self.targets.get(model, self.endpoint)

    def database(self, connection: str) -> Any:
        return self.databases[connection]

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
