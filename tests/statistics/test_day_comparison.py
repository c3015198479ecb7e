"""Day values are compared with the errors that are promised: intervals cover, and calm years raise few alarms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pipelines.statistics.day_comparison import (
    ALARM_LIMITS,
    CERTIFICATE_DAYS,
    LossSum,
    autocorrelation,
    difference_of_days,
    sum_of_losses,
    yearly_error,
)

Floats = NDArray[np.float64]
YEAR = 365


def days(rng: np.random.Generator, count: int, phi: float = 0.0) -> Floats:
    """Day values of deviation 1 that remember the day before by ``phi``."""
    noise = rng.normal(size=count)
    values = np.empty(count)
    values[0] = noise[0]
    for day in range(1, count):
        values[day] = phi * values[day - 1] + np.sqrt(1 - phi**2) * noise[day]
    return values


def test_without_memory_the_interval_is_that_of_welch_with_the_fewer_days() -> None:
    former, later = [1.0, 3.0, 1.0, 3.0, 1.0, 3.0], [2.0, 0.0, 2.0, 0.0]
    found = difference_of_days(former, later)
    assert found is not None
    error = np.sqrt(np.var(former, ddof=1) / 6 + np.var(later, ddof=1) / 4)
    assert (found.mean, found.autocorrelation) == (-1.0, 0.0)
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, 3) * error)


def test_a_single_day_has_no_interval() -> None:
    assert difference_of_days([1.0, 2.0], [1.0]) is None
    assert difference_of_days([], []) is None


def test_days_that_follow_one_another_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    former, later = days(rng, 400, 0.6), days(rng, 400, 0.6)
    found = difference_of_days(former.tolist(), later.tolist())
    assert found is not None
    assert found.autocorrelation == pytest.approx(0.6, abs=0.1)
    plain = np.sqrt(np.var(former, ddof=1) / 400 + np.var(later, ddof=1) / 400) * 1.966
    phi = found.autocorrelation
    assert found.half_width == pytest.approx(plain * np.sqrt((1 + phi) / (1 - phi)), rel=0.01)
    assert autocorrelation([np.array([1.0, -1.0] * 20)]) == 0.0
    assert autocorrelation([np.arange(50.0)]) == 0.8
    assert autocorrelation([np.ones(5)]) == 0.0


@pytest.mark.parametrize(("phi", "least"), [(0.0, 0.93), (0.14, 0.92), (0.3, 0.88)])
def test_the_interval_covers_the_true_difference(phi: float, least: float) -> None:
    rng = np.random.default_rng(2)
    repeats, covered = 2000, 0
    for _ in range(repeats):
        found = difference_of_days(days(rng, 40, phi).tolist(), days(rng, 28, phi).tolist())
        assert found is not None
        covered += abs(found.mean) <= found.half_width
    assert covered / repeats >= least


@pytest.mark.parametrize("phi", [0.0, 0.3])
@pytest.mark.parametrize("certificate_days", [14, 40])
def test_in_at_most_one_calm_year_of_ten_there_is_a_false_alarm(certificate_days: int, phi: float) -> None:
    """By the sum of losses or by the interval; three standard errors of 150 years are 0.07."""
    rng = np.random.default_rng(3)
    years, alarms = 150, 0
    error = yearly_error(28)
    for _ in range(years):
        certificate, live = days(rng, certificate_days, phi), days(rng, YEAR, phi)
        losses = sum_of_losses(certificate.tolist(), live.tolist())
        assert losses is not None
        alarm = bool((losses.sums > losses.limit).any())
        for last in range(28, YEAR, 7):
            found = difference_of_days(certificate.tolist(), live[last - 28 : last].tolist(), 1 - 2 * error)
            assert found is not None
            alarm = alarm or found.mean + found.half_width < 0
        alarms += alarm
    assert alarms / years <= 0.10 + 0.07


def test_a_large_loss_is_found_within_weeks_and_its_first_day_is_named() -> None:
    rng = np.random.default_rng(4)
    delays = []
    for _ in range(200):
        certificate = days(rng, 40, 0.14)
        live = np.concatenate([days(rng, 30, 0.14), days(rng, 60, 0.14) - 1.0])  # 0.08 of AUC where a day's sd is 0.083
        losses = sum_of_losses(certificate.tolist(), live.tolist())
        assert losses is not None
        late = np.flatnonzero(losses.sums[30:] > losses.limit)
        delays.append(late[0] + 1 if len(late) else np.inf)
    assert np.mean(np.isfinite(delays)) >= 0.85
    assert np.median(delays) <= 30
    certificate = [0.0, 1.0] * 20
    since = sum_of_losses(certificate, [0.5] * 10 + [-3.0] * 8)
    assert since is not None
    assert since.since == 10
    assert sum_of_losses(certificate, [0.5] * 10).since is None  # type: ignore[union-attr]
    assert LossSum(np.array([0.0, 1.0, 0.0]), 10.0).since is None


def test_one_terrible_day_alone_is_no_alarm() -> None:
    losses = sum_of_losses([0.0, 1.0] * 20, [-1e9, 0.5, 0.5])
    assert losses is not None
    assert losses.sums[0] == pytest.approx(2.2)
    assert losses.sums.max() < losses.limit


@pytest.mark.parametrize(
    ("certificate_days", "limit"), [*zip(CERTIFICATE_DAYS, ALARM_LIMITS, strict=True), (35, 11.25)]
)
def test_the_limit_follows_the_days_of_the_certificate(certificate_days: int, limit: float) -> None:
    losses = sum_of_losses(np.arange(certificate_days).tolist(), [])
    assert losses is not None
    assert (losses.limit, losses.since) == (limit, None)


def test_the_limit_of_a_long_certificate_is_that_of_ninety_days_and_a_short_one_has_no_sum() -> None:
    long = sum_of_losses(np.arange(400).tolist(), [])
    assert long is not None
    assert long.limit == 9.5
    assert sum_of_losses(np.arange(13).tolist(), [1.0]) is None


def test_a_certificate_whose_days_are_all_alike_counts_every_worse_day_in_full() -> None:
    losses = sum_of_losses([1.0] * 20, [0.9, 1.0, 1.1])
    assert losses is not None
    assert losses.sums.tolist() == pytest.approx([2.2, 1.9, 1.6])
