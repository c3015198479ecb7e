"""A version that answers callers is shown although its model's file was deleted or has faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.cli.main import parser
from pipelines.errors import Refused
from pipelines.messages.release import LiveState
from pipelines.messages.rollout import RolloutState
from pipelines.spec.catalog import Catalog
from pipelines.spec.strategy import FULL_SHARE
from pipelines.testing.ports import FakeEndpoint, FakePorts

FORMER, FAULTY = "former_model", "faulty_model"


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    made = FakePorts.make(tmp_path)
    declared = made.catalog
    made.catalog = Catalog(
        datasets=declared.datasets,
        views=declared.views,
        models=declared.models,
        refused={f"models/{FAULTY}.yaml": Refused(f"{FAULTY}.yaml has 1 fault(s)", ["trainign: unknown field"])},
    )
    made.target = lambda model: made.catalog.model(model) and made.endpoint  # type: ignore[method-assign,func-returns-value]
    for model in (FORMER, FAULTY):
        made.registry.register(model)
        made.ledger.append("release", model, "1", {"previous": None}, actor="airworthy")
    return made


def serve(ports: FakePorts, model: str) -> None:
    ports.endpoint.release(model, "1", "bundles/1", "0" * 64, key=model)


def status(ports: FakePorts, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    options = parser().parse_args(["status", *arguments])
    assert options.run(options, ports) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("model", [FORMER, FAULTY])
def test_what_serves_without_a_valid_file_is_on_the_screen_of_all(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    assert f"Model: {model}" not in status(ports, capsys)
    serve(ports, model)
    text = status(ports, capsys)
    assert f"Model: {model}" in text
    assert f"no valid declaration: nothing trains, evaluates or monitors {model}" in " ".join(text.split())
    assert "live: version 1" in text


@pytest.mark.parametrize("model", [FORMER, FAULTY])
def test_by_its_name_it_is_shown_whether_it_serves_or_not(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    assert "live: nothing" in status(ports, capsys, model)
    serve(ports, model)
    assert "live: version 1" in status(ports, capsys, model)


def test_the_gateway_is_asked_once_what_it_serves_of_each_model(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(ports, FORMER)
    asked: list[str] = []

    class CountingEndpoint(FakeEndpoint):
        def state(self, model: str) -> LiveState:
            asked.append(model)
            return super().state(model)

        def rollout(self, model: str) -> RolloutState:
            return RolloutState(model=model, generation=1, champion="1", previous=None, split={"1": FULL_SHARE})

    ports.endpoint.__class__ = CountingEndpoint
    status(ports, capsys)
    assert sorted(asked) == sorted([*ports.catalog.models, FORMER, FAULTY])


def test_a_program_asks_for_one_model_and_gets_that_one(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(status(ports, capsys, FORMER, "--json"))
    assert list(facts["models"]) == [FORMER]
    assert facts["models"][FORMER]["declared"] is False


def test_a_program_that_asks_for_a_model_that_there_is_not_is_refused(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Refused, match="there is no model or dataset nosuch"):
        status(ports, capsys, "nosuch", "--json")
