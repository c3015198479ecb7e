"""A plan of an analysis can pass and can fail, each limit lies within its range, and counts are requests or units."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.errors import Refused
from pipelines.rollout.analysis import (
    ArmEvents,
    MetricEvidence,
    MetricLimits,
    RolloutEvidence,
    StageCounts,
    make_analysis_plan,
)
from tests.rollout.analysis_plans import BOUNDED, CLICKS, COUNTED, ERRORS, SLOW, plan


@pytest.mark.parametrize(
    ("metric", "compares", "pass_ratio", "ways"),
    [
        (BOUNDED, False, 1.0, 1),
        (ERRORS, True, 1.5, 1),
        (ERRORS | {"max_rate": 0.02}, True, 1.5, 2),
        (ERRORS | {"fail_ratio": None}, True, 1.5, 0),
        (SLOW, True, 1.0, 1),
        (CLICKS, True, 1.0, 1),
        (CLICKS | {"max_ratio": 1.5}, True, 1.0, 1),
        (SLOW | {"max_ratio": 1.5}, True, 1.5, 1),
    ],
)
def test_a_metric_compares_passes_and_fails_by_its_limits(
    metric: dict[str, Any], compares: bool, pass_ratio: float, ways: int
) -> None:
    limits = MetricLimits.model_validate(metric)
    assert (limits.compares_with_champion, limits.pass_ratio, limits.failure_test_count) == (compares, pass_ratio, ways)


@pytest.mark.parametrize(
    ("field", "inside", "outside"),
    [
        ("max_rate", (1e-9, 0.999), (0.0, 1.0)),
        ("max_ratio", (1.001, 999.9), (1.0, 1000.0)),
        ("fail_ratio", (1.0, 1.5), (0.999, 1000.0)),
    ],
)
def test_a_limit_lies_within_its_range(field: str, inside: tuple[float, ...], outside: tuple[float, ...]) -> None:
    metric = {"name": "e", "event": "error"} | ({"max_ratio": 1.5} if field == "fail_ratio" else {})
    for value in inside:
        assert getattr(MetricLimits.model_validate(metric | {field: value}), field) == value
    for value in outside:
        with pytest.raises(ValueError, match=field):
            MetricLimits.model_validate(metric | {field: value})


@pytest.mark.parametrize(
    ("field", "inside", "outside"),
    [
        ("alpha", (1e-9, 0.2), (0.0, 0.21)),
        ("srm_alpha", (1e-9, 0.05), (0.0, 0.051)),
        ("minimum_units", (1,), (0,)),
        ("concentration", (1e-9, 1e6), (0.0, 1e6 + 1)),
    ],
)
def test_a_number_of_the_plan_lies_within_its_range(
    field: str, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    for value in inside:
        assert getattr(plan(ERRORS, **{field: value}), field) == value
    for value in outside:
        with pytest.raises(Refused, match=field):
            plan(ERRORS, **{field: value})


def test_a_plan_has_the_documented_defaults() -> None:
    defaults = plan(ERRORS)
    assert (defaults.unit, defaults.sticky, defaults.alpha, defaults.srm_alpha) == ("request", False, 0.05, 0.001)
    assert (defaults.minimum_units, defaults.concentration) == (100, 10.0)
    assert MetricLimits(name="e", event="error", max_rate=0.1).fail_ratio == 1.0


@pytest.mark.parametrize(
    "declared",
    [
        {"metrics": [ERRORS | {"fail_ratio": 1.5}]},
        {"metrics": [BOUNDED | {"fail_ratio": None}]},
        {"metrics": [ERRORS], "sticky": True, "unit": "key"},
        {"metrics": [ERRORS, SLOW | {"fail_ratio": None}]},
    ],
)
def test_a_plan_that_can_be_decided_is_made(declared: dict[str, Any]) -> None:
    assert len(make_analysis_plan(declared, measured=COUNTED).metrics) == len(declared["metrics"])


@pytest.mark.parametrize(
    "metric", [SLOW | {"max_rate": 0.1}, CLICKS | {"max_rate": 0.1, "better": "lower"}, BOUNDED | {"better": "higher"}]
)
def test_a_rate_limits_bad_events_of_a_guardrail_only(metric: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="max_rate bounds bad events of a guardrail"):
        plan(metric)


def test_every_reason_against_a_plan_is_named_by_its_place() -> None:
    with pytest.raises(Refused) as refusal:
        make_analysis_plan({"metrics": [{"name": "e", "event": "error", "max_rate": 2}], "alpha": 1}, measured=COUNTED)
    assert [reason.split(":")[0] for reason in refusal.value.reasons] == ["metrics.0.max_rate", "alpha"]
    with pytest.raises(Refused) as refusal:
        make_analysis_plan({"metrics": []}, measured=COUNTED)
    assert refusal.value.reasons[0].startswith("(whole analysis): metrics: no metric can fail")


def test_units_with_an_event_are_those_of_the_stage_where_they_are_counted() -> None:
    assert ArmEvents(units=9, events={"error": 3}).units_with("error") == 3
    assert ArmEvents(units=9, events={"error": 3}, stage_events={"error": 5}).units_with("error") == 5


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_stage_has_two_arms(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        StageCounts(weight=weight, candidate=ArmEvents(units=1), champion=ArmEvents(units=1))
    inside = abs(weight - 1e-9)
    assert StageCounts(weight=inside, candidate=ArmEvents(units=1), champion=ArmEvents(units=1)).weight == inside


def test_evidence_begins_with_no_counts() -> None:
    empty = MetricEvidence(metric="errors")
    assert (empty.candidate, empty.candidate_units, empty.champion, empty.champion_units) == (0, 0, 0, 0)
    assert RolloutEvidence(metrics=()).split_log_e == 0.0


def test_every_metric_that_is_not_counted_is_named() -> None:
    with pytest.raises(Refused) as refusal:
        make_analysis_plan({"metrics": [ERRORS, SLOW]}, measured=["click", "bad"])
    assert refusal.value.reasons == [
        "errors: event 'error' is not counted; counted are bad, click",
        "slow: event 'slow' is not counted; counted are bad, click",
    ]


def test_faults_are_listed_with_their_metric() -> None:
    metrics = (MetricEvidence(metric="a", faults=("x", "y")), MetricEvidence(metric="b"))
    assert RolloutEvidence(metrics=metrics).faults == ["a: x", "a: y"]


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (
            {"metrics": [ERRORS | {"event": "eror"}]},
            "errors: event 'eror' is not counted; counted are click, error, slow",
        ),
        ({"metrics": []}, "no metric can fail"),
        ({"metrics": [ERRORS | {"fail_ratio": None}]}, "no metric can fail"),
        ({"metrics": [{"name": "e", "event": "error"}]}, "guardrail e cannot pass"),
        ({"metrics": [ERRORS | {"max_ration": 2}]}, "max_ration"),
        ({"metrics": [ERRORS, ERRORS]}, "a name occurs twice"),
        ({"metrics": [ERRORS], "sticky": True}, "count keys"),
        ({"metrics": [ERRORS | {"fail_ratio": 2.0}]}, "beyond max_ratio"),
        ({"metrics": [CLICKS | {"max_rate": 0.1}]}, "bounds bad events"),
        ({"metrics": [ERRORS], "alpha": 0.5}, "alpha"),
    ],
)
def test_a_plan_that_could_never_decide_rightly_is_refused(declared: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        make_analysis_plan(declared, measured=COUNTED)
    assert reason in str(refusal.value)
