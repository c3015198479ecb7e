"""Finds the days on which a daily statistic left its own recent past, allowing for weekdays and for autocorrelation.

Each statistic of a column (mean, spread, share of nulls, share of a category) is a series of one value a day. Its
history is described by weekday means and a first-order autoregression; a day is judged by its innovation, so a column
that wanders as weather does is compared with the day before and not with last month. The thresholds were chosen by
simulation (docs/statistics.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from pipelines.steps.drift.sketch import Floats

HISTORY_DAYS = 56
MINIMUM_HISTORY_DAYS = 28
FOLLOWED_DAYS = 28
"""A shift is open for so long at most; what lasts longer is the new normal."""
ALARM = 5.0
LARGEST_PAST_SHARE = 1 / 6
"""The scale is at least this share of the largest innovation of the history, so that spiky columns stay calm."""
LARGEST_PHI = 0.97
FITTED = 8
"""Seven weekday means and the autocorrelation, which are fitted to the days whose innovations are measured."""
WATCHED_DAYS = 7
WATCH_ALARM = 6.0
EQUAL_SIGNS = 6

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Series:
    """Daily statistics, each array days by statistics (or one value per statistic); NaN where a day has no value."""

    days: Sequence[date]
    values: Floats
    floors: Floats
    """The smallest scale of each statistic's innovations."""
    levels: Floats
    """What ``smallest_moves`` is measured on: the statistic before it was transformed."""
    smallest_moves: Floats


@dataclass(frozen=True)
class Shift:
    """A statistic that left its history. ``since``: row of the first day. ``size``: in usual daily changes, signed."""

    statistic: int
    since: int
    size: float


@dataclass(frozen=True)
class SuddenShifts:
    """``open``: those that last up to the last day. ``shifted``: the days of any shift, days by statistics."""

    open: list[Shift]
    shifted: Mask


@dataclass(frozen=True)
class _Past:
    """What the history of each statistic foretells."""

    weekday_means: Floats
    days: NDArray[np.int64]
    phi: Floats
    scale: Floats
    """Standard deviation of the innovations, at least the floor and a sixth of the largest."""
    deviation: Floats
    """Standard deviation of the innovations, at least the floor."""
    last: Floats
    """Deviation of the last known day from its weekday's mean."""
    last_row: NDArray[np.int64]
    level: Floats

    def innovation(self, value: Floats, weekday: int, row: int) -> Floats:
        """How far a day is from what the history foretells of it, in usual daily changes."""
        gap = np.maximum(row - self.last_row, 1)
        foretold = self.weekday_means[weekday] + self.phi**gap * self.last
        widening = np.sqrt((1 - self.phi ** (2 * gap)) / (1 - self.phi**2))
        innovation: Floats = (value - foretold) / (widening * self.scale)
        return innovation


def find_sudden_shifts(series: Series, followed_days: int = FOLLOWED_DAYS) -> SuddenShifts:
    """Statistics that left their past on two days in a row, both to one side, by ``ALARM`` usual changes.

    A shift is open until a day lies where the history before it foretells. Its days are left out of later histories, so
    that neither its going on nor its end looks like another one. Shifts that began in the last ``followed_days`` count.
    """
    rows, statistics = series.values.shape
    shifted = np.zeros((rows, statistics), dtype=bool)
    open_shifts: dict[int, tuple[Shift, _Past]] = {}
    for row in range(max(rows - followed_days, MINIMUM_HISTORY_DAYS + 1), rows):
        past, sizes, alarms = _sudden(series, row, shifted)
        for statistic, (shift, before) in list(open_shifts.items()):
            alarms[statistic] = False
            size = before.innovation(series.values[row], series.days[row].weekday(), row)[statistic]
            if np.isnan(size) or size * np.sign(shift.size) >= ALARM:
                shifted[row, statistic] = True
            else:
                del open_shifts[statistic]
        for statistic in np.flatnonzero(alarms).tolist():
            shifted[row - 1 : row + 1, statistic] = True
            open_shifts[statistic] = Shift(statistic, row - 1, float(sizes[statistic])), past
    return SuddenShifts([shift for shift, _ in open_shifts.values()], shifted)


def alarms_after_a_calm_past(series: Series, rows: Sequence[int]) -> Mask:
    """By row and statistic: whether ``find_sudden_shifts`` opens a shift on that day if it opened none before.

    A statistic without an alarm on any followed day has no open shift, so one pass serves the windows of many days.
    """
    days, statistics = series.values.shape
    calm, alarms = np.zeros((days, statistics), dtype=bool), np.zeros((len(rows), statistics), dtype=bool)
    for number, row in enumerate(rows):
        alarms[number] = _sudden(series, row, calm)[2]
    return alarms


def _sudden(series: Series, row: int, shifted: Mask) -> tuple[_Past, Floats, Mask]:
    """The past of a day and the one before it, how far the two are from it, and which statistics left it."""
    past = _describe(series, row - 1, shifted)
    first = past.innovation(series.values[row - 1], series.days[row - 1].weekday(), row - 1)
    second = past.innovation(series.values[row], series.days[row].weekday(), row)
    moves = np.minimum(abs(series.levels[row - 1] - past.level), abs(series.levels[row] - past.level))
    sizes = np.sign(first) * np.minimum(abs(first), abs(second))
    alarms = (abs(sizes) >= ALARM) & (np.sign(first) == np.sign(second)) & (moves >= series.smallest_moves)
    return past, sizes, alarms & (past.days >= MINIMUM_HISTORY_DAYS)


def find_slow_shifts(series: Series, shifted: Mask) -> list[Shift]:
    """Statistics whose mean over the last ``WATCHED_DAYS`` left the history before by ``WATCH_ALARM`` standard errors.

    The standard error allows for the autocorrelation of both means; almost all of the days must lie on one side.
    """
    rows = len(series.days)
    first = rows - WATCHED_DAYS
    if first < MINIMUM_HISTORY_DAYS:
        return []
    past = _describe(series, first, shifted)
    weekdays = [on.weekday() for on in series.days[first:]]
    residuals = series.values[first:] - past.weekday_means[weekdays]
    known = np.isfinite(residuals).sum(axis=0)
    mean = np.where(known, np.nansum(residuals, axis=0) / np.maximum(known, 1), 0.0)
    same_side = (np.sign(residuals) == np.sign(mean)).sum(axis=0)
    # The variance of a mean depends on phi as no single day does: the upper end of what it may be.
    phi = np.minimum(past.phi + np.sqrt((1 - past.phi**2) / np.maximum(past.days, 1)), LARGEST_PHI)
    marginal = past.deviation / np.sqrt(1 - phi**2)
    lags = abs(np.subtract.outer(np.arange(WATCHED_DAYS), np.arange(WATCHED_DAYS)))
    variance = (phi[:, None, None] ** lags).sum(axis=(1, 2)) / WATCHED_DAYS**2
    variance += (1 + phi) / (1 - phi) / np.maximum(past.days, 1)
    sizes = mean / (marginal * np.sqrt(variance))
    alarms = (abs(sizes) >= WATCH_ALARM) & (same_side >= EQUAL_SIGNS) & (past.days >= MINIMUM_HISTORY_DAYS)
    moves = abs(_mean(series.levels[first:], np.isfinite(series.levels[first:])) - past.level)
    alarms &= moves >= series.smallest_moves
    return [Shift(int(statistic), first, float(sizes[statistic])) for statistic in np.flatnonzero(alarms)]


def _describe(series: Series, end: int, shifted: Mask) -> _Past:
    """The history of the ``HISTORY_DAYS`` rows before ``end``, without the days of shifts."""
    start = max(end - HISTORY_DAYS, 0)
    values = np.where(shifted[start:end], np.nan, series.values[start:end])
    known = np.isfinite(values)
    days = known.sum(axis=0)
    mean = _mean(values, known)
    weekdays = np.array([on.weekday() for on in series.days[start:end]])
    weekday_means = mean + _weekday_effects(values - mean, known, weekdays)
    deviations = np.where(known, values - weekday_means[weekdays], 0.0)
    pairs = known[1:] & known[:-1]
    products = (deviations[1:] * deviations[:-1] * pairs).sum(axis=0)
    phi = products / np.maximum((deviations**2).sum(axis=0), 1e-300)
    phi = np.clip(phi + (1 + 3 * phi) / np.maximum(days, 1), 0, LARGEST_PHI)
    innovations = np.where(pairs, deviations[1:] - phi * deviations[:-1], 0.0)
    freedom = np.maximum(pairs.sum(axis=0) - FITTED, 1)
    deviation = np.sqrt((innovations**2).sum(axis=0) / freedom)
    deviation = np.maximum(deviation, series.floors)
    largest = abs(innovations).max(axis=0, initial=0.0)
    last = np.where(known, np.arange(end - start)[:, None], -1).max(axis=0, initial=-1)
    return _Past(
        weekday_means=weekday_means,
        days=days,
        phi=phi,
        scale=np.maximum(deviation, largest * LARGEST_PAST_SHARE),
        deviation=deviation,
        last=np.where(last >= 0, deviations[np.maximum(last, 0), np.arange(values.shape[1])], 0.0),
        last_row=last + start,
        level=_mean(np.where(shifted[start:end], np.nan, series.levels[start:end]), known),
    )


def _weekday_effects(centred: Floats, known: Mask, weekdays: NDArray[np.int64]) -> Floats:
    """Weekday by statistic: the mean of each weekday, drawn to 0 as far as it may be chance (Stein's estimate).

    A column without a weekly season keeps its memory of the day before, which weekday means of eight weeks would blur.
    """
    counts = np.array([(known & (weekdays == weekday)[:, None]).sum(axis=0) for weekday in range(7)])
    means = np.array([_mean(centred, known & (weekdays == weekday)[:, None]) for weekday in range(7)])
    within = (np.where(known, centred - means[weekdays], 0.0) ** 2).sum(axis=0) / np.maximum(counts.sum(axis=0) - 7, 1)
    between = (counts * means**2).sum(axis=0) / 6
    drawn = np.clip(1 - within / np.maximum(between, 1e-300), 0.0, 1.0)
    effects: Floats = drawn * counts / (counts + 1) * means
    return effects


def _mean(values: Floats, counted: Mask) -> Floats:
    """Mean over the days that count; 0 where none does."""
    mean: Floats = np.where(counted, values, 0.0).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
    return mean
