"""`airworthy reconcile` shows what differs, changes it only when told to, and says in its status what it found."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pipelines.cli import reconcile
from pipelines.errors import EXIT_REFUSED, EXIT_UNAVAILABLE, Refused
from pipelines.testing.ports import FakePorts
from pipelines.testing.rollout_target import FakeTarget
from pipelines.versions.records import update_aliases, update_status

MODEL = "flight_delay"


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePorts:
    """Version 2 is live and the alias champion names version 1."""
    monkeypatch.setenv("COLUMNS", "80")
    made = FakePorts.make(tmp_path)
    target = made.targets[MODEL] = FakeTarget("1")
    for version in ("1", "2"):
        made.registry.register(MODEL)
        if version == "2":
            target.release(MODEL, "2", "bundles/2", "2" * 64, key="2")
        state = target.state(MODEL)
        line = made.ledger.append("release", MODEL, version, {"previous": state.previous}, actor="a")
        update_status(made, line)
        update_aliases(made, state)
    made.registry.move_alias(MODEL, "champion", "1")
    return made


def call(ports: FakePorts, *arguments: str) -> int:
    root = argparse.ArgumentParser()
    reconcile.add_parser(root.add_subparsers())
    options = root.parse_args(["reconcile", *arguments])
    return int(options.run(options, ports))


def champion(ports: FakePorts) -> str | None:
    info = ports.registry.by_alias(MODEL, "champion")
    return info.version if info else None


def test_what_differs_is_shown_at_eighty_columns_and_not_changed(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = len(ports.ledger.lines)
    assert call(ports, MODEL) == EXIT_REFUSED
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if "alias champion" in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")][:3] == ["alias champion", "1", "2"]
    assert "the target serves" in shown
    assert f"airworthy reconcile {MODEL} --apply puts it right" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert (champion(ports), len(ports.ledger.lines)) == ("1", lines)


def test_when_told_to_the_registry_is_put_right_and_the_ledger_says_by_whom(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(ports, MODEL, "--apply", "--by", "ann") == 0
    assert champion(ports) == "2"
    line = ports.ledger.lines[-1]
    assert (line.kind, line.actor, line.details["reason"]) == ("reconciliation", "ann", "alias champion: 1 became 2")
    assert call(ports, MODEL) == 0
    assert f"{MODEL}: ledger and registry agree with the target" in capsys.readouterr().out


def test_every_declared_model_is_compared_where_none_is_named(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(ports) == EXIT_REFUSED
    shown = capsys.readouterr().out
    assert "arrival_delay_minutes: ledger and registry agree with the target" in shown


def test_what_cannot_be_put_right_stays_an_error(ports: FakePorts, capsys: pytest.CaptureFixture[str]) -> None:
    del ports.registry._versions[MODEL]["2"]
    assert call(ports, MODEL, "--apply") == EXIT_REFUSED
    shown = capsys.readouterr().out
    assert "1 of 2 put right" in shown
    assert "version 2 in the registry is missing, but the target serves version 2: release another version" in shown
    assert champion(ports) is None
    remaining = ports.ledger.lines[-1].details["remaining"]
    assert remaining == ["version 2 in the registry is missing, but the target serves version 2"]
    assert call(ports, MODEL) == EXIT_REFUSED
    assert "--apply" not in capsys.readouterr().out


def test_what_the_registry_refuses_is_not_counted_as_put_right(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ports.registry.set_tags(MODEL, "1", {"airworthy.status": "live"})

    def refuse(model: str, version: str, tags: object) -> None:
        raise Refused(f"the tags of version {version} of {model} are protected")

    monkeypatch.setattr(ports.registry, "set_tags", refuse)
    assert call(ports, MODEL, "--apply") == EXIT_REFUSED
    assert "1 of 2 put right" in capsys.readouterr().out


def test_a_target_that_does_not_answer_is_named_and_gives_75(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    ports.targets[MODEL].down = True
    assert call(ports, MODEL, "--apply") == EXIT_UNAVAILABLE
    assert f"{MODEL}: the target does not answer" in capsys.readouterr().out
    assert champion(ports) == "1"


def test_a_model_that_nobody_knows_is_refused(ports: FakePorts) -> None:
    with pytest.raises(Refused, match="there is no model nosuch"):
        call(ports, "nosuch")
