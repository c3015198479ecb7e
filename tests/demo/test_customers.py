"""The part about customers takes the past, has Airflow take the rest, asks on Mondays, and goes on where it stopped."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from pipelines.cli.progress import Progress
from pipelines.demo.backfilled_days import BackfilledDays
from pipelines.demo.customers import MODEL, CustomersDemo
from pipelines.demo.past_days import take_days
from pipelines.testing.ports import FakePorts, MemoryLedger

FIRST = date(1997, 1, 1)
MONDAYS = [date(1997, 1, 13), date(1997, 1, 20)]


class Airflow:
    """Backfills at once by the steps; monitoring leaves a verdict and asks for a training."""

    def __init__(self, ports: FakePorts) -> None:
        self.ports, self.calls = ports, list[str]()
        names = [f"shop__{stage}" for stage in ("ingest", "validate", "arrive")]
        names += [f"{MODEL}__{stage}" for stage in ("train", "evaluate", "deploy", "monitor")]
        self.paused = dict.fromkeys([*names, "flights__ingest"], True)
        self.ended: dict[str, list[dict[str, Any]]] = {}

    def dags(self) -> list[dict[str, Any]]:
        return [{"dag_id": name, "is_paused": paused} for name, paused in self.paused.items()]

    def unpause(self, dag_id: str) -> None:
        self.paused[dag_id] = False

    def backfills(self, dag_id: str) -> list[dict[str, Any]]:
        return []

    def backfill(self, dag_id: str, first: date, last: date, **_: Any) -> None:
        self.calls.append(f"backfill {first} {last}")
        take_days([first + timedelta(days=number) for number in range((last - first).days + 1)], self.ports, "shop")

    def runs(self, dag_id: str, **filters: Any) -> list[dict[str, Any]]:
        return [] if filters else self.ended.get(dag_id, [])

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        self.calls.append(f"{dag_id} {conf['day']}")
        self.ended[dag_id] = [{"dag_run_id": "by hand", "state": "success"}]
        details = {"check": "performance_check", "outcome": "pass", "day": conf["day"]}
        self.ports.ledger.append("monitoring_verdict", MODEL, "1", details, actor="test")
        self.ports.ledger.append("retrain_request", MODEL, None, {"reasons": ["4714 new rows"]}, actor="test")
        return "by hand"


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a first and a second run do and say, with a past of five days and a life of two weeks."""
    monkeypatch.setattr("pipelines.cli.progress.time.sleep", lambda _: None)
    ports = FakePorts.make(tmp_path)
    ports.ledger = MemoryLedger(ports.clock)
    (ports.settings.home / "run").mkdir(parents=True)
    airflow, progress = Airflow(ports), Progress(Console(width=80))

    def train(model: str, conf: dict[str, str]) -> None:
        airflow.calls.append(f"train {model} as of {conf['as_of']}")
        ports.endpoint.release(model, "1", "bundle", "0" * 64, key="k")

    people: Any = SimpleNamespace(train=train, answer=lambda dag_id: 0)

    def run() -> str:
        demo = CustomersDemo(ports, airflow, people, progress)  # type: ignore[arg-type]
        demo.past, demo.mondays = [FIRST + timedelta(days=number) for number in range(5)], MONDAYS
        life = [date(1997, 1, 6) + timedelta(days=number) for number in range(14)]
        demo.backfilled = BackfilledDays(life, ports.catalog.view_of(MODEL), ports, airflow, progress)  # type: ignore[arg-type]
        capsys.readouterr()
        demo.begin_history()
        demo.run()
        return " ".join(capsys.readouterr().out.split())

    return SimpleNamespace(ports=ports, airflow=airflow, run=run)


def test_each_part_is_done_once_and_told_and_the_other_data_stay_paused(told: Any) -> None:
    first = told.run()
    done = ["backfill 1997-01-06 1997-01-19", f"train {MODEL} as of 1997-07-06", f"{MODEL}__monitor 1997-01-20"]
    assert told.airflow.calls == done
    rows = told.ports.store.read("features/customer_week", days=MONDAYS).height
    assert f"callers asked {rows:,} times" in first
    assert "performance_check: pass" in first
    assert "a retraining is asked for: 4714 new rows" in first
    assert {name for name, paused in told.airflow.paused.items() if paused} == {"flights__ingest"}
    questions = len(told.ports.endpoint.calls)
    told.run()
    assert told.airflow.calls == done
    assert len(told.ports.endpoint.calls) == questions
