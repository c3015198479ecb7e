"""A step gets its request and gives its result, or what it refuses, to the task that runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipelines import wiring
from pipelines.errors import Refused
from pipelines.messages.ingestion import IngestRequest, IngestResult
from pipelines.messages.validation import PublishResult
from pipelines.spec.runner import StageRunner
from pipelines.testing.ports import FakePorts
from practices._connections import installation
from practices._operators import step_runner
from tests.practices.landing import DAY

REQUEST = IngestRequest(dataset="flights", partition=f"{DAY}")


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePorts:
    ports = FakePorts.make(tmp_path)
    monkeypatch.setattr(installation, "open_ports", lambda: ports)
    return ports


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A step by the name of ``probe`` that says which request it was given."""
    module = ModuleType("pipelines.steps.probe")
    module.run = lambda request, ports: IngestResult(dataset=request.dataset, partition=request.partition, sources=[])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pipelines.steps.probe", module)
    monkeypatch.setitem(wiring.STEPS, "probe", IngestRequest)
    return module


def test_a_step_gets_its_request_and_gives_its_result_in_the_tasks_own_process(
    ports: FakePorts, step: ModuleType
) -> None:
    assert step_runner.run_step("probe", REQUEST, IngestResult) == IngestResult(
        dataset="flights", partition=f"{DAY}", sources=[]
    )


def test_what_a_step_refuses_reaches_the_task_as_it_is(ports: FakePorts, step: ModuleType) -> None:
    def refuse(request: IngestRequest, ports: Any) -> IngestResult:
        raise Refused("no", ["one", "two"])

    step.run = refuse  # type: ignore[attr-defined]
    with pytest.raises(Refused) as error:
        step_runner.run_step("probe", REQUEST, IngestResult)
    assert error.value.reasons == ["one", "two"]


def test_a_step_that_answers_something_else_is_a_fault(ports: FakePorts, step: ModuleType) -> None:
    with pytest.raises(TypeError, match="probe returned IngestResult, not PublishResult"):
        step_runner.run_step("probe", REQUEST, PublishResult)


def test_a_runner_that_is_not_there_is_refused_saying_what_to_set(
    ports: FakePorts, step: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "settings", ports.settings.model_copy(update={"runner": "mainframe"}))
    with pytest.raises(Refused, match="AIRWORTHY_RUNNER 'mainframe'"):
        step_runner.run_step("probe", REQUEST, IngestResult, runner=StageRunner())


def test_the_request_is_logged_for_those_who_debug_and_not_in_every_log(
    ports: FakePorts, step: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    step_runner.run_step("probe", REQUEST, IngestResult)
    assert REQUEST.model_dump_json(by_alias=True) not in caplog.text
    caplog.set_level("DEBUG", logger=step_runner.__name__)
    step_runner.run_step("probe", REQUEST, IngestResult)
    assert REQUEST.model_dump_json(by_alias=True) in caplog.text
