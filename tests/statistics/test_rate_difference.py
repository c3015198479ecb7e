"""The bounds of a rate end where the evidence does; a difference of rates has the sign of their comparison."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, special

from pipelines.statistics.e_values import StageEvents, log_e_value, rate_ratio_interval
from pipelines.statistics.rate_difference import rate_difference, rate_interval


@pytest.mark.parametrize(("bad", "total"), [(10, 1000), (500, 1000), (990, 1000), (3, 5)])
def test_a_rate_is_kept_up_to_where_the_evidence_against_it_reaches_its_bound(bad: int, total: int) -> None:
    for end in rate_interval(bad, total):
        evidence = log_e_value(bad, total, end, alternative="two-sided")
        assert evidence == pytest.approx(math.log(20), abs=1e-4)
    low, high = rate_interval(bad, total)
    assert low < bad / total < high


def test_the_ends_are_open_where_no_event_or_nothing_else_was_seen() -> None:
    assert rate_interval(0, 0) == (0.0, 1.0)
    assert rate_interval(0, 1000)[0] == 0.0
    assert rate_interval(1000, 1000)[1] == 1.0
    assert rate_interval(0, 1000)[1] < 0.01
    assert rate_interval(0, 100_000)[1] < rate_interval(0, 1000)[1]


def bounds(candidate: int, champion: int, units: int = 10_000) -> tuple[float, float]:
    difference = rate_difference([StageEvents(0.5, candidate, champion)], (candidate, units), (champion, units))
    return difference.low, difference.high


def test_the_difference_excludes_zero_exactly_where_the_comparison_of_the_events_does() -> None:
    for candidate, champion in ((60, 10), (10, 60), (20, 18), (35, 10)):
        low, high = bounds(candidate, champion)
        ratio = rate_ratio_interval([StageEvents(0.5, candidate, champion)], alpha=0.05 / 3)
        assert (low > 0) == (ratio[0] > 1)
        assert (high < 0) == (ratio[1] < 1)
    assert bounds(60, 10)[0] > 0 > bounds(10, 60)[1]


def test_two_arms_without_an_event_are_shown_to_be_close() -> None:
    low, high = bounds(0, 0)
    assert -0.001 < low < 0 < high < 0.001
    assert rate_difference([], (0, 0), (0, 0)).low == -1.0


def test_a_split_that_changed_while_the_base_rate_moved_makes_no_difference_of_equal_arms() -> None:
    """Nine tenths of the candidate's users come on a bad day; by totals alone it would look eight times as bad."""
    difference = rate_difference([StageEvents(0.1, 1, 9), StageEvents(0.9, 900, 100)], (901, 10_000), (109, 10_000))
    assert difference.low < 0 < difference.high


def test_the_true_difference_is_covered_at_every_look() -> None:
    rng, missed, runs = np.random.default_rng(21), 0, 20
    for _ in range(runs):
        candidate, champion = (np.cumsum(rng.random(4000) < rate) for rate in (0.03, 0.05))
        for units in (1000, 4000):
            x, y = int(candidate[units - 1]), int(champion[units - 1])
            difference = rate_difference([StageEvents(0.5, x, y)], (x, units), (y, units))
            if not difference.low <= -0.02 <= difference.high:
                missed += 1
                break
    assert missed / runs <= 0.05


def ends_by_closed_form(bad: int, total: int, alpha: float) -> tuple[float, float]:
    def excess(limit: float) -> float:
        a, b = 10 * limit, 10 * (1 - limit)
        mixture = special.betaln(a + bad, b + total - bad) - special.betaln(a, b)
        return float(mixture - bad * math.log(limit) - (total - bad) * math.log1p(-limit) + math.log(alpha))

    middle = min(max(bad / total, 0.5 / (total + 1)), 1 - 0.5 / (total + 1))
    low = optimize.brentq(excess, 1e-9, middle, xtol=1e-13) if excess(1e-9) > 0 else 0.0
    high = optimize.brentq(excess, middle, 1 - 1e-9, xtol=1e-13) if excess(1 - 1e-9) > 0 else 1.0
    return low, high


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize(("bad", "total"), [(0, 1), (1, 1), (0, 50), (1, 50), (25, 50), (49, 50), (50, 50), (30, 9000)])
def test_the_bounds_of_a_rate_are_those_of_the_closed_form(bad: int, total: int, alpha: float) -> None:
    assert rate_interval(bad, total, alpha=alpha) == pytest.approx(ends_by_closed_form(bad, total, alpha), abs=5e-9)


@pytest.mark.parametrize(
    ("candidate", "champion"),
    [((60, 1000), (10, 1000)), ((10, 1000), (60, 1000)), ((0, 500), (3, 900)), ((0, 500), (0, 400)), ((5, 5), (1, 9))],
)
@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_the_difference_is_bounded_by_the_ratio_and_by_both_rates_at_a_third_of_alpha_each(
    candidate: tuple[int, int], champion: tuple[int, int], alpha: float
) -> None:
    stages = [StageEvents(0.5, candidate[0], champion[0])]
    mine, theirs = rate_interval(*candidate, alpha=alpha / 3), rate_interval(*champion, alpha=alpha / 3)
    low, high = rate_ratio_interval(stages, alpha=alpha / 3)
    by_ratio = [rate * (ratio - 1) for rate in theirs for ratio in (low, high) if rate or math.isfinite(ratio)]
    result = rate_difference(stages, candidate, champion, alpha=alpha)
    assert result.estimate == pytest.approx(candidate[0] / candidate[1] - champion[0] / champion[1])
    assert result.low == pytest.approx(max(-1.0, min(by_ratio), mine[0] - theirs[1]))
    assert result.high == pytest.approx(min(1.0, max(by_ratio), mine[1] - theirs[0]))


@pytest.mark.parametrize(("candidate", "champion"), [((0, 0), (0, 9)), ((0, 9), (0, 0)), ((0, 0), (0, 0))])
def test_an_arm_without_a_unit_has_no_difference_and_no_bound_of_its_own(
    candidate: tuple[int, int], champion: tuple[int, int]
) -> None:
    result = rate_difference([], candidate, champion)
    assert math.isnan(result.estimate)
    assert -1.0 <= result.low < 0 < result.high <= 1.0


def test_where_the_two_intervals_contradict_each_other_the_ratio_decides() -> None:
    stages = [StageEvents(0.5, 1000, 10)]
    result = rate_difference(stages, (10, 10_000), (1000, 10_000))
    ratio = rate_ratio_interval(stages, alpha=0.05 / 3)
    theirs = rate_interval(1000, 10_000, alpha=0.05 / 3)
    assert result.low == pytest.approx(theirs[0] * (ratio[0] - 1))
    assert (result.high, result.low > 0) == (1.0, True)
