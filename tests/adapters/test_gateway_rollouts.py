"""A rollout's target keeps its contract, the real gateway and the fake that tests use alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.adapters.gateway_rollouts import GatewayRollouts
from pipelines.errors import Conflict, Refused, Unavailable
from pipelines.ports import RolloutTarget
from pipelines.testing_rollouts import FakeTarget
from tests.serving.candidates import write_candidate
from tests.serving.gateway_process import COLUMNS, Gateway, free_port
from tests.serving.rollout_calls import row

MODEL = "flight_delay"
PLAN = {"strategy": "canary", "lease_seconds": 600, "guard": {"max_error_rate": 0.05}}


@pytest.fixture(params=["gateway", "fake"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RolloutTarget]:
    if request.param == "fake":
        yield FakeTarget()
        return
    gateway = Gateway(tmp_path / "gateway").start()
    gateway.release("1", write_candidate(tmp_path, "1", answer=0.5)).raise_for_status()
    opened = GatewayRollouts(gateway.base, gateway.admin)
    yield opened
    opened.close()
    gateway.stop()


def test_a_rollout_goes_its_way_from_creation_to_retirement(target: RolloutTarget, tmp_path: Path) -> None:
    bundle, sha256 = write_candidate(tmp_path, "2")
    state = target.rollout(MODEL)
    assert (state.champion, state.split, state.phase, state.generation) == ("1", {"1": 10_000}, None, 1)
    state = target.create_rollout(MODEL, "r1", PLAN, expect=state.generation, key="create")
    assert target.create_rollout(MODEL, "r1", PLAN, expect=1, key="create").generation == state.generation
    state = target.prepare(MODEL, "r1", "2", bundle, sha256, expect=state.generation, key="prepare")
    assert (state.phase, state.candidate) == ("READY", "2")
    before = state.generation
    state = target.set_mirror(MODEL, "r1", "2", 5000, expect=before, key="mirror")
    assert (state.phase, state.mirror, state.mirror_basis_points) == ("SHADOWING", "2", 5000)
    with pytest.raises(Conflict):
        target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=before, key="stale")
    state = target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=state.generation, key="step")
    again = target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=before, key="step")
    assert (again.generation, again.split) == (state.generation, {"1": 9500, "2": 500})
    renewed = target.renew_lease(MODEL, "r1", 900, expect=state.generation, key="lease")
    assert renewed.generation == state.generation
    state = target.pause(MODEL, "r1", "lunch", expect=state.generation, key="pause")
    assert (state.phase, state.reason) == ("PAUSED", "lunch")
    state = target.resume(MODEL, "r1", expect=state.generation, key="resume")
    if isinstance(target, FakeTarget):
        target.met(MODEL, "2", "candidate", requests=1)
    elif isinstance(target, GatewayRollouts):
        target.predict(MODEL, COLUMNS, [row()])
    (arm,) = [arm for arm in target.counts(MODEL, "r1") if arm.role != "shadow"]
    assert (arm.step, arm.share, arm.requests) == (2, 500, 1)
    assert arm.step_started == state.step_started
    state = target.promote(MODEL, "r1", "2", expect=state.generation, key="promote")
    assert (state.champion, state.previous, state.phase) == ("2", "1", "FINALISING")
    state = target.retire(MODEL, "r1", None, expect=state.generation, key="retire")
    assert (state.phase, state.split) == ("SUCCEEDED", {"2": 10_000})
    with pytest.raises(Refused, match="SUCCEEDED"):
        target.set_traffic(MODEL, "r1", {"2": 10_000}, expect=state.generation, key="late")


def test_a_rollback_wins_whatever_the_generation_and_what_has_ended_stays_ended(
    target: RolloutTarget, tmp_path: Path
) -> None:
    bundle, sha256 = write_candidate(tmp_path, "2")
    state = target.create_rollout(MODEL, "r1", PLAN, expect=1, key="create")
    state = target.prepare(MODEL, "r1", "2", bundle, sha256, expect=state.generation, key="prepare")
    target.set_traffic(MODEL, "r1", {"1": 5000, "2": 5000}, expect=state.generation, key="step")
    state = target.roll_back(MODEL, "r1", "errors", key="back")
    assert (state.phase, state.split, state.reason) == ("ROLLED_BACK", {"1": 10_000}, "errors")
    assert target.roll_back(MODEL, "r1", "again", key="back again").generation == state.generation
    assert target.create_rollout(MODEL, "r1", PLAN, expect=1, key="create").phase == "ROLLED_BACK"


def test_a_candidate_that_is_refused_ends_its_rollout_as_failed(target: RolloutTarget, tmp_path: Path) -> None:
    bundle, _ = write_candidate(tmp_path, "2")
    if isinstance(target, FakeTarget):
        target.refuses = ["bundle.json has sha256 1, approved was 0"]
    state = target.create_rollout(MODEL, "r1", PLAN, expect=1, key="create")
    with pytest.raises(Refused, match="version 2 is refused"):
        target.prepare(MODEL, "r1", "2", bundle, "0" * 64, expect=state.generation, key="prepare")
    state = target.rollout(MODEL)
    assert (state.phase, state.candidate, state.split) == ("FAILED", None, {"1": 10_000})
    assert "approved was 0" in state.reason
    assert target.roll_back(MODEL, "r1", "late", key="back").phase == "FAILED"


def test_a_plan_without_a_limit_and_a_second_rollout_beside_the_first_are_refused(target: RolloutTarget) -> None:
    with pytest.raises(Refused, match="guard has no limit"):
        target.create_rollout(MODEL, "r0", PLAN | {"guard": {}}, expect=1, key="blind")
    state = target.create_rollout(MODEL, "r1", PLAN, expect=1, key="create")
    with pytest.raises(Refused, match="rollout r1 is PENDING"):
        target.create_rollout(MODEL, "r2", PLAN, expect=state.generation, key="second")
    state = target.create_rollout(MODEL, "r2", PLAN | {"supersede": True}, expect=state.generation, key="instead")
    assert (state.rollout_id, state.phase) == ("r2", "PENDING")


def test_a_target_that_does_not_answer_is_unavailable() -> None:
    port = free_port()
    fake = FakeTarget()
    fake.down = True
    for target in (GatewayRollouts(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}"), fake):
        with pytest.raises(Unavailable):
            target.rollout(MODEL)
