"""`airworthy reproduce` prints both digests and exits 0 only for a bit-identical model."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pipelines.cli import reproduce
from pipelines.messages.training import ReproduceRequest, ReproduceResult
from pipelines.steps import reproduce_model
from pipelines.testing.ports import FakePorts


@pytest.mark.parametrize(
    ("reproduced", "status", "last"), [("a" * 64, 0, "bit-identical"), ("b" * 64, 65, "NOT the same model")]
)
def test_both_digests_and_every_difference_are_printed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reproduced: str,
    status: int,
    last: str,
) -> None:
    asked: list[ReproduceRequest] = []

    def retrain(request: ReproduceRequest, ports: object) -> ReproduceResult:
        asked.append(request)
        return ReproduceResult(
            model=request.model,
            version=request.version,
            registered_digest="a" * 64,
            reproduced_digest=reproduced,
            snapshot="5" * 64,
            differences=["xgboost 3.1 became 3.2"],
        )

    monkeypatch.setattr(reproduce_model, "run", retrain)
    root = argparse.ArgumentParser()
    reproduce.add_parser(root.add_subparsers())
    options = root.parse_args(["reproduce", "flight_delay", "3"])
    assert options.run(options, FakePorts.make(tmp_path)) == status
    assert [(request.model, request.version) for request in asked] == [("flight_delay", "3")]
    printed = capsys.readouterr().out.splitlines()
    assert f"  registered  {'a' * 64}" in printed
    assert f"  reproduced  {reproduced}" in printed
    assert "  differs     xgboost 3.1 became 3.2" in printed
    assert printed[-1] == last
