"""A wait for a stack ends as soon as what is waited for can no longer come, and says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import Unavailable
from pipelines.settings import Settings
from tests.e2e import installation as waiting
from tests.e2e.installation import Installation


class Airflow:
    """Answers what an Airflow answers about its runs and the files that it could not import."""

    def __init__(self, *active: str, errors: tuple[dict[str, Any], ...] = (), silent: bool = False) -> None:
        self.active, self.errors, self.silent = active, errors, silent

    def runs(self, dag_id: str, **_: Any) -> list[dict[str, Any]]:
        if self.silent:
            raise Unavailable("Airflow does not answer")
        return [{"dag_run_id": name} for name in self.active]

    def import_errors(self) -> list[dict[str, Any]]:
        if self.silent:
            raise Unavailable("Airflow does not answer")
        return list(self.errors)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at every turn, and turns without a pause."""
    for name in ("LOOK_SECONDS", "IDLE_SECONDS", "ENDED_SECONDS"):
        monkeypatch.setattr(waiting, name, 0.0)
    monkeypatch.setattr(waiting.time, "sleep", lambda seconds: None)


def made(folder: Path, airflow: Airflow, *started: str) -> Installation:
    stack = Installation(Settings.from_environment({"AIRWORTHY_HOME": str(folder)}), started=set(started))
    stack.__dict__["airflow"] = airflow
    return stack


def after(looks: int) -> Any:
    """Is true after so many looks."""
    answers = iter([False] * looks)
    return lambda: next(answers, True)


def test_a_part_that_ended_by_itself_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"the day cannot happen any more: scheduler has ended by itself; read "):
        made(tmp_path, Airflow("r1"), "scheduler").until(lambda: False, "the day")


def test_a_dag_file_that_was_not_imported_is_named(tmp_path: Path) -> None:
    airflow = Airflow("r1", errors=({"filename": "train.py", "stack_trace": "NameError: x"},))
    with pytest.raises(AssertionError, match=r"parsing cannot happen any more: train\.py: NameError: x"):
        made(tmp_path, airflow).until(lambda: False, "parsing")


@pytest.mark.parametrize(
    ("active", "run"), [((), None), ((), ("dag", "r1")), (("r2",), ("dag", "r1"))], ids=["stack", "run", "another run"]
)
def test_nothing_comes_of_a_stack_that_is_idle_nor_of_a_run_that_has_ended(
    tmp_path: Path, active: tuple[str, ...], run: tuple[str, str] | None
) -> None:
    with pytest.raises(AssertionError, match="the day cannot happen any more: nothing has run for 0 s"):
        made(tmp_path, Airflow(*active)).until(lambda: False, "the day", run)


@pytest.mark.parametrize("airflow", [Airflow("r1"), Airflow(silent=True)], ids=["it works", "it does not answer"])
def test_what_can_still_come_is_waited_for(tmp_path: Path, airflow: Airflow) -> None:
    made(tmp_path, airflow).until(after(looks=50), "the day", ("dag", "r1"))


def test_what_does_not_come_from_a_stack_that_works_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.01)
    with pytest.raises(AssertionError, match="the day did not happen within 0 s"):
        made(tmp_path, Airflow("r1")).until(lambda: False, "the day")
