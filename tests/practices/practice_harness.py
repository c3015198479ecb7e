"""The surroundings of one model: fakes of the ports, the answers of its steps, and the contexts of its runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.context import OutletEventAccessors

from pipelines.errors import Unavailable
from pipelines.messages.evaluation import EvaluateResult
from pipelines.messages.message import Message
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import RolloutTicket
from pipelines.messages.training import SnapshotResult
from pipelines.ports import VersionInfo
from pipelines.settings import Settings
from pipelines.spec.catalog import Catalog
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.deployment import Deployment
from pipelines.spec.model import ModelSpec
from pipelines.testing.ports import FakeEndpoint, FixedClock, MemoryLedger, MemoryRegistry, MemoryStore
from pipelines.testing.rollout_target import FakeTarget
from practices._connections import installation
from practices._operators import step_runner
from practices._operators.defaults import asset
from practices._operators.recorded_results import result_digest
from tests.declared import shipped_model, shipped_view

MODEL = "flight_delay"
FORM = ("version", "as_of", "day", "hypothesis", "seed", "recent_days")
NOW = datetime(2026, 11, 2, 7, 0, tzinfo=UTC)


class Registry(MemoryRegistry):
    """Versions of the one model; ``break_on`` names an alias whose next move fails, as if the task was killed."""

    break_on: str | None = None

    def __init__(self, ledger: MemoryLedger) -> None:
        super().__init__()
        self._ledger = ledger

    def add(self, version: str, **tags: str) -> None:
        """Register a version; the ledger has its training, with the same digests as the tags."""
        named = {f"airworthy.{name}": value for name, value in tags.items()}
        digests = {name: tags[name] for name in ("model_digest", "snapshot") if name in tags}
        trained = {"outcome": "pass", "model_digest": f"digest-{version}"} | digests
        if not self._ledger.entries(MODEL, version, "training"):
            self._ledger.append("training", MODEL, version, trained, actor="training")
        info = VersionInfo(model=MODEL, version=version, run_id="r", source="s", tags=named)
        self._versions.setdefault(MODEL, {})[version] = info

    @property
    def tags(self) -> dict[str, dict[str, str]]:
        return {info.version: info.tags for info in self.versions(MODEL)}

    @property
    def aliases(self) -> dict[str, str]:
        return {alias: version for (_, alias), version in self._aliases.items()}

    def name(self, **aliases: str) -> None:
        """Make these all the aliases there are."""
        self._aliases = {(MODEL, alias): version for alias, version in aliases.items()}

    def move_alias(self, model: str, alias: str, version: str | None) -> None:
        if self.break_on == alias:
            self.break_on = None
            raise Unavailable("the registry did not answer")
        super().move_alias(model, alias, version)


class Endpoint(FakeEndpoint):
    """The gateway, as far as the one model goes."""

    @property
    def live(self) -> LiveState:
        return self.state(MODEL)

    def serve(self, state: LiveState) -> None:
        self._states[MODEL] = state


class PracticeHarness:
    """The ports of a practice, the answers of its steps, and the contexts of its runs."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings.from_environment({"AIRWORTHY_HOME": str(folder)})
        self.clock = FixedClock()
        self.endpoint, self.store, self.ledger = Endpoint(), MemoryStore(self.clock), MemoryLedger()
        self.registry = Registry(self.ledger)
        self.rollouts: FakeTarget | None = None
        """Set it, and the model is served there instead of by ``endpoint``."""
        self.catalog = _catalog()
        self.asked: list[Message] = []
        self.answers: dict[str, Message | Callable[[Any], Message]] = {}

    @classmethod
    def open(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> PracticeHarness:
        """A harness whose ports every practice opens."""
        harness = cls(folder)
        monkeypatch.setattr(installation, "open_ports", lambda: harness)
        monkeypatch.setattr(step_runner, "run_step", harness.run_step)
        return harness

    def target(self, model: str) -> Any:
        return self.rollouts or self.endpoint

    def declare(self, **changes: Any) -> ModelSpec:
        """Change the model's declaration by whole blocks."""
        spec = self.catalog.models[MODEL].model_copy(update=changes)
        self.catalog.models[MODEL] = spec
        return spec

    def run_step(self, step: str, request: Message, result: type[Message], *, runner: Any = None) -> Message:
        self.asked.append(request)
        answer = self.answers[step]
        return answer if isinstance(answer, Message) else answer(request)

    def context(self, stage: str, task: str, *, run: str = "manual__1", events: Any = (), **fields: Any) -> Any:
        """The context of one try. ``events`` are ``(asset name, extra)``; further fields are the run's or params."""
        params = {name: fields.pop(name) for name in FORM if name in fields}
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

    def pass_checklist(self, ticket: RolloutTicket | dict[str, Any], *, run: str = "manual__1") -> None:
        """The preflight checklist of a deploy run has passed with this ticket."""
        ticket = RolloutTicket.model_validate(ticket)
        details = {"gate": "preflight_checklist", "ticket": ticket.model_dump(mode="json", exclude={"schema_"})}
        self._record_result("gate", ticket.version, details, f"deploy/{run}/check_release")

    def record_evaluation(self, result: EvaluateResult, *, run: str = "manual__1") -> dict[str, Any]:
        """An evaluation has measured these numbers; returns them as they travel."""
        details = {"gate": "candidate_evaluation", "snapshot": result.snapshot, "evaluation": result_digest(result)}
        self._record_result("gate", result.version, details, f"evaluate/{run}/measure_candidate")
        return result.model_dump(mode="json", by_alias=True)

    def record_snapshot(self, result: SnapshotResult, *, run: str = "manual__1") -> dict[str, Any]:
        """A training has judged this snapshot; returns it as it travels."""
        history = {} if result.history is None else {"history": result.history.model_dump(mode="json")}
        self._record_result("data_verdict", None, {"snapshot": result.digest, **history}, f"train/{run}/take_snapshot")
        return result.model_dump(mode="json", by_alias=True)

    def _record_result(self, kind: str, version: str | None, details: dict[str, Any], task: str) -> None:
        digest = hashlib.sha256(repr(details).encode()).hexdigest()[:16]
        key = f"{MODEL}__{task}/-1/0/{digest}"
        self.ledger.append(kind, MODEL, version, {"outcome": "pass", **details}, actor="test", key=key)

    def lines(self, kind: str) -> list[tuple[str | None, dict[str, Any]]]:
        """Version and details of each ledger line of one kind."""
        return [(line.version, line.details) for line in self.ledger.entries(kind=kind)]


def emitted(context: Any, state: str) -> dict[str, Any]:
    """What the event of ``<model>:<state>`` would carry; empty if the task set nothing."""
    extra: dict[str, Any] = context["outlet_events"][asset(MODEL, state)].extra
    return extra


def _catalog() -> Catalog:
    spec = shipped_model(MODEL)
    spec = spec.model_copy(update={"deployment": Deployment()})
    dataset = DatasetSpec.model_validate(
        {
            "schema": 2,
            "dataset": "flights",
            "description": "Departures",
            "owner": "flight-operations",
            "partition": {"every": "day", "start": "2013-01-01", "timezone": "America/New_York"},
            "sources": {
                "flights": {
                    "files": "{source}/{partition}/flights.csv",
                    "key": ["flight"],
                    "columns": {"flight": {"type": "integer"}},
                }
            },
        }
    )
    view = shipped_view()
    return Catalog({"flights": dataset}, {view.view: view}, {MODEL: spec}, {})
