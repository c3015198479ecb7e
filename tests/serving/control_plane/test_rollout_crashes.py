"""Whatever dies while traffic runs, what was acknowledged last is what is served after, and nobody else decides."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.candidates import ANSWER, write_candidate
from tests.serving.gateway_process import PATIENCE, Gateway
from tests.serving.load import Load
from tests.serving.rollout_calls import CHAMPION, Rollout, body, pids, row
from tests.serving.test_gateway_life import predictions

Start = Callable[..., Gateway]


@pytest.fixture
def rollout(start_gateway: Start, tmp_path: Path) -> Rollout:
    return Rollout(start_gateway(workers=2), tmp_path / "bundles").champion()


@contextmanager
def traffic(gateway: Gateway, clients: int = 3) -> Iterator[list[Load]]:
    """Requests without pause; they flow when the block begins and have ended when it is left."""
    loads = [Load(gateway, str(number)) for number in range(clients)]
    for load in loads:
        load.start()
    gateway.wait_for(lambda: all(len(load.answered) > 20 for load in loads))
    yield loads
    for load in loads:
        load.stop()


def flow(gateway: Gateway, loads: list[Load], count: int = 50) -> None:
    """Return when every client was answered so many times more."""
    seen = [len(load.answered) for load in loads]
    gateway.wait_for(lambda: all(len(load.answered) > n + count for load, n in zip(loads, seen, strict=True)))


def failures(loads: list[Load]) -> list[str]:
    return [failure for load in loads for failure in load.failures]


def test_a_killed_candidate_process_fails_no_request_and_comes_back(rollout: Rollout) -> None:
    rollout.begin(share=5000, guard={"max_error_rate": 0.5}, breaker={"failures": 1000})
    with traffic(rollout.gateway) as loads:
        victims = pids(rollout.gateway, "traffic.candidate_process")
        assert len(victims) == 2, "one beside every data worker"
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        rollout.gateway.wait_for(
            lambda: len(set(pids(rollout.gateway, "traffic.candidate_process")) - set(victims)) == 2
        )
        flow(rollout.gateway, loads)
        rollout.gateway.wait_for(lambda: all("2" in load.versions[-20:] for load in loads))
    assert failures(loads) == []
    assert rollout.phase() == "BAKING"


def test_a_killed_shadow_worker_fails_no_request_and_mirrors_again(rollout: Rollout) -> None:
    rollout.begin(strategy="shadow")
    rollout.call("mirror", {"version": "2", "basis_points": 10_000})
    with traffic(rollout.gateway) as loads:
        rollout.gateway.wait_for(lambda: rollout.counts()["shadow"]["requests"] > 50)
        (victim,) = pids(rollout.gateway, "traffic.shadow_process")
        os.kill(victim, signal.SIGKILL)
        rollout.gateway.wait_for(lambda: pids(rollout.gateway, "traffic.shadow_process") not in ([], [victim]))
        before = rollout.counts()["shadow"]["requests"]
        rollout.gateway.wait_for(lambda: rollout.counts()["shadow"]["requests"] > before + 50)
    assert failures(loads) == []
    assert {version for load in loads for version in load.versions} == {"1"}
    assert rollout.state()["mirror"] == {"version": "2", "basis_points": 10_000}


def test_a_killed_data_worker_leaves_the_split_and_the_counts_as_they_are(rollout: Rollout) -> None:
    rollout.begin(share=5000)
    with traffic(rollout.gateway) as loads:
        before, counts = rollout.state(), rollout.counts()
        victim = rollout.gateway.worker_pids()[0]
        os.kill(victim, signal.SIGKILL)
        rollout.gateway.wait_for(lambda: len(set(rollout.gateway.worker_pids()) - {victim}) == 2)
        flow(rollout.gateway, loads)
        rollout.gateway.wait_for(lambda: rollout.state()["applied"])
        after = rollout.counts()
    assert all(len(load.failures) <= 1 for load in loads), "each connection breaks at most once"
    assert {key: before[key] for key in ("split", "generation")} == {
        key: rollout.state()[key] for key in ("split", "generation")
    }
    assert all(after[role]["requests"] > counts[role]["requests"] for role in ("champion", "candidate"))


def test_after_a_kill_of_the_supervisor_the_same_step_goes_on_with_its_counts_and_everything_answered_is_logged(
    rollout: Rollout,
) -> None:
    rollout.begin(share=5000)
    gateway = rollout.gateway
    with traffic(gateway) as loads:
        flow(gateway, loads)
        before, counts = rollout.state(), rollout.counts()
        assert gateway.process is not None
        workers = gateway.worker_pids()
        gateway.process.kill()
        gateway.process.wait()
        deadline = time.monotonic() + PATIENCE
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        gateway.start()
        flow(gateway, loads)
        rollout.gateway.wait_for(lambda: rollout.state()["applied"])
        after, later = rollout.state(), rollout.counts()
    for field in ("split", "generation", "champion", "candidate", "rollout"):
        assert after[field] == before[field]
    assert all(later[role]["requests"] >= counts[role]["requests"] for role in ("champion", "candidate"))
    answered = {one for load in loads for one, _ in load.answered}
    assert answered <= set(predictions(gateway)["entity_id"])


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02, 0.05])
def test_a_step_whose_answer_was_lost_by_a_kill_is_taken_once_however_often_it_is_asked_for(
    rollout: Rollout, delay: float
) -> None:
    rollout.begin(share=100)
    gateway = rollout.gateway
    match = rollout.state()["generation"]
    content = {"split": {"1": 9000, "2": 1000}}

    def ask() -> None:
        try:
            rollout.call("traffic", content, match=match, key="the step")
        except httpx.HTTPError:
            return

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(delay)
    gateway.stop(signal.SIGKILL)
    asking.join()
    gateway.start()
    found = rollout.state()
    assert (found["split"]["2"], found["generation"]) in ((100, match), (1000, match + 1))
    assert sum(found["split"].values()) == 10_000
    again = rollout.call("traffic", content, match=match, key="the step")
    assert (again.json()["split"], again.json()["generation"]) == (content["split"], match + 1)
    assert rollout.state()["rollout"]["step"] == 2


def test_a_kill_at_any_step_leaves_a_whole_split_and_the_repeat_goes_on(rollout: Rollout) -> None:
    """Rows of the crash table: while it is created, prepared, shifted, promoted, taken back."""
    gateway = rollout.gateway
    bundle, sha256 = write_candidate(rollout.folder, "2")
    plan = {"strategy": "canary", "lease_seconds": 600, "guard": {"max_error_rate": 0.2}}
    steps: list[tuple[str, Any, tuple[str, ...]]] = [
        ("", plan, ("PENDING",)),
        ("prepare", {"version": "2", "bundle": bundle, "sha256": sha256}, ("READY",)),
        ("traffic", {"split": {"1": 9000, "2": 1000}}, ("BAKING",)),
        ("promote", {"version": "2"}, ("FINALISING",)),
        ("rollback", {"reason": "drill"}, ("ROLLED_BACK",)),
    ]
    before: str | None = None
    for place, (verb, content, after) in enumerate(steps):
        match = rollout.state()["generation"]

        def ask(verb: str = verb, content: Any = content, match: int = match) -> int:
            try:
                return rollout.call(verb, content, match=match, key=f"step-{verb}").status_code
            except httpx.HTTPError:
                return 0

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.02 + 0.01 * place)
        gateway.stop(signal.SIGKILL)
        asking.join()
        gateway.start()
        found = rollout.state()
        assert sum(found["split"].values()) == 10_000
        assert (found["rollout"] and found["rollout"]["phase"]) in (before, *after)
        assert gateway.invoke(body(row())).status_code == 200
        assert ask() in (200, 202), "202: decided, and a worker still loads the candidate"
        gateway.wait_for(lambda: ask() == 200)
        before = after[0]
        assert rollout.phase() == before
    assert rollout.state()["split"] == {"1": 10_000}


def test_what_a_kill_follows_is_served_after_it(rollout: Rollout) -> None:
    gateway = rollout.gateway
    rollout.begin(share=5000)
    with httpx.Client(timeout=30) as client:

        def versions() -> set[str]:
            url = f"{gateway.base}/invocations"
            return {client.post(url, json=body(row())).headers["x-model-version"] for _ in range(30)}

        assert rollout.call("promote", {"version": "2"}).status_code == 200
        gateway.stop(signal.SIGKILL)
        gateway.start()
        assert (rollout.phase(), versions()) == ("FINALISING", {"2"})
        url = f"{rollout.model}/rollouts/r1/rollback"
        assert httpx.post(url, json={"reason": "r"}, headers={"idempotency-key": "b"}).status_code == 200
        gateway.stop(signal.SIGKILL)
        gateway.start()
        assert (rollout.phase(), versions()) == ("ROLLED_BACK", {"1"})


def test_a_candidate_whose_bundle_is_damaged_while_the_gateway_is_down_loses_its_traffic_to_the_champion(
    rollout: Rollout,
) -> None:
    rollout.begin(share=5000)
    gateway = rollout.gateway
    sha256 = rollout.state()["candidate"]["sha256"]
    gateway.stop(signal.SIGKILL)
    (gateway.folder / "state" / "bundles" / sha256 / "model.onnx").write_bytes(b"rotten")
    gateway.start()
    for _ in range(20):
        response = gateway.invoke(body(row()))
        assert (response.status_code, response.json()["predictions"]) == (200, [CHAMPION])
    gateway.wait_for(lambda: rollout.phase() == "PAUSED")
    found = rollout.state()
    assert found["split"] == {"1": 10_000}
    assert "model.onnx has sha256" in found["rollout"]["reason"]


def test_a_lease_that_ended_while_the_gateway_was_down_is_ended_when_it_is_back(rollout: Rollout) -> None:
    rollout.begin(share=5000)
    rollout.call("lease", {"seconds": 2}).raise_for_status()
    rollout.gateway.stop(signal.SIGKILL)
    time.sleep(2)
    rollout.gateway.start()
    rollout.gateway.wait_for(lambda: rollout.phase() == "ROLLED_BACK")
    assert rollout.gateway.invoke(body(row())).json()["predictions"] == [CHAMPION]


def test_a_second_candidate_is_served_after_the_first_was_rolled_back(rollout: Rollout) -> None:
    rollout.begin(share=10_000)
    assert rollout.gateway.invoke(body(row())).json()["predictions"] == [ANSWER]
    url = f"{rollout.model}/rollouts/r1/rollback"
    httpx.post(url, json={"reason": "r"}, headers={"idempotency-key": "b"}).raise_for_status()
    rollout.gateway.wait_for(lambda: pids(rollout.gateway, "traffic.candidate_process") == [])
    Rollout(rollout.gateway, rollout.folder / "again", "r2").begin(share=10_000)
    assert rollout.gateway.invoke(body(row())).json()["predictions"] == [ANSWER]
