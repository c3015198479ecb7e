"""Arms are compared at their declared weights, over all steps, and a thousand equal rollouts are left in peace."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.errors import Refused
from pipelines.statistics.e_values import (
    SPLIT_CONCENTRATION,
    StageEvents,
    log_e_disagreement,
    log_e_rate_ratio,
    log_e_sample_ratio,
    log_e_since_any_stage,
    log_e_value,
    log_e_values,
    rate_ratio_interval,
)
from tests.rollout.simulated import (
    events,
    evidence_of_fault,
    evidence_of_ratio,
    evidence_of_threshold,
    found_at,
    sticky_keys,
)

RUNS = 1000


def test_equal_rates_put_an_event_in_the_candidate_with_its_weight_and_a_margin_shifts_that() -> None:
    assert log_e_rate_ratio([StageEvents(0.05, 15, 95)]) == pytest.approx(log_e_value(15, 110, 0.05))
    shifted = 0.05 * 1.5 / (0.05 * 1.5 + 0.95)
    assert log_e_rate_ratio([StageEvents(0.05, 15, 95)], margin=1.5) == pytest.approx(log_e_value(15, 110, shifted))


def test_evidence_of_steps_with_different_weights_is_multiplied() -> None:
    steps = [StageEvents(0.05, 15, 95), StageEvents(0.25, 40, 90), StageEvents(0.5, 0, 0)]
    assert log_e_rate_ratio(steps) == pytest.approx(sum(log_e_rate_ratio([step]) for step in steps))
    assert log_e_rate_ratio([]) == 0.0


def test_the_stake_is_shared_among_the_stages_with_which_a_fault_may_begin() -> None:
    assert log_e_since_any_stage([], stages=3) == pytest.approx(0.0)
    assert log_e_since_any_stage([2.0], stages=1) == pytest.approx(2.0)
    good, bad = -5.0, 8.0
    late = math.log((math.exp(good + bad) + math.exp(bad) + 1) / 3)
    assert log_e_since_any_stage([good, bad], stages=3) == pytest.approx(late)
    assert log_e_since_any_stage([-50.0] * 5, stages=6) == pytest.approx(-math.log(6)), "the last share is still there"


def test_a_fault_that_begins_late_is_found_although_the_stages_before_were_good() -> None:
    rng, needed = np.random.default_rng(21), math.log(20)
    good = events(
        rng, 200, rate=0.01, ratio=0.6, stages=[(weight, 15_000) for weight in (0.05, 0.15, 0.25, 0.35, 0.45)]
    )
    runs = [*good, *events(rng, 200, rate=0.01, ratio=2.0, stages=[(0.5, 15_000)])]
    assert (evidence_of_ratio(runs) >= needed).any(axis=1).mean() < 0.5, "as a product over all stages"
    found = evidence_of_fault(runs)
    assert (found >= needed).any(axis=1).mean() >= 0.85
    of_run = [log_e_rate_ratio([StageEvents(weight, x[7, -1], y[7, -1])]) for weight, _, x, y in runs]
    assert found[7, -1] == pytest.approx(log_e_since_any_stage(of_run, stages=6))


@pytest.mark.parametrize(("weight", "margin"), [(0.0, 1.0), (1.0, 1.0), (0.5, 0.0), (0.5, math.nan)])
def test_a_comparison_without_two_arms_or_a_margin_is_refused(weight: float, margin: float) -> None:
    with pytest.raises(Refused):
        log_e_rate_ratio([StageEvents(weight, 1, 2)], margin=margin)


def test_the_interval_ends_where_the_evidence_against_the_ratio_reaches_its_bound() -> None:
    steps = [StageEvents(0.05, 15, 95), StageEvents(0.25, 40, 90)]
    for end in rate_ratio_interval(steps):
        assert log_e_rate_ratio(steps, margin=end, alternative="two-sided") == pytest.approx(math.log(20), abs=1e-5)
    low, high = rate_ratio_interval(steps)
    wider = rate_ratio_interval(steps, alpha=0.01)
    assert wider[0] < low < 1.5 < high < wider[1]


def test_the_interval_of_a_hundred_million_events_is_narrow_and_about_the_ratio() -> None:
    low, high = rate_ratio_interval([StageEvents(0.5, 60_000_000, 40_000_000)])
    assert 1.498 < low < 1.5 < high < 1.502


def test_steps_that_contradict_each_other_leave_a_point_between_them() -> None:
    low, high = rate_ratio_interval([StageEvents(0.5, 5000, 1000), StageEvents(0.5, 1000, 5000)])
    assert 0.2 < low <= high < 5


def test_without_events_in_an_arm_the_interval_is_open_on_its_side() -> None:
    assert rate_ratio_interval([StageEvents(0.5, 0, 0)]) == (0.0, math.inf)
    assert rate_ratio_interval([StageEvents(0.5, 0, 90)])[0] == 0.0
    assert rate_ratio_interval([StageEvents(0.5, 90, 0)])[1] == math.inf


def test_the_interval_covers_the_true_ratio_at_every_look() -> None:
    missed = 0
    for _, _, worse, usual in events(np.random.default_rng(2), 60, rate=0.02, ratio=2.0, stages=((0.2, 10_000),)):
        for run in range(60):
            looks = zip(worse[run, 9::30].tolist(), usual[run, 9::30].tolist(), strict=True)
            ends = [rate_ratio_interval([StageEvents(0.2, *look)]) for look in looks]
            missed += any(not low <= 2.0 <= high for low, high in ends)
    assert missed / 60 <= 0.05


def test_a_thousand_equal_rollouts_in_steps_are_rolled_back_in_at_most_five_of_a_hundred() -> None:
    for swing in (0.0, 0.8):
        runs = events(np.random.default_rng(11), RUNS, rate=0.01, swing=swing)
        assert np.isfinite(found_at(evidence_of_ratio(runs))).mean() <= 0.05


def test_a_fixed_test_that_is_peeked_at_rolls_back_equal_rollouts_far_more_often() -> None:
    ((weight, canary, worse, usual),) = events(np.random.default_rng(11), RUNS, rate=0.01, stages=((0.05, 20_000),))
    requests = 100 * np.arange(1, canary.shape[1] + 1)
    pooled = np.clip((worse + usual) / requests, 1e-9, 1)
    error = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(canary, 1) + 1 / (requests - canary)))
    z = (worse / np.maximum(canary, 1) - usual / (requests - canary)) / error
    assert ((z > 1.645).any(axis=1)).mean() > 0.25
    assert np.isfinite(found_at(evidence_of_ratio([(weight, canary, worse, usual)]))).mean() <= 0.05


def test_three_times_the_errors_at_five_percent_are_found_within_ten_thousand_requests() -> None:
    for swing in (0.0, 0.8):
        runs = events(np.random.default_rng(12), RUNS, rate=0.02, ratio=3.0, stages=((0.05, 10_000),), swing=swing)
        assert np.isfinite(found_at(evidence_of_ratio(runs))).mean() >= 0.95


def test_three_times_one_percent_is_found_in_that_time_by_the_canary_that_grows() -> None:
    """At 5 % for good, 10,000 requests hold 15 of its errors: even a test looked at once finds 94 of a hundred."""
    runs = events(np.random.default_rng(13), RUNS, rate=0.01, ratio=3.0)
    assert (found_at(evidence_of_ratio(runs)) <= 10_000).mean() >= 0.95


def test_an_absolute_threshold_holds_its_error_rate_and_finds_twice_as_much() -> None:
    stages = ((0.5, 20_000),)
    kept = events(np.random.default_rng(14), RUNS, rate=0.01, stages=stages)
    assert np.isfinite(found_at(evidence_of_threshold(kept, 0.01))).mean() <= 0.05
    broken = events(np.random.default_rng(15), RUNS, rate=0.02, stages=stages)
    assert np.isfinite(found_at(evidence_of_threshold(broken, 0.01))).mean() >= 0.99


def test_a_split_as_declared_is_left_alone_and_a_broken_one_is_found() -> None:
    rng = np.random.default_rng(16)
    looks = 100 * np.arange(1, 201)
    for truth, low, high in ((0.10, 0.0, 0.001), (0.12, 0.99, 1.0)):
        candidate = np.cumsum(rng.binomial(100, truth, (RUNS, 200)), axis=1)
        paths = log_e_values(candidate, looks, 0.10, alternative="two-sided", concentration=SPLIT_CONCENTRATION)
        assert low <= np.isfinite(found_at(paths, alpha=0.001)).mean() <= high
    assert log_e_sample_ratio([StageEvents(0.1, 1200, 8800)]) == pytest.approx(
        log_e_value(1200, 10_000, 0.1, alternative="two-sided", concentration=100.0)
    )


def test_sticky_heavy_users_deceive_a_test_on_requests_and_not_one_on_keys() -> None:
    rng, weight, runs = np.random.default_rng(17), 0.5, 200
    alarms = {"errors by request": 0, "split by request": 0, "errors by key": 0, "split by key": 0}
    for _ in range(runs):
        asked, failed, candidate = sticky_keys(rng, keys=2000, sigma=1.5, weight=weight, requests=20_000, rate=0.05)
        arm = candidate[asked]
        new = np.zeros(len(asked), dtype=bool)
        new[np.unique(asked, return_index=True)[1]] = True
        bad = np.flatnonzero(failed)
        fresh = np.zeros(len(asked), dtype=bool)
        fresh[bad[np.unique(asked[bad], return_index=True)[1]]] = True
        for name, counted, alpha in (
            ("errors by request", failed > 0, 0.05),
            ("split by request", np.ones(len(asked), dtype=bool), 0.001),
            ("errors by key", fresh, 0.05),
            ("split by key", new, 0.001),
        ):
            totals = np.cumsum(counted)[99::100]
            ours = np.cumsum(counted & arm)[99::100]
            k = SPLIT_CONCENTRATION if name.startswith("split") else 10.0
            paths = log_e_values(ours, totals, weight, alternative="two-sided", concentration=k)
            alarms[name] += bool(np.any(paths >= math.log(1 / alpha)))
    assert alarms["errors by key"] / runs <= 0.05
    assert alarms["split by key"] == 0
    assert alarms["errors by request"] / runs > 0.10
    assert alarms["split by request"] / runs > 0.50


def test_keys_that_stay_with_a_growing_candidate_count_once_in_the_whole_rollout() -> None:
    rng, runs, alarms = np.random.default_rng(19), 200, 0
    for _ in range(runs):
        activity, propensity, place = (
            rng.lognormal(0, 1.5, 500),
            np.minimum(rng.gamma(0.5, 0.2, 500), 1),
            rng.random(500),
        )
        failed_before, steps, highest = np.zeros(500, dtype=bool), [], 0.0
        for weight in (0.05, 0.15, 0.25, 0.5):
            asked = rng.choice(500, size=5000, p=activity / activity.sum())
            failing = np.unique(asked[rng.random(5000) < propensity[asked]])
            fresh = failing[~failed_before[failing]]
            failed_before[fresh] = True
            candidate = int((place[fresh] < weight).sum())
            steps.append(StageEvents(weight, candidate, len(fresh) - candidate))
            highest = max(highest, log_e_rate_ratio(steps))
        alarms += highest >= math.log(20)
    assert alarms / runs <= 0.05


def test_in_the_shadow_only_discordant_pairs_count_and_they_tell_sooner_than_two_arms() -> None:
    assert log_e_disagreement(0, 0) == 0.0
    assert log_e_disagreement(70, 30) == log_e_value(70, 100, 0.5)
    rng = np.random.default_rng(18)
    outcomes = rng.choice(3, p=[0.036, 0.024, 0.94], size=(RUNS, 8000))
    wrong, right = (np.cumsum(outcomes == kind, axis=1)[:, 99::100] for kind in (0, 1))
    found = found_at(log_e_values(wrong, wrong + right, 0.5))
    assert np.median(found) < 4000
