"""Forty calm years raise no alarm, whatever their season and memory; a column that breaks is found in two days."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.steps.drift.shifts import MINIMUM_HISTORY_DAYS, Series, Shift, find_slow_shifts, find_sudden_shifts

Floats = NDArray[np.float64]
FIRST = date(2013, 1, 1)
DAYS_BEFORE = 60
YEARS, COLUMNS = 40, 20


def autoregression(rng: np.random.Generator, days: int, columns: int, phi: float) -> Floats:
    """Columns of deviation 1 that remember the day before by ``phi``."""
    values = np.empty((days, columns))
    values[0] = rng.normal(size=columns)
    for day in range(1, days):
        values[day] = phi * values[day - 1] + np.sqrt(1 - phi**2) * rng.normal(size=columns)
    return values


def stream(kind: str, columns: int, days: int = DAYS_BEFORE + 365, seed: int = 1) -> Floats:
    """Daily means of 900 rows, in deviations of a row."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1 / 30, (days, columns))
    if kind == "independent":
        return noise + rng.normal(0, 0.1, (days, columns))
    if kind == "weekly":
        weekday = np.arange(days) % 7
        return noise + rng.normal(0, 0.5, (7, columns))[weekday] + rng.normal(0, 0.05, (days, columns))
    season = np.sin(2 * np.pi * (np.arange(days)[:, None] / 365 + rng.random(columns)))
    memory = 0.5 * autoregression(rng, days, columns, 0.9)
    return noise + memory + (season if kind == "seasonal" else 0.0)


def series(values: Floats, first: date = FIRST) -> Series:
    columns = values.shape[1]
    return Series(
        days=[first + timedelta(days=number) for number in range(len(values))],
        values=values,
        floors=np.full(columns, 0.02),
        levels=values,
        smallest_moves=np.zeros(columns),
    )


KINDS = ["independent", "weekly", "autoregressive", "seasonal"]


@pytest.mark.parametrize("kind", KINDS)
def test_forty_calm_years_of_twenty_columns_raise_no_fault(kind: str) -> None:
    calm = series(stream(kind, YEARS * COLUMNS))
    assert not find_sudden_shifts(calm, followed_days=365).shifted.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_calm_year_gives_few_columns_to_watch(kind: str) -> None:
    """At most one in three years of twenty columns."""
    columns, days = 6 * COLUMNS, 365
    values = stream(kind, columns, seed=2)
    told: set[tuple[int, int]] = set()
    for last in range(DAYS_BEFORE, DAYS_BEFORE + days):
        part = series(values[last - DAYS_BEFORE - 3 : last + 1], FIRST + timedelta(days=last - DAYS_BEFORE - 3))
        nothing = np.zeros(part.values.shape, dtype=bool)
        told |= {(shift.statistic, last // 14) for shift in find_slow_shifts(part, nothing)}
    assert len(told) <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_several_daily_changes_is_found_on_its_second_day(kind: str) -> None:
    values = stream(kind, 200, seed=3)[:100]
    values[98:] += 12 * np.diff(values[:98], axis=0).std(axis=0)
    found = find_sudden_shifts(series(values)).open
    assert len(found) >= 196
    assert {shift.since for shift in found} == {98}
    assert all(shift.size >= 5 for shift in found)


def broken(days: int, back: int = 0, step: float = 3.0) -> tuple[list[Shift], NDArray[np.bool_]]:
    """One column that breaks for ``days`` and is well again for ``back``, up to the last day."""
    values = stream("autoregressive", 1, seed=4)[: 90 + days + back]
    values[90 : 90 + days] += step
    found = find_sudden_shifts(series(values))
    return found.open, found.shifted


@pytest.mark.parametrize("days", [2, 3, 10, 25])
def test_a_column_stays_broken_for_as_long_as_it_is(days: int) -> None:
    [shift], shifted = broken(days)
    assert shift.since == 90
    assert shifted[:, 0].nonzero()[0].tolist() == list(range(90, 90 + days))


@pytest.mark.parametrize("back", [1, 2, 5])
def test_the_way_back_is_no_second_fault_and_ends_the_first(back: int) -> None:
    found, _ = broken(5, back)
    assert found == []


def test_one_strange_day_alone_is_no_fault() -> None:
    found, _ = broken(1)
    assert found == []
    found, _ = broken(1, back=1)
    assert found == []


def test_a_day_without_a_value_neither_breaks_a_column_nor_hides_that_it_is_broken() -> None:
    values = stream("autoregressive", 2, seed=4)[:95]
    values[90:, 0] += 3.0
    values[93] = np.nan
    [shift] = find_sudden_shifts(series(values)).open
    assert (shift.statistic, shift.since) == (0, 90)


def test_with_too_short_a_past_nothing_is_judged() -> None:
    values = stream("independent", 1)[: MINIMUM_HISTORY_DAYS + 2]
    values[-2:] += 50
    assert len(find_sudden_shifts(series(values)).open) == 1
    assert find_sudden_shifts(series(values[1:])).open == []


def test_a_statistic_with_a_smallest_move_must_move_by_it() -> None:
    values = stream("independent", 1)[:90]
    values[-2:] += 3
    small = series(values)
    for level, count in ((0.02, 0), (0.04, 1)):
        levels = np.zeros((90, 1))
        levels[-2:] = level
        moved = Series(small.days, small.values, small.floors, levels, np.array([0.03]))
        assert len(find_sudden_shifts(moved).open) == count


def test_a_mean_that_stays_away_for_a_week_is_to_watch() -> None:
    values = stream("independent", 50, seed=5)[:90]
    values[-7:, :25] += 0.6
    part = series(values)
    told = find_slow_shifts(part, find_sudden_shifts(part).shifted)
    assert {shift.statistic for shift in told} >= set(range(20))
    assert all(shift.statistic < 25 and shift.size > 0 for shift in told)
