"""A drill is held on a gateway that really answers, and stands back from whatever goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.adapters.gateway.rollouts import GatewayRollouts
from pipelines.adapters.store.delta import DeltaStore
from pipelines.errors import Refused, Unavailable
from pipelines.messages.rollback_drill import DrillResult
from pipelines.spec.deployment import Deployment
from pipelines.steps import time_rollback
from pipelines.testing.rollout_target import FakeTarget
from practices.rollback_drill import RollbackDrill
from tests.practices.practice_harness import MODEL, PracticeHarness
from tests.serving.gateway_process import Gateway, write_bundle

PLAN = {"strategy": "canary", "lease_seconds": 60.0, "guard": {"max_error_rate": 0.01}}
QUICK = DrillResult(
    candidate="4", call_seconds=0.1, restored=True, restored_seconds=0.2, before=5, after=5, last_answer_seconds=0.1
)


def drill(harness: PracticeHarness, *, deploying: int = 0, try_number: int = 1) -> dict[str, Any]:
    context = harness.context("drill", "drill_rollback")
    context["ti"].get_dr_count = lambda *, dag_id, states: deploying if dag_id == f"{MODEL}__deploy" else 0
    context["ti"].try_number = try_number
    return RollbackDrill(task_id="drill_rollback", model=MODEL).execute(context)


@pytest.fixture
def target(harness: PracticeHarness) -> FakeTarget:
    """Version 5 is live, 4 was before; a drill comes to 0.1 s."""
    harness.declare(deployment=Deployment())
    harness.rollouts = FakeTarget("4")
    harness.rollouts.release(MODEL, "5", "bundles/5", "5" * 64, key="5")
    for version in ("4", "5"):
        details = {"uri": f"bundles/{version}", "sha256": version * 64}
        harness.ledger.append("release", MODEL, version, details, actor="a")
    harness.answers["time_rollback"] = QUICK
    return harness.rollouts


def test_the_version_before_gets_the_least_share_and_loses_it_again(
    harness: PracticeHarness, target: FakeTarget
) -> None:
    assert drill(harness)["before"] == 5
    [split] = [asked for verb, _, asked in target.calls if verb == "set_traffic"]
    assert split == {"5": 9999, "4": 1}
    after = target.rollout(MODEL)
    assert (after.phase, after.champion, after.previous, after.split) == ("ROLLED_BACK", "5", "4", {"5": 10_000})
    [(version, line)] = harness.lines("rollback_drill")
    assert (version, line["stand_in"], line["outcome"], line["facts"]["seconds"]) == ("5", "4", "pass", 0.1)


def test_a_slow_way_back_turns_the_drill_red(harness: PracticeHarness, target: FakeTarget) -> None:
    harness.answers["time_rollback"] = QUICK.model_copy(update={"last_answer_seconds": 3.0})
    with pytest.raises(Refused, match=r"until 3\.00 s after the call > max_seconds 1"):
        drill(harness)
    assert harness.lines("rollback_drill")[0][1]["outcome"] == "fail"


def test_no_drill_is_held_while_a_deployment_goes_on(harness: PracticeHarness, target: FakeTarget) -> None:
    with pytest.raises(AirflowSkipException, match="flight_delay__deploy are active"):
        drill(harness, deploying=1)
    target.create_rollout(MODEL, "r1", PLAN, expect=2, key="c")
    with pytest.raises(AirflowSkipException, match="rollout r1 of flight_delay is PENDING"):
        drill(harness)
    assert target.rollout(MODEL).rollout_id == "r1"
    assert harness.lines("rollback_drill") == []


def test_no_drill_is_held_without_a_version_to_stand_in(harness: PracticeHarness) -> None:
    harness.rollouts = FakeTarget("4")
    with pytest.raises(AirflowSkipException, match="no version before 4 can be used"):
        drill(harness)


def test_a_deployment_that_comes_in_between_takes_the_drills_place(
    harness: PracticeHarness, target: FakeTarget
) -> None:
    def supersede(_: Any) -> DrillResult:
        target.create_rollout(MODEL, "real", {**PLAN, "supersede": True}, expect=5, key="c")
        return QUICK.model_copy(update={"restored": False})

    harness.answers["time_rollback"] = supersede
    with pytest.raises(AirflowSkipException, match="superseded the drill"):
        drill(harness)
    after = target.rollout(MODEL)
    assert (after.rollout_id, after.phase) == ("real", "PENDING")
    assert harness.lines("rollback_drill") == []


def test_a_drill_that_was_killed_is_ended_by_the_next_try(
    harness: PracticeHarness, target: FakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Nothing catches it."""

    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    harness.answers["time_rollback"] = die
    with monkeypatch.context() as killed:
        killed.setattr(target, "roll_back", die)
        with pytest.raises(Killed):
            drill(harness)
    assert target.rollout(MODEL).phase == "BAKING"
    harness.answers["time_rollback"] = QUICK
    drill(harness, try_number=2)
    assert target.rollout(MODEL).phase == "ROLLED_BACK"


def test_a_version_that_cannot_be_loaded_any_more_is_found_out(
    harness: PracticeHarness, target: FakeTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise Refused("bundle bundles/4 is refused", ["there is no bundles/4"])

    monkeypatch.setattr(target, "prepare", refuse)
    with pytest.raises(Refused, match="there is no bundles/4"):
        drill(harness)
    assert target.rollout(MODEL).phase == "ROLLED_BACK"
    assert harness.lines("rollback_drill")[0][1]["outcome"] == "fail"


def test_a_target_that_does_not_answer_is_asked_again_later(harness: PracticeHarness, target: FakeTarget) -> None:
    target.down = True
    with pytest.raises(Unavailable):
        drill(harness)


@pytest.fixture
def gateway(harness: PracticeHarness, tmp_path: Path) -> Iterator[Gateway]:
    """Two workers; version 2 is live, 1 was before; the drill's step is the real one."""
    gateway = Gateway(tmp_path / "gateway", workers=2)
    harness.declare(deployment=Deployment())
    harness.settings = harness.settings.model_copy(update={"gateway": gateway.base, "gateway_admin": gateway.admin})
    harness.rollouts = GatewayRollouts(gateway.base, gateway.admin)  # type: ignore[assignment]
    harness.store = DeltaStore(str(gateway.store))  # type: ignore[assignment]
    harness.answers["time_rollback"] = lambda request: time_rollback.run(request, harness)
    gateway.start()
    for version in ("1", "2"):
        uri, sha256 = write_bundle(gateway.store / "bundles", version, seed=int(version))
        gateway.release(version, (uri, sha256))
        harness.ledger.append("release", MODEL, version, {"uri": uri, "sha256": sha256}, actor="a")
    yield gateway
    harness.rollouts.close()  # type: ignore[union-attr]
    gateway.stop()


def test_on_a_real_gateway_the_last_answer_of_the_candidate_is_timed(
    harness: PracticeHarness, gateway: Gateway
) -> None:
    harness.declare(deployment=Deployment.model_validate({"rollback": {"max_seconds": 20}}))
    found = drill(harness)
    assert found["before"] >= time_rollback.WARMUP_ANSWERS
    assert found["after"] >= time_rollback.ANSWERS_AFTER_ROLLBACK
    assert (found["failed"], found["restored"]) == (0, True)
    [(_, line)] = harness.lines("rollback_drill")
    assert 0 <= line["facts"]["seconds"] <= 20
    assert gateway.invoke(**{"x-airworthy-drill": "anything"}).headers["x-model-version"] == "2"
    again = drill(harness, try_number=2)
    assert again["before"] >= time_rollback.WARMUP_ANSWERS
