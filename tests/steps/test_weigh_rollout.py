"""Counts become evidence step by step, and what nobody counted is never taken for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.messages.rollout import ArmCounts
from pipelines.rollout.analysis import RolloutEvidence, WeighRequest
from pipelines.rollout.from_spec import analysis_plan
from pipelines.rules.rollout_verdict import judge_evidence
from pipelines.spec.deployment import Deployment
from pipelines.testing.ports import FakePorts
from pipelines.verdict import Outcome, Verdict
from pipelines.wiring import run_step

REQUESTS = Deployment.model_validate({"strategy": "canary", "canary": {"error_threshold": 0.05}})
KEYS = Deployment.model_validate(
    {"strategy": "canary", "canary": {"error_threshold": 0.05}, "routing": {"key": "header:x-user"}}
)
SLOW = Deployment.model_validate(
    {"strategy": "canary", "analysis": {"metrics": [{"name": "s", "event": "slow", "over_ms": 100, "max_rate": 0.1}]}}
)


@pytest.fixture
def ports(tmp_path: Path) -> FakePorts:
    return FakePorts.make(tmp_path)


def arm(role: Any, requests: int, failed: int = 0, *, step: int = 1, share: int = 2000, **more: Any) -> ArmCounts:
    version = "5" if role in ("candidate", "variant", "shadow") else "4"
    return ArmCounts(version=version, role=role, step=step, share=share, requests=requests, failed=failed, **more)


def weigh(ports: FakePorts, declared: Deployment, *arms: ArmCounts) -> RolloutEvidence:
    """As a task weighs it: the request travels as JSON."""
    request = WeighRequest(plan=analysis_plan(declared), arms=list(arms))
    found = run_step("weigh_rollout", request.model_dump_json(by_alias=True), ports)
    assert isinstance(found, RolloutEvidence)
    return RolloutEvidence.model_validate_json(found.model_dump_json(by_alias=True))


def judged(declared: Deployment, evidence: RolloutEvidence) -> Verdict:
    return judge_evidence(analysis_plan(declared), evidence)


@pytest.mark.parametrize(
    ("failed", "champion", "outcome"),
    [(0, 0, Outcome.PASS), (100, 0, Outcome.FAIL), (20, 0, Outcome.FAIL), (20, 80, Outcome.UNKNOWN)],
)
def test_what_is_shown_is_said(ports: FakePorts, failed: int, champion: int, outcome: Outcome) -> None:
    found = weigh(ports, REQUESTS, arm("candidate", 400, failed), arm("champion", 1600, champion))
    assert judged(REQUESTS, found).outcome is outcome
    assert (found.newest, found.stages[0].weight, found.stages[0].candidate.units) == (1, 0.2, 400)


def test_evidence_of_all_steps_adds_up_and_the_shadow_is_none_of_them(ports: FakePorts) -> None:
    found = weigh(
        ports,
        REQUESTS,
        arm("shadow", 9000, 9000, step=1, share=0),
        arm("champion", 1600, step=2),
        arm("candidate", 400, 10, step=2),
        arm("candidate", 500, 20, step=3, share=5000),
        arm("champion", 500, step=3, share=5000),
    )
    metric = found.metrics[0]
    assert (metric.candidate, metric.candidate_units) == (30, 900)
    assert (len(found.stages), found.newest) == (2, 3)


def test_several_roles_of_one_version_in_one_step_are_summed(ports: FakePorts) -> None:
    found = weigh(ports, REQUESTS, arm("variant", 100, 1), arm("candidate", 300, 2), arm("control", 1600))
    assert (found.stages[0].candidate.units, found.stages[0].candidate.events) == (400, {"bad": 3})


@pytest.mark.parametrize("counted", [{}, {"new_units": 100, "event_units": {"bad": 2, "beyond_p99": 0}}])
def test_where_keys_stick_everything_is_judged_by_keys(ports: FakePorts, counted: dict[str, Any]) -> None:
    """Two users with a thousand failing requests, also as an older gateway counts them."""
    champion = {"units": 400} | ({"new_units": 400, "event_units": {"bad": 0, "beyond_p99": 0}} if counted else {})
    candidate = {"units": 100, "bad_units": 2, **counted}
    found = weigh(ports, KEYS, arm("candidate", 4000, 900, **candidate), arm("champion", 16_000, **champion))
    assert (found.stages[0].candidate.units, found.stages[0].candidate.events) == (100, {"bad": 2})
    verdict = judged(KEYS, found)
    assert verdict.outcome is Outcome.UNKNOWN
    assert "2 of 100 keys" in verdict.reasons[0]


def test_a_candidate_slower_than_the_champion_was_a_minute_ago_is_found(ports: FakePorts) -> None:
    """It fails no more often, and without the counts of an older gateway nothing is known of it."""
    arms = [arm("candidate", 4000, beyond_p99=400), arm("champion", 16_000, beyond_p99=160)]
    verdict = judged(REQUESTS, weigh(ports, REQUESTS, *arms))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reasons[0].startswith("latency_to_champion: ratio to the champion")
    unknown = [each.model_copy(update={"beyond_p99": None}) for each in arms]
    assert judged(REQUESTS, weigh(ports, REQUESTS, *unknown)).outcome is Outcome.PASS


def test_a_candidate_with_three_times_the_errors_is_found_far_below_the_limit(ports: FakePorts) -> None:
    found = weigh(ports, REQUESTS, arm("candidate", 20_000, 60), arm("champion", 80_000, 80))
    assert judged(REQUESTS, found).outcome is Outcome.FAIL


def test_a_target_that_does_not_count_slow_answers_passes_nobody(ports: FakePorts) -> None:
    found = weigh(ports, SLOW, arm("candidate", 4000), arm("champion", 16_000))
    assert found.faults
    assert judged(SLOW, found).outcome is Outcome.UNKNOWN
    counted = {"slow": {"100": 3}}
    found = weigh(ports, SLOW, arm("candidate", 4000, **counted), arm("champion", 16_000, **counted))
    assert judged(SLOW, found).outcome is Outcome.PASS


def test_a_step_that_met_nobody_shows_nothing(ports: FakePorts) -> None:
    for arms in ([], [arm("champion", 0)]):
        evidence = weigh(ports, REQUESTS, *arms)
        assert not evidence.faults
        assert judged(REQUESTS, evidence).outcome is Outcome.UNKNOWN


def test_a_split_that_is_not_as_declared_passes_nobody(ports: FakePorts) -> None:
    found = weigh(ports, REQUESTS, arm("candidate", 2000), arm("champion", 2000))
    verdict = judged(REQUESTS, found)
    assert verdict.outcome is Outcome.UNKNOWN
    assert "split of units" in verdict.reasons[0]
