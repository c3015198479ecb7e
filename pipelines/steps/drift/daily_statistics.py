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
    profiles: Sequence[tuple[date, TableProfile | None]], columns: Sequence[str], reference: TableProfile
) -> DailyStatistics:
    """The series of these columns over consecutive days, ascending; a day without a profile has no values.

    Means and spreads are in standard deviations of the reference. A category has a series if it has at least 1 % of the
    rows of all days.
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
        shares = [null_share(profile, name) for profile in days]
        add(Statistic(name, "nulls"), [_logit(profile, name) for profile in days], shares)
        if any(profile is not None and name in profile.numeric for profile in days):
            numeric = [profile.numeric.get(name) if profile else None for profile in days]
            center, unit = _reference_scale(reference, name, numeric)
            means = [_standardized_mean(column, center, unit) for column in numeric]
            spreads = [_log_spread(column, unit) for column in numeric]
            add(Statistic(name, "mean"), means, means)
            add(Statistic(name, "spread"), spreads, spreads)
        else:
            categorical = [profile.categorical.get(name) if profile else None for profile in days]
            for category in _frequent_categories(categorical):
                of_day = [_category_share(column, category) for column in categorical]
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
    rows = rows_of(column)
    return column.nulls / rows if column is not None and rows else float("nan")


def find_column(profile: TableProfile | None, name: str) -> NumericProfile | CategoricalProfile | None:
    if profile is None:
        return None
    return profile.numeric.get(name) or profile.categorical.get(name)


def rows_of(column: NumericProfile | CategoricalProfile | None) -> int:
    """Rows with and without a value."""
    if column is None:
        return 0
    return (column.count if isinstance(column, NumericProfile) else column.valued) + column.nulls


def _logit(profile: TableProfile | None, name: str) -> float:
    column = find_column(profile, name)
    rows = rows_of(column)
    if column is None or not rows:
        return float("nan")
    return log((column.nulls + 0.5) / (rows - column.nulls + 0.5))


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


def _frequent_categories(days: Sequence[CategoricalProfile | None]) -> list[str]:
    counts: dict[str, int] = {}
    total = sum(column.valued for column in days if column is not None)
    for column in days:
        for name, rows in column.counts.items() if column is not None else ():
            counts[name] = counts.get(name, 0) + rows
    return sorted(name for name, rows in counts.items() if rows >= SMALLEST_CATEGORY_SHARE * total)


def _category_share(column: CategoricalProfile | None, category: str) -> float:
    rows = rows_of(column)
    return column.counts.get(category, 0) / rows if column is not None and rows else float("nan")
