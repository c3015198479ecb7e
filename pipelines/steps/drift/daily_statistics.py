"""The daily statistics of a view's columns, from the profile of each day: mean, spread, nulls, shares of categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import log

import numpy as np

from pipelines.messages.monitoring import StatisticKind
from pipelines.steps.drift.shifts import Series
from pipelines.tables.profile import CategoricalProfile, NumericProfile, TableProfile

FLOORS: dict[StatisticKind, float] = {"mean": 0.02, "spread": 0.05, "nulls": 0.1, "category": 0.1}
"""The smallest daily change that counts as usual, in the units of each statistic."""
SMALLEST_NULL_MOVE = 0.03
LARGEST_MEAN = 20.0
"""Deviations of the reference: one wrong row of 1e9 says no more than that."""
SMALLEST_CATEGORY_SHARE = 0.01


@dataclass(frozen=True)
class Statistic:
    column: str
    kind: StatisticKind
    category: str | None = None


@dataclass(frozen=True)
class DailyStatistics:
    """One statistic per column of the series."""

    statistics: list[Statistic]
    series: Series


def daily_statistics(
    profiles: Sequence[tuple[date, TableProfile | None]],
    columns: Sequence[str],
    reference: TableProfile,
    windows: Sequence[range] = (),
) -> DailyStatistics:
    """The series of these columns over consecutive days, ascending; a day without a profile has no values.

    Means and spreads are in standard deviations of the reference. A category has a series if it has at least 1 % of the
    rows of all days, or of any of ``windows`` (of rows) where they are given.
    """
    statistics: list[Statistic] = []
    values: list[list[float]] = []
    levels: list[list[float]] = []

    def add(statistic: Statistic, value: list[float], level: list[float]) -> None:
        statistics.append(statistic)
        values.append(value)
        levels.append(level)

    days = [profile for _, profile in profiles]
    for name in columns:
        column_days = [find_column(profile, name) for profile in days]
        rows = [rows_of(column) for column in column_days]
        nulls = [column.nulls if column is not None else 0 for column in column_days]
        add(Statistic(name, "nulls"), list(map(_logit, nulls, rows)), list(map(_share, nulls, rows)))
        if any(profile is not None and name in profile.numeric for profile in days):
            numeric = [profile.numeric.get(name) if profile else None for profile in days]
            center, unit = _reference_scale(reference, name, numeric)
            means = [_standardized_mean(column, center, unit) for column in numeric]
            spreads = [_log_spread(column, unit) for column in numeric]
            add(Statistic(name, "mean"), means, means)
            add(Statistic(name, "spread"), spreads, spreads)
        else:
            categorical = [profile.categorical.get(name) if profile else None for profile in days]
            for category in _frequent_categories(categorical, windows or [range(len(days))]):
                of_day = [
                    _share(column.counts.get(category, 0) if column is not None else 0, count)
                    for column, count in zip(categorical, rows, strict=True)
                ]
                add(Statistic(name, "category", category), [log(share + 0.005) for share in of_day], of_day)
    floors = np.array([FLOORS[statistic.kind] for statistic in statistics])
    moves = np.array([SMALLEST_NULL_MOVE if statistic.kind == "nulls" else 0.0 for statistic in statistics])
    shape = (len(statistics), len(days))
    return DailyStatistics(
        statistics,
        Series(
            days=[on for on, _ in profiles],
            values=np.array(values, dtype=np.float64).reshape(shape).T,
            floors=floors,
            levels=np.array(levels, dtype=np.float64).reshape(shape).T,
            smallest_moves=moves,
        ),
    )


def null_share(profile: TableProfile | None, name: str) -> float:
    """Share of rows without a value; NaN where the day or the column is missing."""
    column = find_column(profile, name)
    return _share(column.nulls, rows_of(column)) if column is not None else float("nan")


def find_column(profile: TableProfile | None, name: str) -> NumericProfile | CategoricalProfile | None:
    if profile is None:
        return None
    return profile.numeric.get(name) or profile.categorical.get(name)


def rows_of(column: NumericProfile | CategoricalProfile | None) -> int:
    """Rows with and without a value."""
    if column is None:
        return 0
    return (column.count if isinstance(column, NumericProfile) else column.valued) + column.nulls


def _share(part: int, rows: int) -> float:
    return part / rows if rows else float("nan")


def _logit(nulls: int, rows: int) -> float:
    return log((nulls + 0.5) / (rows - nulls + 0.5)) if rows else float("nan")


def _reference_scale(reference: TableProfile, name: str, days: Sequence[NumericProfile | None]) -> tuple[float, float]:
    """Mean and deviation of the reference; of the days where the reference does not have the column."""
    column = reference.numeric.get(name)
    if column is not None and column.mean is not None:
        return column.mean, column.std or 1.0
    known = [column.mean for column in days if column is not None and column.mean is not None]
    spreads = [column.std for column in days if column is not None and column.std]
    return (float(np.mean(known)) if known else 0.0), (float(np.median(spreads)) if spreads else 1.0)


def _standardized_mean(column: NumericProfile | None, center: float, unit: float) -> float:
    if column is None or column.mean is None:
        return float("nan")
    return float(np.clip((column.mean - center) / unit, -LARGEST_MEAN, LARGEST_MEAN))


def _log_spread(column: NumericProfile | None, unit: float) -> float:
    if column is None or column.std is None:
        return float("nan")
    return log(min(column.std / unit, LARGEST_MEAN) + 0.02)


def _frequent_categories(days: Sequence[CategoricalProfile | None], windows: Sequence[range]) -> list[str]:
    """Those with 1 % of the rows of any of these windows of days."""
    names = sorted(set[str]().union(*(column.counts for column in days if column is not None)))
    rows = np.zeros((len(days) + 1, len(names) + 1), dtype=np.int64)
    for number, column in enumerate(days, 1):
        if column is not None:
            rows[number] = [*(column.counts.get(name, 0) for name in names), column.valued]
    below = rows.cumsum(axis=0)
    starts, stops = ([getattr(window, end) for window in windows] for end in ("start", "stop"))
    counted = below[stops] - below[starts]
    is_frequent = (counted[:, :-1] > 0) & (counted[:, :-1] >= SMALLEST_CATEGORY_SHARE * counted[:, -1:])
    return [name for name, frequent in zip(names, is_frequent.T, strict=True) if frequent.any()]
