"""Finds the columns that left their own recent past: those that broke, and those to watch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import numpy as np

from pipelines.messages.monitoring import ColumnFinding
from pipelines.steps.drift.daily_statistics import Statistic, daily_statistics, find_column, null_share, rows_of
from pipelines.steps.drift.ks import ks_test
from pipelines.steps.drift.plain_checks import PAST_DAYS, BrokenCheck, find_broken_checks
from pipelines.steps.drift.shifts import FOLLOWED_DAYS, Shift, find_slow_shifts, find_sudden_shifts
from pipelines.steps.drift.sketch import QuantileSketch
from pipelines.tables.profile import CategoricalProfile, NumericProfile, TableProfile, merge_profiles

READ_DAYS = PAST_DAYS + FOLLOWED_DAYS + 2
"""Days up to the judged one whose profiles are read: the past of a column on the first day that is followed."""
COMPARED_DAYS = 28
"""Days before a finding that show how a column was."""

Profiles = Sequence[tuple[date, TableProfile | None]]


def find_moved_columns(
    profiles: Profiles, columns: Sequence[str], reference: TableProfile, influence: Mapping[str, float]
) -> list[ColumnFinding]:
    """Columns that left their past by the last of these consecutive days, the weightiest first.

    A column that broke is not listed again as one to watch. Nothing is found on a day without a profile.
    """
    if not profiles or profiles[-1][1] is None:
        return []
    daily = daily_statistics(profiles, columns, reference)
    sudden = find_sudden_shifts(daily.series)
    slow = find_slow_shifts(daily.series, sudden.shifted)
    broken = find_broken_checks(profiles, columns)
    return _findings(profiles, daily.statistics, sudden.open, slow, broken, influence)


def find_slowly_moved_columns(
    profiles: Profiles, columns: Sequence[str], reference: TableProfile, influence: Mapping[str, float]
) -> list[ColumnFinding]:
    """What ``find_moved_columns`` finds of columns of which no check is broken and no shift was sudden."""
    daily = daily_statistics(profiles, columns, reference)
    slow = find_slow_shifts(daily.series, np.zeros(daily.series.values.shape, dtype=bool))
    return _findings(profiles, daily.statistics, [], slow, [], influence)


def sort_findings(findings: Iterable[ColumnFinding]) -> list[ColumnFinding]:
    """Faults first, the weightiest of each lane first."""
    return sorted(findings, key=lambda finding: (finding.lane, -(finding.weight or 0.0), finding.column))


def _findings(
    profiles: Profiles,
    statistics: Sequence[Statistic],
    sudden: Sequence[Shift],
    slow: Sequence[Shift],
    checks: Sequence[BrokenCheck],
    influence: Mapping[str, float],
) -> list[ColumnFinding]:
    faults: dict[str, list[tuple[int, float | None, str]]] = {}
    watched: dict[str, list[tuple[int, float | None, str]]] = {}
    for broken in checks:
        faults.setdefault(broken.column, []).append((broken.since, None, broken.text))
    for shift in sudden:
        statistic = statistics[shift.statistic]
        # The mix of categories moves by itself, with a timetable: a category that breaks is a renamed one.
        lane = watched if statistic.kind == "category" else faults
        text = _shift_text(statistic, shift, profiles, "usual daily changes")
        lane.setdefault(statistic.column, []).append((shift.since, shift.size, text))
    for shift in slow:
        statistic = statistics[shift.statistic]
        text = _shift_text(statistic, shift, profiles, "standard errors over 7 days")
        watched.setdefault(statistic.column, []).append((shift.since, shift.size, text))
    findings = [_finding(name, "fault", signs, profiles, influence) for name, signs in faults.items()]
    findings += [
        _finding(name, "watch", signs, profiles, influence) for name, signs in watched.items() if name not in faults
    ]
    return sort_findings(findings)


def _finding(
    name: str, lane: str, signs: list[tuple[int, float | None, str]], profiles: Profiles, influence: Mapping[str, float]
) -> ColumnFinding:
    since = min(row for row, _, _ in signs)
    sizes = [size for _, size, _ in signs if size is not None]
    return ColumnFinding.model_validate(
        {
            "column": name,
            "lane": lane,
            "since": profiles[since][0],
            "signs": [text for _, _, text in signs],
            "size": max(sizes, key=abs) if sizes else None,
            "moved": _moved_share(name, since, profiles),
            "influence": influence.get(name),
        }
    )


def _before_and_since(name: str, since: int, profiles: Profiles) -> tuple[TableProfile, TableProfile] | None:
    sides = []
    for part in (profiles[max(since - COMPARED_DAYS, 0) : since], profiles[since:]):
        days = [_only(name, profile) for _, profile in part if profile is not None]
        if not days:
            return None
        sides.append(merge_profiles(days))
    return sides[0], sides[1]


def _only(name: str, profile: TableProfile) -> TableProfile:
    return profile.model_copy(
        update={
            "numeric": {key: column for key, column in profile.numeric.items() if key == name},
            "categorical": {key: column for key, column in profile.categorical.items() if key == name},
        }
    )


def _moved_share(name: str, since: int, profiles: Profiles) -> float | None:
    """How much of the distribution moved: KS distance of a numeric column, total variation of a categorical one."""
    sides = _before_and_since(name, since, profiles)
    if sides is None:
        return None
    before, after = (find_column(side, name) for side in sides)
    if not rows_of(before) or not rows_of(after):
        return None
    if isinstance(before, NumericProfile) and isinstance(after, NumericProfile):
        return ks_test(QuantileSketch.of(before), QuantileSketch.of(after))[0]
    if isinstance(before, CategoricalProfile) and isinstance(after, CategoricalProfile):
        return _total_variation(before, after)
    return None


def _total_variation(before: CategoricalProfile, after: CategoricalProfile) -> float:
    names = sorted(set(before.counts) | set(after.counts))
    shares = [
        np.array([*(column.counts.get(name, 0) for name in names), column.other, column.nulls]) / rows_of(column)
        for column in (before, after)
    ]
    return float(abs(shares[0] - shares[1]).sum() / 2)


def _shift_text(statistic: Statistic, shift: Shift, profiles: Profiles, unit: str) -> str:
    """``mean 7.2 → 45.1 (+9.3 usual daily changes)``"""
    size = f"{shift.size:+.1f} {unit}"
    sides = _before_and_since(statistic.column, shift.since, profiles)
    if sides is None:
        return f"{statistic.kind} ({size})"
    values = []
    for side in sides:
        column = find_column(side, statistic.column)
        if statistic.kind == "nulls":
            values.append(f"{null_share(side, statistic.column):.1%}")
        elif isinstance(column, CategoricalProfile):
            values.append(f"{column.counts.get(statistic.category or '', 0) / max(rows_of(column), 1):.1%}")
        elif isinstance(column, NumericProfile):
            number = column.mean if statistic.kind == "mean" else column.std
            values.append("none" if number is None else f"{number:.4g}")
    names = {"nulls": "share without a value", "category": f"share of {statistic.category}"}
    return f"{names.get(statistic.kind, statistic.kind)} {values[0]} → {values[1]} ({size})"
