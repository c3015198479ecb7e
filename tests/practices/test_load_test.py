"""A candidate without traffic is tried under a lease that lasts; a slow one ends the run, and its page says why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from pipelines.errors import Refused
from pipelines.messages.release import LoadTestRequest, LoadTestResult, ShareEvidence
from pipelines.messages.rollout import RolloutTicket
from pipelines.spec.deployment import Deployment
from pipelines.testing.rollout_target import FakeTarget
from practices.load_test import LoadTest
from tests.practices.practice_harness import MODEL, PracticeHarness

LOAD = {"duration": 3600, "target_rps": 50, "assertions": {"p99_latency": {"max": 100}}}
PLAN = {"strategy": "canary", "lease_seconds": 600, "guard": {"max_error_rate": 0.01}}


def ticket(**changes: Any) -> dict[str, Any]:
    facts = {"model": MODEL, "version": "5", "rollout_id": "r1", "champion": "4"}
    return RolloutTicket(
        **(facts | {"bundle": "bundles/5", "sha256": "s5", "model_digest": "d5"} | changes)  # type: ignore[arg-type]
    ).model_dump(mode="json", by_alias=True)


def found(request: LoadTestRequest, **shown: Any) -> LoadTestResult:
    facts: dict[str, Any] = {"name": "p99_latency", "limit": 0.01, "over_ms": 100, "bad": 1, "total": 2500}
    return LoadTestResult(
        model=request.model,
        version=request.version,
        rollout_id=request.rollout_id,
        sent=2750,
        answered=2750,
        seconds=60,
        declared_rps=50,
        plateau_rps=50,
        lag_p99_ms=1,
        shown=[ShareEvidence(**(facts | {"above": -5, "below": 10} | shown))],
        plot="rollouts/plot.png",
        report="rollouts/report.json",
    )


@pytest.fixture
def target(harness: PracticeHarness) -> FakeTarget:
    """Version 5 is prepared beside the champion 4."""
    harness.rollouts = target = FakeTarget("4", clock=harness.clock)
    harness.answers["load_candidate"] = found
    harness.declare(deployment=Deployment.model_validate({"strategy": "canary", "load_test": LOAD}))
    target.create_rollout(MODEL, "r1", PLAN, expect=1, key="create")
    target.prepare(MODEL, "r1", "5", "bundles/5", "s5", expect=target.rollout(MODEL).generation, key="prepare")
    return target


def run(
    harness: PracticeHarness, given: dict[str, Any] | None = None, **context: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    made = harness.context("deploy", "test_under_load", **context)
    harness.pass_checklist(given or ticket())
    verdict = LoadTest(task_id="test_under_load", model=MODEL, ticket=given or ticket()).execute(made)
    return verdict, made["pushed"]


def test_a_candidate_that_keeps_its_assertions_goes_on_with_the_picture_on_its_page(
    harness: PracticeHarness, target: FakeTarget
) -> None:
    verdict, pushed = run(harness)
    assert verdict["outcome"] == "pass"
    assert pushed["plot"] == "rollouts/plot.png"
    assert pushed["facts"]["plateau_rps"] == 50
    [(version, details)] = harness.lines("rollout")
    assert (version, details["practice"], details["outcome"]) == ("5", "load_test", "pass")
    assert details["report"] == "rollouts/report.json"
    assert harness.asked == [LoadTestRequest(model=MODEL, version="5", rollout_id="r1")]


def test_the_lease_outlasts_the_test(harness: PracticeHarness, target: FakeTarget) -> None:
    seen: list[timedelta] = []

    def tried(request: LoadTestRequest) -> LoadTestResult:
        until = target.rollout(MODEL).lease_until
        assert until is not None
        seen.append(until - harness.clock())
        return found(request)

    harness.answers["load_candidate"] = tried
    run(harness)
    assert seen[0] >= timedelta(seconds=3600 + 60)


def test_a_slow_candidate_ends_the_run(harness: PracticeHarness, target: FakeTarget) -> None:
    harness.answers["load_candidate"] = lambda request: found(request, above=50, below=-50, bad=900)
    with pytest.raises(Refused, match="900 of 2500"):
        run(harness)
    assert harness.lines("rollout")[0][1]["outcome"] == "fail"


def test_too_short_a_test_is_not_a_pass(harness: PracticeHarness, target: FakeTarget) -> None:
    harness.answers["load_candidate"] = lambda request: found(request, below=1.0, needed_total=6000)
    with pytest.raises(Refused, match="about 6000 requests would"):
        run(harness)


FIRST = ticket(champion=None)


def first(harness: PracticeHarness) -> FakeTarget:
    harness.rollouts = target = FakeTarget(None)
    harness.declare(deployment=Deployment.model_validate({"load_test": LOAD}))
    return target


def test_a_first_version_is_loaded_for_its_test_alone(harness: PracticeHarness) -> None:
    target = first(harness)
    seen: list[bool] = []

    def tried(request: LoadTestRequest) -> LoadTestResult:
        seen.append(MODEL in target.unreleased)
        return found(request)

    harness.answers["load_candidate"] = tried
    verdict, _ = run(harness, FIRST)
    assert (verdict["outcome"], seen, target.unreleased) == ("pass", [True], {})
    assert harness.asked == [LoadTestRequest(model=MODEL, version="5", rollout_id="r1", probe="probe")]
    [(version, details)] = harness.lines("rollout")
    assert (version, details["practice"], details["outcome"]) == ("5", "load_test", "pass")


def test_a_slow_first_version_is_refused_and_unloaded(harness: PracticeHarness) -> None:
    target = first(harness)
    harness.answers["load_candidate"] = lambda request: found(request, above=50, below=-50, bad=900)
    with pytest.raises(Refused, match="900 of 2500"):
        run(harness, FIRST)
    assert target.unreleased == {}


@pytest.mark.parametrize(
    ("given", "declared"),
    [(ticket(champion="5"), {"load_test": LOAD}), (ticket(), {})],
    ids=["live already", "nothing declared"],
)
def test_where_there_is_nothing_to_try_it_says_so_and_goes_on(
    harness: PracticeHarness, given: dict[str, Any], declared: dict[str, Any]
) -> None:
    harness.rollouts = FakeTarget(None)
    harness.declare(deployment=Deployment.model_validate({"strategy": "canary"} | declared))
    verdict, _ = run(harness, given)
    assert verdict["outcome"] == "pass"
    assert verdict["facts"]["note"]
    assert harness.asked == []


def test_a_rollout_that_was_rolled_back_meanwhile_is_told_with_its_reason(
    harness: PracticeHarness, target: FakeTarget
) -> None:
    target.roll_back(MODEL, "r1", "the guard: 9 of 10 bad", key="guard")
    with pytest.raises(Refused, match="9 of 10 bad"):
        run(harness)
    assert harness.asked == []


def test_a_rollout_that_was_superseded_is_skipped(harness: PracticeHarness, target: FakeTarget) -> None:
    generation = target.rollout(MODEL).generation
    target.create_rollout(MODEL, "r2", PLAN | {"supersede": True}, expect=generation, key="create2")
    with pytest.raises(AirflowSkipException):
        run(harness)


def test_one_that_is_rolled_back_while_it_is_tried_does_not_pass(harness: PracticeHarness, target: FakeTarget) -> None:
    def tried(request: LoadTestRequest) -> LoadTestResult:
        target.roll_back(MODEL, "r1", "a person", key="person")
        return found(request)

    harness.answers["load_candidate"] = tried
    with pytest.raises(Refused, match="a person"):
        run(harness)
