"""A candidate passes only on what was shown, fails only on what was shown, and is held on everything else."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipelines.rollout.analysis import AnalysisPlan, ArmEvents, MetricEvidence, RolloutEvidence, StageCounts
from pipelines.rollout.evidence import compute_evidence
from pipelines.rules.rollout_verdict import judge_evidence
from pipelines.verdict import Outcome, Verdict
from tests.rollout.analysis_plans import BOUNDED, CLICKS, ERRORS, SLOW, plan


def judge_rollout(plan: AnalysisPlan, stages: list[StageCounts], errors: dict[str, str] | None = None) -> Verdict:
    """The verdict on these counts: weighed as the step weighs them, then judged."""
    return judge_evidence(plan, compute_evidence(plan, stages, errors=errors))


def metric_facts(verdict: Verdict, name: str) -> dict[str, Any]:
    metrics: Any = verdict.facts["metrics"]
    return dict(metrics[name])


def step(
    candidate: tuple[int, int], champion: tuple[int, int], *, weight: float = 0.5, event: str = "error"
) -> StageCounts:
    return StageCounts(
        weight=weight,
        candidate=ArmEvents(units=candidate[1], events={event: candidate[0]}),
        champion=ArmEvents(units=champion[1], events={event: champion[0]}),
    )


@pytest.mark.parametrize(
    ("metric", "candidate", "champion", "outcome"),
    [
        (ERRORS, (500, 50_000), (500, 50_000), Outcome.PASS),
        (ERRORS, (700, 50_000), (500, 50_000), Outcome.FAIL),
        (ERRORS, (0, 50_000), (0, 50_000), Outcome.UNKNOWN),
        (ERRORS, (5, 500), (5, 500), Outcome.UNKNOWN),
        (ERRORS, (0, 0), (0, 0), Outcome.UNKNOWN),
        (ERRORS | {"fail_ratio": 1.5}, (700, 50_000), (500, 50_000), Outcome.UNKNOWN),
        (ERRORS | {"fail_ratio": 1.5}, (1200, 50_000), (500, 50_000), Outcome.FAIL),
        (BOUNDED, (500, 50_000), (0, 50_000), Outcome.PASS),
        (BOUNDED, (1500, 50_000), (9999, 50_000), Outcome.UNKNOWN),
        (BOUNDED, (1500, 50_000), (1000, 50_000), Outcome.FAIL),
        (BOUNDED, (1000, 50_000), (0, 50_000), Outcome.UNKNOWN),
        (BOUNDED, (0, 0), (0, 0), Outcome.UNKNOWN),
        (SLOW | {"event": "error"}, (510, 50_000), (500, 50_000), Outcome.PASS),
        (SLOW | {"event": "error"}, (700, 50_000), (500, 50_000), Outcome.FAIL),
        (SLOW | {"event": "error"}, (0, 20), (0, 20), Outcome.UNKNOWN),
        (CLICKS | {"event": "error"}, (6500, 50_000), (5000, 50_000), Outcome.PASS),
        (CLICKS | {"event": "error"}, (5000, 50_000), (5000, 50_000), Outcome.UNKNOWN),
        (CLICKS | {"event": "error"}, (4000, 50_000), (5000, 50_000), Outcome.FAIL),
        (CLICKS | {"event": "error", "better": "lower"}, (4000, 50_000), (5000, 50_000), Outcome.PASS),
    ],
)
def test_each_metric_is_decided_by_what_its_counts_show(
    metric: dict[str, Any], candidate: tuple[int, int], champion: tuple[int, int], outcome: Outcome
) -> None:
    verdict = judge_rollout(plan(metric), [step(candidate, champion)])
    assert verdict.outcome is outcome
    assert bool(verdict.reasons) is (outcome is not Outcome.PASS)


def test_a_limit_is_judged_on_keys_where_keys_come_back_in_every_stage() -> None:
    """The same 1,000 keys over ten stages: 30 of them fail in each, with the candidate, and none with the champion."""
    champion = ArmEvents(units=1000, events={"error": 0}, new_units=0)
    arms = [
        ArmEvents(units=1000, events={"error": first}, stage_events={"error": 60}, new_units=0)
        for first in (60, *[0] * 9)
    ]
    stages = [StageCounts(weight=0.5, candidate=arm, champion=champion) for arm in arms]
    verdict = judge_rollout(plan(BOUNDED, unit="key", sticky=True, stages=10), stages)
    assert verdict.outcome is Outcome.FAIL
    assert "60 of 1000 keys" in verdict.reasons[0]


def test_a_limit_that_the_champion_breaks_as_well_is_no_fault_of_the_candidate() -> None:
    for champion, outcome in (((0, 50_000), Outcome.FAIL), ((1500, 50_000), Outcome.UNKNOWN)):
        verdict = judge_rollout(plan(BOUNDED), [step((1500, 50_000), champion)])
        assert verdict.outcome is outcome
    assert "but the champion has 1500 of 50000 requests: not shown worse" in verdict.reasons[0]


def judged(errors: int, clicks: int, slow: int, *, split: tuple[int, int] = (50_000, 50_000)) -> Verdict:
    candidate = ArmEvents(units=split[0], events={"error": errors, "click": clicks, "slow": slow})
    champion = ArmEvents(units=split[1], events={"error": 500, "click": 5000, "slow": 2500})
    return judge_rollout(
        plan(ERRORS | {"max_ratio": 1.3}, CLICKS, SLOW),
        [StageCounts(weight=0.5, candidate=candidate, champion=champion)],
    )


@pytest.mark.parametrize(
    ("errors", "clicks", "slow", "outcome"),
    [
        (500, 5600, 2500, Outcome.PASS),
        (500, 5000, 2500, Outcome.UNKNOWN),
        (600, 5600, 2500, Outcome.UNKNOWN),
        (500, 5600, 3000, Outcome.FAIL),
        (900, 5600, 2500, Outcome.FAIL),
        (500, 4000, 2500, Outcome.FAIL),
    ],
)
def test_it_ships_with_one_success_all_guardrails_kept_and_nothing_worse(
    errors: int, clicks: int, slow: int, outcome: Outcome
) -> None:
    assert judged(errors, clicks, slow).outcome is outcome


def test_one_superior_success_metric_is_enough() -> None:
    second = CLICKS | {"name": "slow_is_better", "event": "slow"}
    counts = [
        StageCounts(
            weight=0.5,
            candidate=ArmEvents(units=50_000, events={"click": 5600, "slow": 2500, "error": 500}),
            champion=ArmEvents(units=50_000, events={"click": 5000, "slow": 2500, "error": 500}),
        )
    ]
    assert judge_rollout(plan(ERRORS, CLICKS, second), counts).outcome is Outcome.PASS


def test_a_split_that_is_off_never_passes_and_says_so() -> None:
    verdict = judged(500, 5600, 2500, split=(52_000, 48_000))
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reasons[0].startswith("split of units: the candidate has 52000 of 100000 requests, log evidence")


def test_a_split_that_is_off_does_not_hide_a_candidate_that_breaks_its_own_limit() -> None:
    verdict = judge_rollout(plan(BOUNDED), [step((3000, 52_000), (0, 48_000))])
    assert verdict.outcome is Outcome.FAIL
    assert judge_rollout(plan(ERRORS), [step((3000, 52_000), (10, 48_000))]).outcome is Outcome.UNKNOWN


def test_evidence_of_all_steps_is_put_together() -> None:
    steps = [step((8, 400), (60, 7600), weight=0.05), step((12, 600), (30, 3400), weight=0.15)]
    assert [judge_rollout(plan(ERRORS), [each]).outcome for each in steps] == [Outcome.UNKNOWN] * 2
    assert judge_rollout(plan(ERRORS), steps).outcome is Outcome.FAIL


def test_no_step_at_all_is_inconclusive() -> None:
    assert judge_rollout(plan(ERRORS), []).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("counts", "errors", "reason"),
    [
        (step((1, 9), (1, 9), event="slow"), {}, "errors: stage 1 has no count of error for the candidate"),
        (step((9, 1), (1, 9)), {}, "errors: stage 1 has 9 error among 1 units of the candidate"),
        (step((1, 9), (1, 9)), {"error": "no answer in 5 s"}, "errors: error could not be read: no answer in 5 s"),
    ],
)
def test_what_could_not_be_measured_is_an_error_and_no_verdict_on_the_candidate(
    counts: StageCounts, errors: dict[str, str], reason: str
) -> None:
    evidence = compute_evidence(plan(ERRORS), [counts], errors=errors)
    assert reason in evidence.faults
    verdict = judge_evidence(plan(ERRORS), evidence)
    assert verdict.outcome is Outcome.UNKNOWN
    assert reason in verdict.reasons


def test_a_metric_that_fails_outweighs_one_that_was_not_measured() -> None:
    counts = [step((900, 50_000), (500, 50_000))]
    assert judge_rollout(plan(ERRORS, SLOW), counts).outcome is Outcome.FAIL


def test_ways_to_fail_share_alpha_and_ways_to_pass_do_not() -> None:
    single, three = (
        judge_rollout(plan(*metrics), [step((0, 0), (0, 0))]) for metrics in ((ERRORS,), (ERRORS, SLOW, CLICKS))
    )
    assert metric_facts(single, "errors")["fail_needed"] == pytest.approx(2.9957, abs=1e-4)
    lone = judge_rollout(plan(ERRORS, SLOW | {"event": "error"}, BOUNDED), [step((500, 50_000), (500, 50_000))])
    assert metric_facts(lone, "errors")["fail_needed"] == pytest.approx(4.0943, abs=1e-4)
    assert metric_facts(lone, "errors")["pass_needed"] == pytest.approx(2.9957, abs=1e-4)
    assert three.outcome is Outcome.UNKNOWN


def test_a_verdict_says_the_counts_the_interval_the_evidence_and_the_limit() -> None:
    verdict = judge_rollout(plan(ERRORS), [step((700, 50_000), (500, 50_000))])
    assert verdict.reasons == (
        "errors: ratio to the champion 1.15 to 1.7, worse than 1 times (log evidence 14.89 >= 3.00)",
    )
    assert metric_facts(verdict, "errors")["candidate"] == 700
    assert verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_evidence_travels_as_json_without_a_loss() -> None:
    evidence = compute_evidence(plan(ERRORS, BOUNDED), [step((0, 50), (0, 50))])
    assert RolloutEvidence.model_validate_json(evidence.model_dump_json(by_alias=True)) == evidence


# ---- at the edges: evidence given as it is ------------------------------------------------------------------------


def given(*metrics: MetricEvidence, split: float = 0.0) -> RolloutEvidence:
    stages = [step((3, 1000), (5, 2000)), step((3, 1000), (5, 2000))]
    return RolloutEvidence(split_log_e=split, metrics=metrics, stages=stages, newest=2)


def own(above: float | None, below: float | None, **changes: Any) -> MetricEvidence:
    facts: dict[str, Any] = {"metric": "error_rate", "candidate_units": 100, "newest_candidate": (3, 1000)}
    return MetricEvidence(**(facts | {"above_log_e": above, "below_log_e": below} | changes))


def relative(worse: float | None, better: float | None, **changes: Any) -> MetricEvidence:
    facts: dict[str, Any] = {"metric": "errors", "candidate_units": 100, "champion_units": 100}
    facts |= {"ratio_low": 0.5, "ratio_high": 1.25}
    return MetricEvidence(**(facts | {"worse_log_e": worse, "pass_log_e": better} | changes))


SURE = math.log(20)


@pytest.mark.parametrize(
    ("evidence", "outcome", "reasons"),
    [
        (own(0.0, SURE), Outcome.PASS, ()),
        (
            own(0.0, SURE - 1e-9),
            Outcome.UNKNOWN,
            ("error_rate: 3 of 1000 requests of the candidate not shown < 0.02 (log evidence 3.00 < 3.00)",),
        ),
        (
            own(SURE, 9.0),
            Outcome.FAIL,
            ("error_rate: 3 of 1000 requests of the candidate > 0.02 (log evidence 3.00 >= 3.00)",),
        ),
        (own(SURE - 1e-9, SURE), Outcome.PASS, ()),
        (
            own(None, None),
            Outcome.UNKNOWN,
            ("error_rate: 3 of 1000 requests of the candidate not shown < 0.02 (log evidence 0.00 < 3.00)",),
        ),
        (own(9.0, 9.0, newest_candidate=None), Outcome.PASS, ()),
        (
            own(0.0, 9.0, candidate_units=99),
            Outcome.UNKNOWN,
            ("error_rate: too few requests (candidate 99, champion 0; 100 needed in each)",),
        ),
        (own(9.0, 0.0, faults=("lost",)), Outcome.UNKNOWN, ("error_rate: lost",)),
    ],
)
def test_a_limit_of_the_own_rate_is_decided_where_the_evidence_reaches_its_bound(
    evidence: MetricEvidence, outcome: Outcome, reasons: tuple[str, ...]
) -> None:
    verdict = judge_evidence(plan(BOUNDED), given(evidence))
    assert (verdict.outcome, verdict.reasons) == (outcome, reasons)


RATIO = "errors: ratio to the champion 0.5 to 1.25"


@pytest.mark.parametrize(
    ("evidence", "outcome", "reasons"),
    [
        (relative(0.0, SURE), Outcome.PASS, ()),
        (
            relative(0.0, SURE - 1e-9),
            Outcome.UNKNOWN,
            (f"{RATIO}, not shown within 1.5 times (log evidence 3.00 < 3.00)",),
        ),
        (relative(SURE, 9.0), Outcome.FAIL, (f"{RATIO}, worse than 1 times (log evidence 3.00 >= 3.00)",)),
        (relative(SURE - 1e-9, 9.0), Outcome.PASS, ()),
        (relative(None, None), Outcome.PASS, ()),
        (relative(0.0, 9.0, newest_candidate=(3, 1000)), Outcome.PASS, ()),
        (
            relative(0.0, 1.0, candidate_units=99),
            Outcome.UNKNOWN,
            (
                "errors: too few requests (candidate 99, champion 100; 100 needed in each)",
                f"{RATIO}, not shown within 1.5 times (log evidence 1.00 < 3.00)",
            ),
        ),
        (
            relative(9.0, 0.0, ratio_low=None, ratio_high=None),
            Outcome.FAIL,
            ("errors: ratio to the champion 0 to inf, worse than 1 times (log evidence 9.00 >= 3.00)",),
        ),
        (
            relative(0.0, 9.0, champion_units=99),
            Outcome.UNKNOWN,
            ("errors: too few requests (candidate 100, champion 99; 100 needed in each)",),
        ),
        (
            relative(0.0, 9.0, candidate_units=99),
            Outcome.UNKNOWN,
            ("errors: too few requests (candidate 99, champion 100; 100 needed in each)",),
        ),
    ],
)
def test_a_comparison_is_decided_where_the_evidence_reaches_its_bound(
    evidence: MetricEvidence, outcome: Outcome, reasons: tuple[str, ...]
) -> None:
    verdict = judge_evidence(plan(ERRORS), given(evidence))
    assert (verdict.outcome, verdict.reasons) == (outcome, reasons)


def test_a_metric_without_a_fail_ratio_is_never_shown_worse() -> None:
    limits = ERRORS | {"fail_ratio": None}
    both = given(relative(99.0, 9.0), own(0.0, 9.0))
    assert judge_evidence(plan(limits, BOUNDED), both).outcome is Outcome.PASS


def test_a_success_metric_is_shown_better() -> None:
    verdict = judge_evidence(plan(CLICKS), given(relative(0.0, 1.0, metric="clicks")))
    assert "not shown better (log evidence 1.00 < 3.00)" in verdict.reasons[0]


@pytest.mark.parametrize(("split", "outcome"), [(math.log(1000), Outcome.UNKNOWN), (6.9, Outcome.PASS)])
def test_a_split_is_refuted_where_its_evidence_reaches_its_bound(split: float, outcome: Outcome) -> None:
    verdict = judge_evidence(plan(ERRORS), given(relative(0.0, 9.0), split=split))
    assert verdict.outcome is outcome
    if outcome is Outcome.UNKNOWN:
        assert verdict.reasons == (
            "split of units: the candidate has 2000 of 6000 requests, log evidence 6.91 >= 6.91 of a mismatch",
            "errors: the arms cannot be compared, because the units were not split as declared",
        )


def test_with_a_refuted_split_an_own_rate_alone_is_known_and_the_split_is_still_a_reason() -> None:
    verdict = judge_evidence(plan(BOUNDED), given(own(0.0, 9.0), split=7.0))
    assert (verdict.outcome, len(verdict.reasons)) == (Outcome.UNKNOWN, 1)
    failed = judge_evidence(plan(BOUNDED), given(own(9.0, 0.0), split=7.0))
    assert (failed.outcome, len(failed.reasons)) == (Outcome.FAIL, 2)


@pytest.mark.parametrize(
    ("clicks", "second", "errors", "outcome"),
    [
        (9.0, 0.0, 9.0, Outcome.PASS),
        (0.0, 9.0, 9.0, Outcome.PASS),
        (0.0, 0.0, 9.0, Outcome.UNKNOWN),
        (9.0, 9.0, 0.0, Outcome.UNKNOWN),
    ],
)
def test_all_guardrails_and_any_success_metric_have_to_pass(
    clicks: float, second: float, errors: float, outcome: Outcome
) -> None:
    limits = plan(ERRORS, CLICKS, CLICKS | {"name": "more", "event": "slow"})
    metrics = (relative(0.0, errors), relative(0.0, clicks, metric="clicks"), relative(0.0, second, metric="more"))
    verdict = judge_evidence(limits, given(*metrics))
    assert verdict.outcome is outcome
    assert bool(verdict.reasons) is (outcome is Outcome.UNKNOWN)


def test_the_facts_give_each_metrics_evidence_and_what_it_needs() -> None:
    verdict = judge_evidence(plan(ERRORS, BOUNDED), given(relative(0.0, 9.0), own(0.0, 9.0)))
    errors, rate = metric_facts(verdict, "errors"), metric_facts(verdict, "error_rate")
    assert (errors["pass_ratio"], errors["fail_ratio"], "max_rate" in errors) == (1.5, 1.0, False)
    assert errors["fail_needed"] == pytest.approx(math.log(2 / 0.05))
    assert ("above_log_e" in errors, "worse_log_e" in rate) == (False, False)
    assert (rate["max_rate"], "pass_ratio" in rate, "newest_candidate" in rate) == (0.02, False, False)
    assert verdict.facts["split_needed"] == pytest.approx(math.log(1000))
