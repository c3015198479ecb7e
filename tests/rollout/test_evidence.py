"""The counts of all stages become the evidence that the plan needs, and no other."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.rollout.analysis import AnalysisPlan, ArmEvents, MetricEvidence, StageCounts, make_analysis_plan
from pipelines.rollout.evidence import compute_evidence
from pipelines.statistics.e_values import (
    StageEvents,
    log_e_rate_ratio,
    log_e_sample_ratio,
    log_e_value,
    rate_ratio_interval,
)

RATE: dict[str, Any] = {"name": "rate", "event": "bad", "max_rate": 0.02}
RATIO: dict[str, Any] = {"name": "ratio", "event": "bad", "max_ratio": 1.5, "fail_ratio": 1.2}
WORSE: dict[str, Any] = {"name": "worse", "event": "bad", "role": "deterioration", "fail_ratio": 1.2}
CLICKS: dict[str, Any] = {"name": "clicks", "event": "bad", "role": "success", "better": "higher", "fail_ratio": 1.2}
EVENTS = [StageEvents(0.1, 30, 150), StageEvents(0.5, 90, 60)]
UNITS = [StageEvents(0.1, 1000, 9000), StageEvents(0.5, 4000, 4100)]


def plan(*metrics: dict[str, Any], **limits: Any) -> AnalysisPlan:
    return make_analysis_plan({"metrics": list(metrics), **limits}, measured={"bad"})


def arm(units: int, bad: int | None, **counts: Any) -> ArmEvents:
    return ArmEvents(units=units, events={} if bad is None else {"bad": bad}, **counts)


STAGES = [
    StageCounts(weight=0.1, candidate=arm(1000, 30), champion=arm(9000, 150)),
    StageCounts(weight=0.5, candidate=arm(4000, 90), champion=arm(4100, 60)),
]


def measured(metric: dict[str, Any], **limits: Any) -> MetricEvidence:
    [evidence] = compute_evidence(plan(metric, **limits), STAGES).metrics
    return evidence


def ratio_evidence(margin: float, alternative: Any) -> Any:
    return pytest.approx(log_e_rate_ratio(EVENTS, margin=margin, alternative=alternative))


def fault_evidence(margin: float, alternative: Any) -> Any:
    """Of a fault that began with either stage, in equal shares."""
    first, second = (log_e_rate_ratio([stage], margin=margin, alternative=alternative) for stage in EVENTS)
    return pytest.approx(math.log((math.exp(first + second) + math.exp(second)) / 2))


def test_counts_are_summed_over_all_stages_for_each_arm() -> None:
    evidence = measured(RATE)
    assert (evidence.candidate, evidence.candidate_units) == (120, 5000)
    assert (evidence.champion, evidence.champion_units) == (210, 13_100)
    assert evidence.faults == ()


def test_the_split_is_weighed_by_units_and_not_by_events() -> None:
    evidence = compute_evidence(plan(RATE), STAGES, newest=7)
    assert evidence.split_log_e == pytest.approx(log_e_sample_ratio(UNITS))
    assert (evidence.newest, evidence.stages) == (7, STAGES)


def test_without_a_stage_there_is_no_evidence() -> None:
    evidence = compute_evidence(plan(RATE, RATIO), [])
    assert (evidence.split_log_e, evidence.newest, evidence.faults) == (0.0, None, [])
    assert [metric.candidate_units for metric in evidence.metrics] == [0, 0]
    assert (evidence.metrics[0].above_log_e, evidence.metrics[0].below_log_e) == (0.0, 0.0)


def test_a_limit_of_the_own_rate_is_weighed_in_the_newest_stage_and_beside_the_champion() -> None:
    evidence = measured(RATE)
    assert (evidence.newest_candidate, evidence.newest_champion) == ((90, 4000), (60, 4100))
    assert evidence.above_log_e == pytest.approx(log_e_value(90, 4000, 0.02, alternative="greater") - math.log(2))
    assert evidence.below_counts == (120, 5000)
    assert evidence.below_log_e == pytest.approx(log_e_value(120, 5000, 0.02, alternative="less"))
    assert evidence.beyond_champion_log_e == fault_evidence(1.0, "greater")
    assert (evidence.ratio_low, evidence.ratio_high) == (None, None)
    assert (evidence.worse_log_e, evidence.pass_log_e) == (None, None)


def test_without_answers_of_the_champion_a_limit_is_the_candidates_alone() -> None:
    stages = [StageCounts(weight=0.5, candidate=arm(900, 90), champion=arm(0, 0))]
    [evidence] = compute_evidence(plan(RATE), stages).metrics
    assert evidence.beyond_champion_log_e is None


def test_a_limit_of_keys_counts_a_key_in_every_stage_in_which_it_had_the_event() -> None:
    later = arm(1000, 0, stage_events={"bad": 30})
    stages = [StageCounts(weight=0.5, candidate=each, champion=arm(1000, 0)) for each in (arm(1000, 30), later)]
    [evidence] = compute_evidence(plan(RATE, unit="key"), stages).metrics
    assert evidence.newest_candidate == evidence.below_counts == (30, 1000)
    assert (evidence.candidate, evidence.candidate_units) == (30, 2000)


def test_keys_that_return_are_no_new_evidence_of_a_mismatch() -> None:
    """The same 10,000 keys in each of six stages, of which the candidate happens to have 5.75 % in place of 5 %."""
    again = [StageCounts(weight=0.05, candidate=arm(575, 0), champion=arm(9425, 0)) for _ in range(6)]
    assert 0 < compute_evidence(plan(RATE), again[:1]).split_log_e < math.log(1000)
    assert compute_evidence(plan(RATE), again).split_log_e > math.log(1000), "requests are new ones"
    by_key = plan(RATE, unit="key")
    assert compute_evidence(by_key, again).split_log_e < compute_evidence(plan(RATE), again[:1]).split_log_e
    counted = [
        StageCounts(weight=0.05, candidate=arm(575, 0, new_units=new), champion=arm(9425, 0, new_units=old))
        for new, old in ((575, 9425), *[(0, 0)] * 5)
    ]
    first = StageEvents(0.05, 575, 9425)
    assert compute_evidence(by_key, counted).split_log_e == pytest.approx(log_e_sample_ratio([first]))


def test_an_event_that_an_older_target_does_not_count_decides_nothing_where_it_is_not_required() -> None:
    optional = WORSE | {"event": "slow", "name": "slow", "required": False}
    limits = make_analysis_plan({"metrics": [RATE, optional]}, measured={"bad", "slow"})
    _, slow = compute_evidence(limits, STAGES).metrics
    assert (slow.faults, slow.worse_log_e, slow.candidate_units) == ((), None, 5000)
    required = make_analysis_plan({"metrics": [RATE, optional | {"required": True}]}, measured={"bad", "slow"})
    assert len(compute_evidence(required, STAGES).faults) == 4
    counted = make_analysis_plan({"metrics": [RATE, WORSE | {"name": "worse", "required": False}]}, measured={"bad"})
    assert compute_evidence(counted, STAGES).metrics[1].worse_log_e is not None


def test_a_guardrail_is_weighed_against_its_fail_ratio_and_its_margin() -> None:
    evidence = measured(RATIO)
    assert (evidence.ratio_low, evidence.ratio_high) == pytest.approx(rate_ratio_interval(EVENTS))
    assert evidence.worse_log_e == fault_evidence(1.2, "greater")
    assert evidence.pass_log_e == ratio_evidence(1.5, "less")
    assert (evidence.above_log_e, evidence.below_log_e, evidence.newest_candidate) == (None, None, None)


def test_a_deterioration_can_only_fail() -> None:
    evidence = measured(WORSE)
    assert evidence.worse_log_e == fault_evidence(1.2, "greater")
    assert evidence.pass_log_e is None


def test_of_good_events_fewer_are_worse_and_the_ratio_is_turned_round() -> None:
    evidence = measured(CLICKS)
    assert evidence.worse_log_e == fault_evidence(1 / 1.2, "less")
    assert evidence.pass_log_e == ratio_evidence(1.0, "greater")


def test_a_metric_without_a_fail_ratio_is_never_shown_worse() -> None:
    evidence = compute_evidence(plan(RATIO | {"fail_ratio": None}, WORSE), STAGES).metrics[0]
    assert evidence.worse_log_e is None
    assert evidence.pass_log_e == ratio_evidence(1.5, "less")


def test_alpha_and_concentration_of_the_plan_shape_the_evidence() -> None:
    evidence = measured(RATIO, alpha=0.01, concentration=50.0)
    assert (evidence.ratio_low, evidence.ratio_high) == pytest.approx(
        rate_ratio_interval(EVENTS, alpha=0.01, concentration=50.0)
    )
    assert evidence.pass_log_e == pytest.approx(
        log_e_rate_ratio(EVENTS, margin=1.5, alternative="less", concentration=50.0)
    )
    assert measured(RATE, concentration=50.0).below_log_e == pytest.approx(
        log_e_value(120, 5000, 0.02, alternative="less", concentration=50.0)
    )


def test_a_ratio_without_an_upper_end_has_none() -> None:
    [evidence] = compute_evidence(
        plan(RATIO), [StageCounts(weight=0.5, candidate=arm(900, 90), champion=arm(900, 0))]
    ).metrics
    assert evidence.ratio_high is None
    assert evidence.ratio_low is not None
    assert math.isfinite(evidence.ratio_low)


@pytest.mark.parametrize(
    ("candidate", "champion", "faults"),
    [
        (arm(9, 9), arm(9, 0), ()),
        (arm(9, 3, stage_events={"bad": 9}), arm(9, 3), ()),
        (arm(9, None), arm(9, 9), ("stage 2 has no count of bad for the candidate",)),
        (arm(9, 9), arm(9, None), ("stage 2 has no count of bad for the champion",)),
        (arm(9, 10), arm(9, 9), ("stage 2 has 10 bad among 9 units of the candidate",)),
        (
            arm(9, 10),
            arm(9, 11),
            ("stage 2 has 10 bad among 9 units of the candidate", "stage 2 has 11 bad among 9 units of the champion"),
        ),
        (arm(9, 3, stage_events={"bad": 10}), arm(9, 3), ("stage 2 has 10 bad among 9 units of the candidate",)),
        (arm(9, 3, stage_events={"slow": 1}), arm(9, 3), ("stage 2 has no count of bad for the candidate",)),
    ],
)
def test_an_impossible_or_missing_count_is_a_fault_of_its_stage(
    candidate: ArmEvents, champion: ArmEvents, faults: tuple[str, ...]
) -> None:
    stages = [STAGES[0], StageCounts(weight=0.5, candidate=candidate, champion=champion)]
    [evidence] = compute_evidence(plan(RATE), stages).metrics
    assert evidence.faults == faults
    assert (evidence.above_log_e is None) is bool(faults)


def test_an_event_that_could_not_be_read_is_the_only_fault_of_its_metric() -> None:
    [evidence] = compute_evidence(plan(RATE), [], errors={"bad": "no answer"}).metrics
    assert evidence == MetricEvidence(metric="rate", faults=("bad could not be read: no answer",))
    assert compute_evidence(plan(RATE), STAGES, errors={"slow": "no answer"}).faults == []
