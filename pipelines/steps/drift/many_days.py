"""Finds on each of many days what ``find_moved_columns`` finds on it, at a small part of the cost.

A column is judged by itself, and on most days it is calm. Whether it might not be is told by one pass over all days,
which judges each by a past without findings; only then the days up to that one are judged as they are on a single day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.messages.monitoring import ColumnFinding
from pipelines.steps.drift.daily_statistics import daily_statistics
from pipelines.steps.drift.findings import (
    READ_DAYS,
    Profiles,
    find_moved_columns,
    find_slowly_moved_columns,
    sort_findings,
)
from pipelines.steps.drift.plain_checks import breaks_after_a_calm_past, is_stuck, top_shares
from pipelines.steps.drift.shifts import (
    FOLLOWED_DAYS,
    MINIMUM_HISTORY_DAYS,
    Mask,
    Series,
    alarms_after_a_calm_past,
    find_slow_shifts,
)
from pipelines.tables.profile import TableProfile


def find_moved_by_day(
    profiles: Profiles, first: int, columns: Sequence[str], reference: TableProfile, influence: Mapping[str, float]
) -> list[list[ColumnFinding]]:
    """By row from ``first`` on: ``find_moved_columns`` of the ``READ_DAYS`` consecutive days up to it."""
    windows = [range(max(row + 1 - READ_DAYS, 0), row + 1) for row in range(first, len(profiles))]
    if not windows or not columns:
        return [[] for _ in windows]
    daily = daily_statistics(profiles, columns, reference, windows)
    place = {name: number for number, name in enumerate(columns)}
    owner = [place[statistic.column] for statistic in daily.statistics]
    followed = range(max(windows[0].stop - FOLLOWED_DAYS, 1), len(profiles))
    alarms = _of_columns(_alarms(daily.series, followed), owner, len(columns))
    breaks = np.array([breaks_after_a_calm_past(profiles, name, followed) for name in columns]).T
    unsure = np.array([not _is_of_one_kind(profiles, name, reference) for name in columns])
    shares = [top_shares([profile for _, profile in profiles], name) for name in columns]

    def of_day(window: range) -> list[ColumnFinding]:
        part = profiles[window.start : window.stop]
        rows = slice(max(window.stop - FOLLOWED_DAYS, followed.start) - followed.start, window.stop - followed.start)
        stuck = [is_stuck(share[window.start : window.stop]) for share in shares]
        sudden = (alarms | breaks)[rows].any(axis=0) | unsure | stuck
        slow = find_slow_shifts(_series_of(daily.series, window), _calm(daily.series, window))
        slowly = np.zeros(len(columns), dtype=bool)
        slowly[[owner[shift.statistic] for shift in slow]] = True
        moved = [name for name, is_moved in zip(columns, sudden, strict=True) if is_moved]
        crept = [name for name, is_moved in zip(columns, slowly & ~sudden, strict=True) if is_moved]
        findings = find_moved_columns(part, moved, reference, influence) if moved else []
        return sort_findings(
            [*findings, *(find_slowly_moved_columns(part, crept, reference, influence) if crept else [])]
        )

    return [of_day(window) if profiles[window.stop - 1][1] is not None else [] for window in windows]


def _alarms(series: Series, followed: range) -> Mask:
    """By followed row and statistic; none on rows that have too short a past."""
    judged = [row for row in followed if row > MINIMUM_HISTORY_DAYS]
    alarms = np.zeros((len(followed), series.values.shape[1]), dtype=bool)
    alarms[len(followed) - len(judged) :] = alarms_after_a_calm_past(series, judged)
    return alarms


def _of_columns(of_statistics: Mask, owner: Sequence[int], columns: int) -> Mask:
    alarms = np.zeros((len(of_statistics), columns), dtype=bool)
    for statistic, column in enumerate(owner):
        alarms[:, column] |= of_statistics[:, statistic]
    return alarms


def _series_of(series: Series, window: range) -> Series:
    rows = slice(window.start, window.stop)
    return Series(series.days[rows], series.values[rows], series.floors, series.levels[rows], series.smallest_moves)


def _calm(series: Series, window: range) -> Mask:
    return np.zeros((len(window), series.values.shape[1]), dtype=bool)


def _is_of_one_kind(profiles: Profiles, name: str, reference: TableProfile) -> bool:
    """Whether every window has the same statistics of the column, in the same units."""
    kinds = {
        kind
        for _, profile in profiles
        if profile is not None
        for kind in ("numeric", "categorical")
        if name in getattr(profile, kind)
    }
    known = reference.numeric.get(name)
    return kinds == {"categorical"} or (kinds == {"numeric"} and known is not None and known.mean is not None)
