"""A rollback by hand moves traffic first and is not held up by a ledger or a registry that is down."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pipelines.adapters.gateway.rollouts import GatewayRollouts
from pipelines.cli.main import main
from pipelines.cli.rollback import run
from pipelines.errors import Refused, Unavailable
from pipelines.testing.ports import FakePorts
from pipelines.testing.rollout_target import FakeTarget
from pipelines.versions.records import append_rollback
from tests.free_port import free_port
from tests.serving.gateway_process import Gateway, write_bundle

MODEL = "flight_delay"
PLAN = {"strategy": "canary", "lease_seconds": 60.0, "guard": {"max_error_rate": 0.01}}


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    made = FakePorts.make(tmp_path)
    made.targets[MODEL] = FakeTarget("1")
    made.targets[MODEL].release(MODEL, "2", "bundles/2", "0" * 64, key="2")
    for _ in range(3):
        made.registry.register(MODEL)
    made.registry.move_alias(MODEL, "champion", "2")
    made.registry.move_alias(MODEL, "previous", "1")
    return made


def begin_canary(target: FakeTarget) -> None:
    target.create_rollout(MODEL, "r1", PLAN, expect=2, key="c")
    target.prepare(MODEL, "r1", "3", "bundle", "sha", expect=3, key="p")
    target.set_traffic(MODEL, "r1", {"2": 9000, "3": 1000}, expect=4, key="t")


def rollback(ports: FakePorts, version: str | None = None, *, dry_run: bool = False) -> int:
    asked = {"model": MODEL, "reason": "late flights look punctual", "version": version, "dry_run": dry_run}
    return run(argparse.Namespace(**asked), ports)


def test_the_previous_version_is_live_and_on_record(ports: FakePorts) -> None:
    assert rollback(ports) == 0
    assert ports.targets[MODEL].state(MODEL).version == "1"
    champion = ports.registry.by_alias(MODEL, "champion")
    assert champion is not None
    assert champion.version == "1"
    line = ports.ledger.entries(model=MODEL, kind="rollback")[-1]
    assert (line.version, line.details["from"], line.details["to"], line.details["traffic"]) == ("2", "2", "1", 10_000)
    assert line.details["reason"] == "late flights look punctual"
    status = {info.version: info.tags.get("airworthy.status") for info in ports.registry.versions(MODEL)}
    assert status == {"1": "live", "2": "rolled_back", "3": None}


def test_before_and_after_it_is_said_who_answers_and_a_version_that_was_itself_taken_back_is_warned_of(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"taken_back": "1", "put_back": "0", "reason": "30 of 100 failed", "traffic": 500}
    append_rollback(ports, MODEL, **told, actor="airworthy", by="target", key="k")  # type: ignore[arg-type]
    assert rollback(ports) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{MODEL}: version 2 loses its traffic, version 1 answers next",
        "warning: version 1 was itself taken back on 2013-03-01 06:00 UTC by target: 30 of 100 failed",
        f"{MODEL}: version 2 has lost its traffic, version 1 gets all traffic",
    ]


def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ports.targets[MODEL].rollout(MODEL)
    assert rollback(ports, dry_run=True) == 0
    assert f"{MODEL}: version 2 loses its traffic, version 1 answers next" in capsys.readouterr().out
    assert (ports.targets[MODEL].rollout(MODEL), ports.ledger.lines) == (before, [])
    champion = ports.registry.by_alias(MODEL, "champion")
    assert champion is not None
    assert champion.version == "2"
    with pytest.raises(Refused, match="version 3 has no traffic"):
        rollback(ports, "3", dry_run=True)


def test_an_active_rollout_is_ended_and_the_champion_stays(
    ports: FakePorts, capsys: pytest.CaptureFixture[str]
) -> None:
    begin_canary(ports.targets[MODEL])
    assert rollback(ports) == 0
    after = ports.targets[MODEL].rollout(MODEL)
    assert (after.phase, after.champion, after.previous) == ("ROLLED_BACK", "2", "1")
    assert "version 3 has lost its traffic, version 2 gets all traffic" in capsys.readouterr().out
    [line] = ports.ledger.entries(model=MODEL, kind="rollback")
    assert (line.details["from"], line.details["rollout_id"]) == ("3", "r1")


def test_with_a_version_named_a_second_call_takes_nothing_more_back(ports: FakePorts) -> None:
    begin_canary(ports.targets[MODEL])
    rollback(ports, version="3")
    with pytest.raises(Refused, match="version 3 has no traffic"):
        rollback(ports, version="3")
    assert ports.targets[MODEL].state(MODEL).version == "2"


@pytest.mark.parametrize("canary", [False, True])
def test_traffic_goes_back_with_ledger_and_registry_down(
    ports: FakePorts, capsys: pytest.CaptureFixture[str], canary: bool
) -> None:
    if canary:
        begin_canary(ports.targets[MODEL])
    ports.ledger.down = ports.registry.down = True
    assert rollback(ports) == 0
    assert ports.targets[MODEL].state(MODEL).version == ("2" if canary else "1")
    said = capsys.readouterr().out
    who = f"the run of {MODEL}__deploy that it belongs to updates it" if canary else f"run the {MODEL}__rollback DAG"
    assert f"the ledger is not updated yet, {who}" in said
    assert "the registry is not updated yet" in said


def test_a_model_whose_declaration_is_faulty_just_now_is_taken_back_on_the_gateway(
    ports: FakePorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(model: str) -> FakeTarget:
        raise Refused(f"include/models/{model}.yaml is refused")

    monkeypatch.setattr(ports, "target", refuse)
    ports.endpoint = ports.targets[MODEL]
    assert rollback(ports) == 0
    assert ports.endpoint.state(MODEL).version == "1"


def test_without_a_previous_version_it_is_refused(ports: FakePorts) -> None:
    rollback(ports)
    with pytest.raises(Refused, match="no version before 1"):
        rollback(ports)


def test_a_target_that_does_not_answer_is_no_silent_success(ports: FakePorts) -> None:
    ports.targets[MODEL].down = True
    with pytest.raises(Unavailable):
        rollback(ports)


def test_on_a_real_gateway_with_everything_else_down_traffic_goes_back_and_the_rest_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = Gateway(tmp_path / "gateway").start()
    dead = f"http://127.0.0.1:{free_port()}"
    for name, value in {
        "AIRWORTHY_HOME": str(tmp_path),
        "AIRWORTHY_GATEWAY": gateway.base,
        "AIRWORTHY_GATEWAY_ADMIN": gateway.admin,
        "AIRWORTHY_LEDGER": f"sqlite:///{tmp_path}/nowhere/ledger.db",
        "MLFLOW_TRACKING_URI": dead,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }.items():
        monkeypatch.setenv(name, value)
    target = GatewayRollouts(gateway.base, gateway.admin)
    try:
        bundles = {v: write_bundle(gateway.store / "bundles", v, seed=int(v)) for v in ("1", "2", "3")}
        for version in ("1", "2"):
            gateway.release(version, bundles[version])
        state = target.rollout(MODEL)
        asked = {"model": MODEL, "rollout_id": "r1"}
        state = target.create_rollout(**asked, plan=PLAN, expect=state.generation, key="c")
        named = {"version": "3", "bundle": bundles["3"][0], "sha256": bundles["3"][1]}
        state = target.prepare(**asked, **named, expect=state.generation, key="p")
        target.set_traffic(**asked, split={"2": 5000, "3": 5000}, expect=state.generation, key="t")
        (tmp_path / "nowhere").write_text("a file where the ledger's folder was")
        assert main(["rollback", MODEL, "--reason", "late flights look punctual"]) == 0
        after = target.rollout(MODEL)
        assert (after.phase, after.split) == ("ROLLED_BACK", {"2": 10_000})
        assert {gateway.invoke().headers["x-model-version"] for _ in range(20)} == {"2"}
        assert main(["rollback", MODEL, "--reason", "the live one is bad, too"]) == 0
        assert target.state(MODEL).version == "1"
        said = capsys.readouterr().out
        assert said.count("the ledger is not updated yet") == 2
        assert said.count("the registry is not updated yet") == 2
    finally:
        target.close()
        gateway.stop()
