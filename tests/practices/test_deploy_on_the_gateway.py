"""The practices of a deploy run against a real gateway and real requests: a good candidate, a broken one, a kill."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow.sdk.exceptions import TaskDeferred

from pipelines.adapters.gateway.rollouts import GatewayRollouts
from pipelines.ports import Ledger
from pipelines.spec.deployment import Deployment, RollbackSpec, RoutingSpec
from pipelines.spec.strategy import Analysis, Canary
from pipelines.testing.ports import MemoryLedger
from practices._rollouts.operator import RolloutPractice
from tests.practices.deploy_run import TICKET, DeployRun
from tests.practices.practice_harness import MODEL, PracticeHarness
from tests.serving.candidates import TRIGGER, Fault, write_candidate
from tests.serving.gateway_process import Gateway
from tests.serving.rollout_calls import body, row

DECLARED = Deployment(
    strategy="canary",
    canary=Canary(steps=[20, 50], increment_interval=1, max_step_duration=120, error_threshold=0.1),
    routing=RoutingSpec(key="header:x-user-id"),
    analysis=Analysis(interval=0.3, minimum_units=20),
    rollback=RollbackSpec(window=0.5),
    lease=30,
)


AT_ONCE = Deployment(rollback=RollbackSpec(window=120, error_threshold=0.1), lease=30)


class RealRun(DeployRun):
    """Time passes by itself, the triggers run, and callers ask while they do."""

    def __init__(
        self, harness: PracticeHarness, gateway: Gateway, candidate: tuple[str, str], declared: Deployment
    ) -> None:
        self.gateway, self.users, self.troubled = gateway, 0, 0
        """``troubled``: of ten users, so many send rows that a broken candidate fails on."""
        self.answers: list[int] = []
        ticket = TICKET.model_copy(update={"bundle": candidate[0], "sha256": candidate[1]})
        super().__init__(harness, declared, ticket, GatewayRollouts(gateway.base, gateway.admin))
        harness.clock = lambda: datetime.now(UTC)  # type: ignore[assignment]
        ledger: Ledger = MemoryLedger(harness.clock)
        for line in harness.ledger.entries():
            ledger.append(line.kind, line.model, line.version, line.details, actor="test", key=line.key)
        harness.ledger = ledger  # type: ignore[assignment]

    def _watch_outside_acts(self) -> None:
        """Nobody dies here but whom the test kills."""

    def wait(self, task: RolloutPractice, deferred: TaskDeferred) -> Callable[[Any], Any]:
        if self.state.phase == "BAKING":
            self.ask(150)
        event = asyncio.run(anext_of(deferred.trigger))
        method, kept = getattr(task, deferred.method_name), deferred.kwargs or {}
        return lambda context: method(context, event.payload, **kept)

    def ask(self, number: int) -> None:
        """So many requests, each of a user of its own."""
        with httpx.Client(timeout=30) as client:
            for _ in range(number):
                self.users += 1
                content = body(row(hour=TRIGGER if self.users % 10 < self.troubled else 7.0))
                user = {"x-user-id": f"user-{self.users}"}
                response = client.post(f"{self.gateway.base}/invocations", json=content, headers=user)
                self.answers.append(response.status_code)


class Triggerer:
    """The ports as the triggerer opens them: its own."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def target(self, model: str) -> GatewayRollouts:
        return GatewayRollouts(self._gateway.base, self._gateway.admin)

    @staticmethod
    def clock() -> datetime:
        return datetime.now(UTC)


async def anext_of(trigger: Any) -> Any:
    """What the trigger fires; it is started as the triggerer starts it, from what was kept of it."""
    _, kept = trigger.serialize()
    return await anext(type(trigger)(**kept).run())


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    running = Gateway(tmp_path / "gateway").start()
    running.release("4", write_candidate(tmp_path, "4", answer=0.5)).raise_for_status()
    yield running
    running.stop()


@pytest.fixture
def begin(
    harness: PracticeHarness, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., RealRun]]:
    begun: list[RealRun] = []

    def begin(fault: Fault = "none", declared: Deployment = DECLARED) -> RealRun:
        monkeypatch.setattr("practices._connections.installation.open_fresh_ports", lambda: Triggerer(gateway))
        begun.append(RealRun(harness, gateway, write_candidate(tmp_path, "5", fault), declared))
        return begun[0]

    yield begin
    for run in begun:
        run.target.close()


def test_a_good_candidate_comes_to_all_the_traffic_and_no_request_fails(begin: Callable[..., RealRun]) -> None:
    run = begin()
    assert set(run.play().values()) == {"success"}, run.reasons
    assert (run.state.champion, run.state.previous, run.state.phase) == ("5", "4", "SUCCEEDED")
    assert run.field.registry.aliases == {"champion": "5", "previous": "4"}
    assert set(run.answers) == {200}
    judged = [line for _, line in run.field.lines("rollout") if line["practice"] == "rollout_analysis"]
    assert [(line["share"], line["outcome"]) for line in judged] == [(2000, "pass"), (5000, "pass")]
    assert all(line["facts"]["candidate_units"] >= 20 for line in judged)


def test_a_broken_candidate_is_rolled_back_and_no_caller_notices(begin: Callable[..., RealRun]) -> None:
    run = begin("raises")
    run.troubled = 5
    states = run.play()
    assert (states["judge_at_20"], states["promote_candidate"]) == ("failed", "upstream_failed")
    assert (states["end_rollout"], run.state.phase, run.state.split) == ("success", "ROLLED_BACK", {"4": 10_000})
    assert set(run.answers) == {200}
    [(_, line)] = run.field.lines("rollback")
    assert (line["from"], line["to"]) == ("5", "4")
    assert run.field.registry.tags["5"]["airworthy.status"] == "rolled_back"


def test_a_gateway_killed_in_the_middle_of_a_step_goes_on_with_it(
    begin: Callable[..., RealRun], gateway: Gateway
) -> None:
    run = begin()
    run.play(until="shift_to_20")
    run.ask(50)
    gateway.stop(signal.SIGKILL)
    judge = run.tasks()["judge_at_20"]
    with pytest.raises(TaskDeferred):
        judge.execute(run.context("judge_at_20"))
    gateway.start()
    assert set(run.play().values()) == {"success"}, run.reasons
    assert (run.target.state(MODEL).version, run.state.phase) == ("5", "SUCCEEDED")


def test_a_version_that_turns_bad_after_its_promotion_is_taken_back_and_every_record_says_so(
    begin: Callable[..., RealRun], gateway: Gateway
) -> None:
    run = begin("raises", AT_ONCE)
    run.play(until="promote_candidate")
    assert run.field.registry.aliases == {"champion": "5", "previous": "4"}
    gateway.stop(signal.SIGKILL)
    gateway.start()
    run.troubled = 10
    run.ask(40)
    states = run.play()
    assert (states["retire_former"], states["end_rollout"]) == ("failed", "success")
    assert "promoted version 5: 40 of 40 failed" in run.reasons["retire_former"][0]
    assert (run.state.champion, run.state.phase) == ("4", "ROLLED_BACK")
    assert run.field.registry.aliases == {"champion": "4"}
    assert run.field.registry.tags["5"]["airworthy.status"] == "rolled_back"
    [(_, line)] = run.field.lines("rollback")
    assert (line["from"], line["to"]) == ("5", "4")


def test_a_version_that_replaced_another_at_once_is_final_after_its_window(begin: Callable[..., RealRun]) -> None:
    quick = AT_ONCE.model_copy(update={"rollback": RollbackSpec(window=1)})
    run = begin("none", quick)
    assert set(run.play().values()) == {"success"}, run.reasons
    assert (run.state.champion, run.state.previous, run.state.phase) == ("5", "4", "SUCCEEDED")
