"""The demonstration tells of the models of its own data, and on its last page of what it could not show."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from pipelines.cli import stack
from pipelines.cli.progress import Progress
from pipelines.demo.airflow_dags import stage_dag_ids, unpause
from pipelines.demo.story import Demonstration
from pipelines.testing.ports import FakePorts, MemoryLedger


def test_the_part_about_a_dataset_unpauses_its_dags_and_those_of_its_models_alone(tmp_path: Path) -> None:
    catalog = FakePorts.make(tmp_path).catalog
    of_flights = stage_dag_ids("flights", [catalog.model("flight_delay")])
    of_shop = stage_dag_ids("shop", [catalog.model("buys_again")])
    assert "flight_delay__drill" in of_flights
    assert "buys_again__drill" not in of_shop
    unpaused: list[str] = []
    every = [{"dag_id": name, "is_paused": name != "shop__validate"} for name in sorted(of_flights | of_shop)]
    airflow: Any = SimpleNamespace(dags=lambda: every, unpause=unpaused.append)
    unpause(["shop", "buys_again"], lambda stage: stage != "arrive", airflow)
    assert set(unpaused) == of_shop - {"shop__validate", "shop__arrive"}


def test_a_rollout_that_was_refused_is_named_on_the_last_page_and_fails_the_demonstration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = FakePorts.make(tmp_path)
    ports.ledger = MemoryLedger(ports.clock)
    monkeypatch.setattr(stack, "describe", lambda settings: "Airflow: http://127.0.0.1:1")
    options: Any = SimpleNamespace(first=date(2013, 1, 1), last=date(2013, 1, 31), live=1)
    unused: Any = None
    demo = Demonstration(options, ports, unused, unused, Progress(Console(width=80)))  # type: ignore[arg-type]
    assert demo.summarize() == 0
    demo.unshown = ["the deployment of version 2 of flight_delay did not end as expected: nobody asked the gateway"]
    capsys.readouterr()
    assert demo.summarize() == 1
    shown = capsys.readouterr().out
    assert "nobody asked the gateway; `make demo` tries it again" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
