"""A task that is killed while it waits in a worker takes the pods along that it started."""

from __future__ import annotations

import pytest

from practices._operators.step import StepPractice
from practices._pods import run


class Cluster:
    def __init__(self) -> None:
        self.deleted: list[str] = []

    def delete(self, name: str) -> None:
        self.deleted.append(name)


def test_a_killed_task_deletes_the_pods_that_its_process_started(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    monkeypatch.setattr(run, "_started_pods", [(cluster, "train-1"), (cluster, "train-1-worker")])
    StepPractice(task_id="train_model").on_kill()
    assert cluster.deleted == ["train-1", "train-1-worker"]
