"""The real gateway and the fake that tests use keep the contract of every target alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.adapters.gateway.rollouts import GatewayRollouts
from pipelines.errors import Refused, Unavailable
from pipelines.ports import DeploymentTarget
from pipelines.testing.rollout_target import FakeTarget
from tests.adapters.rollout_contract import MODEL, PLAN, Bundle, RolloutContract, prepared
from tests.free_port import free_port
from tests.serving.candidates import write_candidate
from tests.serving.gateway_process import COLUMNS, Gateway
from tests.serving.rollout_calls import row


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    written: dict[str, tuple[str, str]] = {}

    def write(version: str) -> tuple[str, str]:
        if version not in written:
            written[version] = write_candidate(tmp_path, version, answer=0.5)
        return written[version]

    return write


@pytest.fixture(params=["gateway", "fake"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DeploymentTarget]:
    if request.param == "fake":
        yield FakeTarget(champion=None)
        return
    gateway = Gateway(tmp_path / "gateway").start()
    opened = GatewayRollouts(gateway.base, gateway.admin)
    yield opened
    opened.close()
    gateway.stop()


class TestGateway(RolloutContract):
    """The behaviours of every target."""


def test_a_mirror_is_a_step_of_its_own_and_each_step_counts_what_it_met(
    target: DeploymentTarget, bundle: Bundle
) -> None:
    before = prepared(target, bundle)
    state = target.set_mirror(MODEL, "r1", "2", 5000, expect=before, key="mirror")
    assert (state.phase, state.mirror, state.mirror_basis_points) == ("SHADOWING", "2", 5000)
    state = target.set_traffic(MODEL, "r1", {"1": 9500, "2": 500}, expect=state.generation, key="step")
    if isinstance(target, FakeTarget):
        target.add_counts(MODEL, "2", "candidate", requests=1)
    elif isinstance(target, GatewayRollouts):
        target.predict(MODEL, COLUMNS, [row()])
    (arm,) = [arm for arm in target.counts(MODEL, "r1") if arm.role != "shadow"]
    assert (arm.step, arm.share, arm.requests) == (2, 500, 1)
    assert arm.step_started == state.step_started


def test_a_candidate_that_is_refused_ends_its_rollout_as_failed(target: DeploymentTarget, bundle: Bundle) -> None:
    target.release(MODEL, "1", *bundle("1"), key="first")
    if isinstance(target, FakeTarget):
        target.refusal_reasons = ["bundle.json has sha256 1, approved was 0"]
    state = target.create_rollout(MODEL, "r1", PLAN, expect=target.rollout(MODEL).generation, key="create")
    with pytest.raises(Refused, match="version 2 is refused"):
        target.prepare(MODEL, "r1", "2", bundle("2")[0], "0" * 64, expect=state.generation, key="prepare")
    state = target.rollout(MODEL)
    assert (state.phase, state.candidate, state.split) == ("FAILED", None, {"1": 10_000})
    assert "approved was 0" in state.reason
    assert target.roll_back(MODEL, "r1", "late", key="back").phase == "FAILED"


def test_a_target_that_does_not_answer_is_unavailable() -> None:
    port = free_port()
    fake = FakeTarget()
    fake.down = True
    for target in (GatewayRollouts(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}"), fake):
        with pytest.raises(Unavailable):
            target.rollout(MODEL)
