"""A deployment of the demonstration is one run, also where Airflow starts one for the same approval."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from rich.console import Console

from pipelines.cli import progress
from pipelines.cli.progress import Progress
from pipelines.demo.rollout import RolloutDemo
from pipelines.testing.ports import FakePorts

DEPLOY = "flight_delay__deploy"


class Runs:
    """Answers the runs of one poll after the other; the last ones stay."""

    def __init__(self, *polls: list[dict[str, Any]]) -> None:
        self.polls = list(polls)

    def runs(self, _: str) -> list[dict[str, Any]]:
        return self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]


def run(name: str, state: str, version: str | None = None) -> dict[str, Any]:
    return {"dag_run_id": name, "state": state, "conf": {"version": version} if version else {}}


@pytest.mark.parametrize(
    ("polls", "adopted"),
    [
        ([[]], None),
        ([[run("old", "success", "1")]], None),
        ([[], [], [run("by_event", "running")]], "by_event"),
        ([[run("mine", "running", "2")]], "mine"),
        ([[run("other", "running", "1")], [run("other", "failed", "1")]], None),
        ([[run("other", "running", "1")], [run("by_event", "queued"), run("other", "success", "1")]], "by_event"),
    ],
)
def test_the_run_that_airflow_starts_for_an_approval_is_followed_and_no_second_one_triggered(
    polls: list[list[dict[str, Any]]], adopted: str | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.0)
    people: Any = None
    runs: Any = Runs(*polls)
    shown = Progress(Console(quiet=True))
    demo = RolloutDemo("flight_delay", date(2013, 3, 4), FakePorts.make(tmp_path), runs, people, shown)
    assert demo._running_deployment(DEPLOY, "2") == adopted
