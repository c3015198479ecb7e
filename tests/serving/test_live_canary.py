"""Canaries of a real gateway under real traffic, by the shipped plan, over whole windows of the champion's percentile.

A slow candidate is taken back for its slowness, an equal one on the same gateway in the same minutes is kept. It takes
five minutes: ``make test-canary``, which prints what was counted.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from pipelines.adapters.gateway.rollouts import GatewayRollouts
from pipelines.messages.rollout import ArmCounts, RolloutState
from pipelines.rollout import from_spec
from pipelines.rollout.analysis import WeighRequest
from pipelines.rollout.decision import StageDecision
from pipelines.rules.rollout_analysis import StageObservation, judge_stage
from pipelines.serving.traffic.latency_percentile import WINDOW_SECONDS
from pipelines.spec.deployment import Deployment
from pipelines.steps import weigh_rollout
from pipelines.testing.ports import FakePorts
from tests.declared import shipped_model
from tests.serving.candidates import Fault, write_candidate
from tests.serving.gateway_process import ADMIN_TOKEN, Gateway
from tests.serving.rollout_calls import body, row

pytestmark = pytest.mark.skipif(not os.environ.get("AIRWORTHY_TEST_CANARY"), reason="make test-canary runs these")

SHIPPED = Deployment(strategy="canary")
PLAN = from_spec.analysis_plan(SHIPPED)
SHARE = SHIPPED.shares()[0]
CALLERS, CALLER_RATE = 2, 15.0
"""Of each model: threads, and requests a second of each."""
SLOW_TURNS = 20_000
"""Some 25 ms, beside a champion that takes less than a tenth of one."""
WINDOWS = 4
"""Of the champion's percentile: the first is learnt, in the others answers are held against it."""


@dataclass
class LiveCanary:
    """One model with a candidate at the first share of the shipped plan, and its callers."""

    gateway: Gateway
    folder: Path
    model: str
    fault: Fault
    versions: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    decision: StageDecision | None = None
    arms: list[ArmCounts] = field(default_factory=list)
    seconds: float = 0.0
    """From the candidate's first traffic to the last observation."""

    def begin(self) -> None:
        bundle, sha256 = write_candidate(self.folder, "1", model=self.model)
        candidate, digest = write_candidate(self.folder, "2", self.fault, model=self.model, turns=SLOW_TURNS)
        spec = shipped_model().model_copy(update={"deployment": SHIPPED})
        plan = from_spec.target_plan(spec)
        self.target.release(self.model, "1", bundle, sha256, key=f"{self.model}-1")
        state = self.target.rollout(self.model)
        state = self.target.create_rollout(self.model, "r1", plan, expect=state.generation, key=f"{self.model}-create")
        state = self.target.prepare(
            self.model, "r1", "2", candidate, digest, expect=state.generation, key=f"{self.model}-prepare"
        )
        split = {"1": 10_000 - SHARE, "2": SHARE}
        self.target.set_traffic(self.model, "r1", split, expect=state.generation, key=f"{self.model}-traffic")

    @property
    def target(self) -> GatewayRollouts:
        return GatewayRollouts(self.gateway.base, f"http://127.0.0.1:{self.gateway.admin_port}", token=ADMIN_TOKEN)

    def ask(self, ended: threading.Event) -> None:
        """One caller, who asks at its rate until told to stop."""
        due = time.monotonic()
        with httpx.Client(timeout=30) as client:
            while not ended.is_set():
                answer = client.post(f"{self.gateway.base}/models/{self.model}/invocations", json=body(row()))
                self.statuses[answer.status_code] += 1
                self.versions[answer.headers["x-model-version"]] += 1
                due = max(due + 1 / CALLER_RATE, time.monotonic() - 1)
                ended.wait(max(0.0, due - time.monotonic()))

    def observe(self, ports: FakePorts) -> None:
        """One observation as the task of the stage makes it, and what it does at the target."""
        state: RolloutState = self.target.rollout(self.model)
        assert state.step_started is not None
        self.arms = self.target.counts(self.model, "r1")
        request = WeighRequest(plan=PLAN, arms=self.arms)
        evidence = weigh_rollout.run(request, ports)
        now = datetime.now(UTC)
        self.seconds = (now - state.step_started).total_seconds()
        self.decision = judge_stage(
            StageObservation(
                state=state,
                plan=PLAN,
                evidence=evidence,
                max_errors=SHIPPED.analysis.consecutive_errors,
                now=now,
                waiting_since=state.step_started,
                bake=from_spec.bake_seconds(SHIPPED),
                limit=from_spec.max_stage_seconds(SHIPPED),
            )
        )
        if self.decision.action == "roll_back":
            reason = "; ".join(self.decision.verdict.reasons)
            self.target.roll_back(self.model, "r1", reason, key=f"{self.model}-back")
        else:
            lease = SHIPPED.lease
            self.target.renew_lease(
                self.model, "r1", lease, expect=state.generation, key=f"{self.model}-{self.seconds}"
            )

    def figures(self) -> str:
        decision = self.decision
        assert decision is not None
        counts = {
            arm.role: {
                "requests": arm.requests,
                "failed": arm.failed,
                "beyond_p99": arm.beyond_p99,
                "mean_ms": round(1000 * arm.seconds / max(arm.requests, 1), 2),
            }
            for arm in self.arms
        }
        metrics = decision.verdict.facts["metrics"]
        return json.dumps(
            {
                "candidate": self.fault,
                "seconds": round(self.seconds, 1),
                "action": decision.action,
                "reasons": decision.verdict.reasons,
                "counts": counts,
                "latency_to_champion": metrics["latency_to_champion"],  # type: ignore[index]
                "load": os.getloadavg()[0],
            }
        )


@pytest.fixture(scope="module")
def canaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LiveCanary]]:
    """Both canaries after so many windows; the slow one is not observed any more once it was taken back."""
    folder = tmp_path_factory.mktemp("live-canary")
    ports = FakePorts.make(folder / "ports")
    gateway = Gateway(folder / "gateway").start()
    ended = threading.Event()
    try:
        slow = LiveCanary(gateway, folder / "bundles", "flight_delay", "slow")
        equal = LiveCanary(gateway, folder / "bundles", "arrival_delay_minutes", "none")
        callers = [
            threading.Thread(target=canary.ask, args=(ended,), daemon=True)
            for canary in (slow, equal)
            for _ in range(CALLERS)
        ]
        for canary in (slow, equal):
            canary.begin()
        for caller in callers:
            caller.start()
        until = time.monotonic() + WINDOWS * WINDOW_SECONDS
        while time.monotonic() < until:
            time.sleep(5)
            for canary in (slow, equal):
                if canary.decision is None or canary.decision.action != "roll_back":
                    canary.observe(ports)
        for canary in (slow, equal):
            print(canary.figures())
        slow.versions.clear()
        time.sleep(5)
        ended.set()
        for caller in callers:
            caller.join(60)
        yield {"slow": slow, "equal": equal}
    finally:
        ended.set()
        gateway.stop()


def test_a_slow_candidate_is_taken_back_for_its_slowness_after_the_first_window(
    canaries: dict[str, LiveCanary],
) -> None:
    slow = canaries["slow"]
    assert slow.decision is not None
    assert slow.decision.action == "roll_back", slow.figures()
    metrics = slow.decision.verdict.facts["metrics"]
    failed = [name for name, metric in metrics.items() if metric["outcome"] == "fail"]  # type: ignore[attr-defined]
    assert failed == ["latency_to_champion"]
    assert slow.seconds > WINDOW_SECONDS, "the first window was whole"
    assert set(slow.versions) == {"1"}, "nobody is answered by it any more"
    assert slow.target.rollout(slow.model).phase == "ROLLED_BACK"
    assert set(slow.statuses) == {200}


def test_an_equal_candidate_is_kept_over_all_windows(canaries: dict[str, LiveCanary]) -> None:
    equal = canaries["equal"]
    assert equal.decision is not None
    assert equal.decision.action == "look_again", equal.figures()
    assert equal.seconds > (WINDOWS - 1) * WINDOW_SECONDS
    assert equal.target.rollout(equal.model).split["2"] == SHARE
    assert equal.versions["2"] > 0
    assert set(equal.statuses) == {200}
