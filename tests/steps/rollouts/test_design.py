"""The design of a rollout is known before it begins, and agrees with the tests that will judge it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipelines.rollout.analysis import AnalysisPlan, ArmEvents, StageCounts
from pipelines.rollout.evidence import compute_evidence
from pipelines.rollout.from_spec import analysis_plan, plan_faults
from pipelines.rules.rollout_verdict import judge_evidence
from pipelines.spec.deployment import Deployment
from pipelines.spec.sizing import LoadTestSpec
from pipelines.statistics.e_values import log_e_value
from pipelines.steps.load_testing.evidence import requests_needed as load_test_needs
from pipelines.steps.rollouts.design import requests_to_show, rollout_design
from pipelines.verdict import Outcome
from tests.declared import shipped_model

STICKY = {"routing": {"key": "header:x-user-id"}}


def design(**declared: Any) -> list[Any]:
    return rollout_design(SimpleNamespace(deployment=Deployment.model_validate(declared)))  # type: ignore[arg-type]


def test_a_release_in_one_switch_has_no_design() -> None:
    assert design() == []


def test_every_step_of_a_canary_is_sized_and_a_larger_share_needs_fewer_requests() -> None:
    steps = design(strategy="canary", canary={"max_step_duration": 3600, "increment_interval": 60})
    assert [step.share for step in steps] == [500, 1500, 2500, 3500, 4500, 5000]
    assert [step.seconds for step in steps] == [3600] * 6
    needed = [step.requests_to_pass for step in steps]
    assert needed == sorted(needed, reverse=True)
    assert all(step.requests_to_find > 0 for step in steps)


def test_a_shadow_before_the_canary_comes_first_and_counts_what_is_sampled() -> None:
    steps = design(strategy="canary", shadow={"sample_rate": 0.1, "minimum_compared": 500, "duration": 60})
    assert (steps[0].share, steps[0].seconds) == (0, 120)
    bad = requests_to_show(0.001, 0.01, 0.05)
    assert bad is not None
    assert bad > 500
    assert steps[0].requests_to_pass == 10 * bad, "that few answers are bad takes more than minimum_compared"
    many = design(strategy="canary", shadow={"sample_rate": 0.1, "minimum_compared": 5000, "duration": 60})
    assert many[0].requests_to_pass == 50_000
    assert steps[1].share == 500


RATIO: dict[str, Any] = {"analysis": {"metrics": [{"name": "kept", "max_ratio": 1.2}]}}


def test_a_margin_that_must_be_shown_and_every_way_to_fail_are_paid_for() -> None:
    """A ratio below 1.2 takes far more requests than the limit; each test and each stage makes finding later."""
    [usual] = design(strategy="canary", canary={"steps": [20]})
    [kept] = design(strategy="canary", canary={"steps": [20]}, **RATIO)
    assert kept.requests_to_pass > 20 * usual.requests_to_pass
    slow = [{"name": f"slow{ms}", "event": "slow", "over_ms": ms, "max_rate": 0.1} for ms in (50, 100, 200)]
    [tested] = design(strategy="canary", canary={"steps": [20]}, analysis={"metrics": slow})
    staged = design(strategy="canary", canary={"steps": [20, 30, 40, 50]})
    assert usual.requests_to_find < tested.requests_to_find
    assert usual.requests_to_find < staged[0].requests_to_find


def test_where_nothing_is_compared_no_detection_is_told() -> None:
    [step] = design(strategy="canary", canary={"steps": [20]}, analysis={"error_ratio": None})
    assert (step.requests_to_find, step.found) == (None, None)


def outcomes(plan: AnalysisPlan, rng: np.random.Generator, requests: int, ratio: float) -> set[Outcome]:
    """Of one stage at 20 %, looked at twice, with 0.1 % bad answers of the champion."""
    candidate, champion, found = np.zeros(2, dtype=int), np.zeros(2, dtype=int), set()
    for _ in range(2):
        size = rng.binomial(requests // 2, 0.2)
        candidate += size, rng.binomial(size, 0.001 * ratio)
        champion += requests // 2 - size, rng.binomial(requests // 2 - size, 0.001)
        arms = [ArmEvents(units=units, events={"bad": bad, "beyond_p99": 0}) for units, bad in (candidate, champion)]
        stage = StageCounts(weight=0.2, candidate=arms[0], champion=arms[1])
        found.add(judge_evidence(plan, compute_evidence(plan, [stage])).outcome)
    return found


@pytest.mark.parametrize(("declared", "per_day"), [({}, 12_000), (RATIO, 1_200_000)])
def test_the_told_chances_are_those_of_rollouts_that_are_judged(declared: dict[str, Any], per_day: int) -> None:
    canary = {"steps": [20], "max_step_duration": 43_200}
    deployment = Deployment.model_validate({"strategy": "canary", "canary": canary} | declared)
    spec: Any = SimpleNamespace(deployment=deployment)
    [step] = rollout_design(spec, per_day)
    plan, rng, runs = analysis_plan(deployment), np.random.default_rng(4), 12
    equal, harmful = ([outcomes(plan, rng, per_day // 2, ratio) for _ in range(runs)] for ratio in (1.0, 3.0))
    assert step.held == pytest.approx(sum(Outcome.PASS not in each for each in equal) / runs, abs=0.3)
    assert step.found == pytest.approx(sum(Outcome.FAIL in each for each in harmful) / runs, abs=0.3)


@pytest.mark.parametrize(
    ("declared", "needed", "seconds"),
    [
        ({"strategy": "blue_green", "blue_green": {"validation_duration": 60}}, 21900, 120),
        ({"strategy": "ab", **STICKY, "ab": {"metrics": ["latency"], "minimum_sample_size": 700}}, 1400, 14 * 86400),
        (
            {"strategy": "ab", **STICKY, "ab": {"metrics": ["latency"], "traffic_split": 0.1, "max_duration": 9}},
            10000,
            9,
        ),
    ],
)
def test_other_strategies_have_one_step(declared: dict[str, Any], needed: int, seconds: float) -> None:
    [step] = design(**declared)
    assert step.requests_to_pass == pytest.approx(needed, rel=0.05)
    assert step.seconds == seconds


def test_a_candidate_expected_to_be_at_the_threshold_is_never_shown_to_keep_it() -> None:
    assert requests_to_show(0.01, 0.01, 0.05) is None
    [step] = design(strategy="blue_green", analysis={"expected_rate": 0.02})
    assert step.requests_to_pass is None


@pytest.mark.parametrize(("rate", "limit"), [(0.001, 0.01), (0.0, 0.01), (0.02, 0.05)])
def test_four_of_five_good_candidates_are_shown_to_be_good_with_so_many_requests(rate: float, limit: float) -> None:
    total = requests_to_show(rate, limit, 0.05)
    assert total is not None
    bad = np.random.default_rng(1).binomial(total, rate, 400)
    shown = [log_e_value(int(each), total, limit, alternative="less") >= math.log(20) for each in bad]
    assert np.mean(shown) >= 0.75
    if rate:
        few = np.random.default_rng(1).binomial(total // 2, rate, 400)
        less = [log_e_value(int(each), total // 2, limit, alternative="less") >= math.log(20) for each in few]
        assert np.mean(less) < 0.75


def test_a_load_test_needs_so_many_requests_even_of_a_faultless_candidate() -> None:
    declared = {"assertions": {"p95_latency": {"max": 100}, "error_rate": {"max": 0.001}}}
    found = load_test_needs(LoadTestSpec.model_validate(declared), 0.05)
    assert found.keys() == {"p95_latency", "error_rate"}
    for name, limit in (("p95_latency", 0.05), ("error_rate", 0.001)):
        assert log_e_value(0, found[name], limit, alternative="less") >= math.log(20)
        assert log_e_value(0, found[name] - 1, limit, alternative="less") < math.log(20)


@pytest.mark.parametrize(
    ("declared", "fault"),
    [
        ({"strategy": "canary"}, ""),
        ({}, ""),
        (
            {"strategy": "canary", "analysis": {"metrics": [{"name": "much", "max_ratio": 1.5, "fail_ratio": 2.0}]}},
            "fail_ratio 2.0 is beyond max_ratio 1.5",
        ),
    ],
)
def test_a_plan_that_cannot_be_decided_is_known_before_it_begins(declared: dict[str, Any], fault: str) -> None:
    spec = shipped_model()
    found = plan_faults(spec.model_copy(update={"deployment": Deployment.model_validate(declared)}))
    assert [fault in each for each in found] == [True] * bool(fault)
