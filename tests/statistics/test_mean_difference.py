"""The bound on a difference of means holds at every look, and a covariate narrows it without moving it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.errors import Refused
from pipelines.statistics.mean_difference import Moments, cuped_coefficient, mean_difference


def moments(y: np.ndarray, x: np.ndarray | None = None) -> Moments:
    if x is None:
        return Moments(len(y), float(y.mean()), float(y.var(ddof=1)))
    covariance = float(np.cov(y, x)[0, 1])
    return Moments(len(y), float(y.mean()), float(y.var(ddof=1)), float(x.mean()), float(x.var(ddof=1)), covariance)


def test_the_half_width_is_the_one_of_the_formula() -> None:
    difference = mean_difference(Moments(400, 1.0, 2.0), Moments(600, 0.5, 3.0), alpha=0.05, tightest_at=1000)
    rho = math.sqrt((-2 * math.log(0.05) + math.log(-2 * math.log(0.05) + 1)) / 1000)
    s2, n = (2.0 / 400 + 3.0 / 600) * 1000, 1000
    inner = 2 * (n * rho**2 + 1) * math.log(math.sqrt(n * rho**2 + 1) / 0.05) / (n * rho) ** 2
    assert difference.estimate == pytest.approx(0.5)
    assert difference.high - difference.estimate == pytest.approx(math.sqrt(s2) * math.sqrt(inner), rel=1e-12)
    assert difference.estimate - difference.low == pytest.approx(difference.high - difference.estimate)


def test_no_look_at_two_equal_arms_excludes_zero_more_often_than_alpha() -> None:
    rng, runs, looks, size = np.random.default_rng(3), 400, 60, 50
    batches = rng.exponential(1.0, (2, runs, looks, size))
    totals = np.cumsum(batches.sum(axis=3), axis=2)
    squares = np.cumsum((batches**2).sum(axis=3), axis=2)
    missed = 0
    for run in range(runs):
        for look in range(looks):
            count = (look + 1) * size
            arms = []
            for arm in (0, 1):
                mean = totals[arm, run, look] / count
                variance = (squares[arm, run, look] - count * mean * mean) / (count - 1)
                arms.append(Moments(count, float(mean), float(variance)))
            difference = mean_difference(*arms, tightest_at=3000)
            if not difference.low <= 0 <= difference.high:
                missed += 1
                break
    assert missed / runs <= 0.05


def test_a_covariate_removes_the_variance_it_explains_and_keeps_the_effect() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(10, 2, (2, 20_000))
    y = 3 * x + rng.normal(0, 1, (2, 20_000)) + np.array([[0.1], [0.0]])
    plain = mean_difference(moments(y[0]), moments(y[1]), tightest_at=40_000)
    narrowed = mean_difference(moments(y[0], x[0]), moments(y[1], x[1]), tightest_at=40_000)
    assert cuped_coefficient(moments(y[0], x[0]), moments(y[1], x[1])) == pytest.approx(3.0, abs=0.02)
    explained = 1 - np.corrcoef(y[1], x[1])[0, 1] ** 2
    shrunk = (narrowed.high - narrowed.low) / (plain.high - plain.low)
    assert shrunk == pytest.approx(math.sqrt(explained), rel=0.03)
    assert narrowed.low <= 0.1 <= narrowed.high
    assert plain.low <= 0.0 <= plain.high
    assert narrowed.low > 0.0


@pytest.mark.parametrize("count", [0, 1])
def test_under_two_units_in_an_arm_nothing_is_known(count: int) -> None:
    difference = mean_difference(Moments(count, 0.0, 0.0), Moments(900, 0.0, 1.0), tightest_at=1000)
    assert (difference.low, difference.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(("alpha", "tightest_at"), [(0.0, 10), (1.0, 10), (0.05, 0)])
def test_what_cannot_be_is_refused(alpha: float, tightest_at: int) -> None:
    with pytest.raises(Refused):
        mean_difference(Moments(9, 0, 1), Moments(9, 0, 1), alpha=alpha, tightest_at=tightest_at)


def half_width(spread: float, n: int, alpha: float, tightest_at: int) -> float:
    """The formula of the paper, with ``rho`` in place of its square."""
    rho = math.sqrt((2 * math.log(1 / alpha) + math.log(2 * math.log(1 / alpha) + 1)) / tightest_at)
    root = math.sqrt(n * rho**2 + 1)
    return math.sqrt(spread) * math.sqrt(2) * root * math.sqrt(math.log(root / alpha)) / (n * rho)


@pytest.mark.parametrize(("alpha", "tightest_at"), [(0.05, 1000), (0.01, 1000), (0.2, 50), (0.05, 1)])
def test_the_width_follows_the_formula_at_every_level_and_horizon(alpha: float, tightest_at: int) -> None:
    result = mean_difference(Moments(300, 1.0, 2.0), Moments(100, 0.5, 5.0), alpha=alpha, tightest_at=tightest_at)
    half = half_width(400 * (2.0 / 300 + 5.0 / 100), 400, alpha, tightest_at)
    assert (result.estimate, result.low, result.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half), rel=1e-12)


def test_a_covariate_shifts_the_estimate_by_its_difference_and_narrows_the_width() -> None:
    candidate = Moments(101, 5.0, 9.0, 2.0, 4.0, 4.0)
    champion = Moments(201, 4.0, 8.0, 1.0, 2.0, 1.0)
    theta = (100 * 4.0 + 200 * 1.0) / (100 * 4.0 + 200 * 2.0)
    assert cuped_coefficient(candidate, champion) == pytest.approx(theta)
    result = mean_difference(candidate, champion, tightest_at=302)
    first, second = 9.0 - 2 * theta * 4.0 + theta**2 * 4.0, 8.0 - 2 * theta * 1.0 + theta**2 * 2.0
    half = half_width(302 * (first / 101 + second / 201), 302, 0.05, 302)
    assert result.estimate == pytest.approx(1.0 - theta * 1.0)
    assert result.high - result.estimate == pytest.approx(half, rel=1e-12)


def test_a_covariate_that_explains_everything_leaves_no_width_and_a_negative_rest_counts_as_none() -> None:
    exact = Moments(100, 3.0, 4.0, 1.0, 1.0, 2.0)
    result = mean_difference(exact, Moments(100, 1.0, 4.0, 0.0, 1.0, 2.0), tightest_at=200)
    assert (result.estimate, result.low, result.high) == (0.0, 0.0, 0.0)
    beyond = Moments(100, 3.0, 3.9, 1.0, 1.0, 2.0)
    assert mean_difference(beyond, beyond, tightest_at=200).high == 0.0


def test_a_covariate_that_does_not_vary_has_no_coefficient() -> None:
    assert cuped_coefficient(Moments(9, 1.0, 1.0), Moments(9, 1.0, 1.0)) == 0.0
    assert cuped_coefficient(Moments(9, 1.0, 1.0, 5.0, 0.0, 3.0), Moments(9, 1.0, 1.0)) == 0.0
    assert cuped_coefficient(Moments(9, 1.0, 1.0, 5.0, 0.5, 0.25), Moments(1, 1.0, 1.0)) == 0.5
    assert cuped_coefficient(Moments(2, 1.0, 1.0, 5.0, 0.5, 0.25), Moments(2, 1.0, 1.0)) == 0.5


@pytest.mark.parametrize(("candidate", "champion"), [(1, 900), (900, 1), (0, 0)])
def test_one_unit_in_either_arm_bounds_nothing_and_two_do(candidate: int, champion: int) -> None:
    unbounded = mean_difference(Moments(candidate, 0.0, 0.0), Moments(champion, 0.0, 1.0), tightest_at=1000)
    assert math.isnan(unbounded.estimate)
    assert (unbounded.low, unbounded.high) == (-math.inf, math.inf)
    assert math.isfinite(mean_difference(Moments(2, 0.0, 1.0), Moments(2, 0.0, 1.0), tightest_at=1).high)


@pytest.mark.parametrize("alpha", [1e-9, 0.999])
def test_every_level_between_0_and_1_has_an_interval(alpha: float) -> None:
    assert mean_difference(Moments(9, 0, 1), Moments(9, 0, 1), alpha=alpha, tightest_at=1).high > 0


def test_without_a_covariate_its_moments_are_zero() -> None:
    assert Moments(9, 1.0, 2.0) == Moments(9, 1.0, 2.0, x_mean=0.0, x_variance=0.0, covariance=0.0)
