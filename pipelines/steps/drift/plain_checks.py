"""Plain checks of a column against its own past, two days in a row: nulls, range, a stuck value, renamed categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from pipelines.steps.drift.daily_statistics import find_column, null_share, rows_of
from pipelines.steps.drift.shifts import FOLLOWED_DAYS, MINIMUM_HISTORY_DAYS
from pipelines.steps.drift.sketch import QuantileSketch
from pipelines.tables.profile import CategoricalProfile, NumericProfile, TableProfile
from pipelines.verdict import significant

PAST_DAYS = 90
SMALLEST_NULL_SHARE = 0.02
NULL_FACTOR = 2.0
RANGE_MARGIN = 0.5
LARGEST_OUTSIDE_SHARE = 0.01
STUCK_SHARE = 0.95
STUCK_DAYS = 2
LARGEST_STUCK_PAST = 0.05
SMALLEST_NEW_SHARE = 0.005
RENAME_RATIO = (0.5, 2.0)
EXPECTED_ROWS = 5.0
"""A known value counts as vanished only on a day on which so many of its rows were due."""

Profiles = Sequence[tuple[date, TableProfile | None]]
Check = Callable[[Sequence[TableProfile], TableProfile, str], str | None]


@dataclass(frozen=True)
class BrokenCheck:
    """A check of a column that broke on two days in a row and is broken on the last day. ``since``: a row."""

    column: str
    kind: str
    since: int
    text: str


def find_broken_checks(profiles: Profiles, columns: Sequence[str]) -> list[BrokenCheck]:
    """Every broken check of these columns over consecutive days, ascending.

    A day is held against the ``PAST_DAYS`` before the first broken one, so that a fault does not become its own past.
    Nothing is judged with fewer than ``MINIMUM_HISTORY_DAYS`` of them.
    """
    days = [profile for _, profile in profiles]
    broken: list[BrokenCheck] = []
    for name in columns:
        for kind, check in _checks(days, name).items():
            if (found := _follow(check, days, name)) is not None:
                broken.append(BrokenCheck(name, kind, *found))
        if (found := _stuck(top_shares(days, name))) is not None:
            broken.append(BrokenCheck(name, "stuck", *found))
    return broken


def breaks_after_a_calm_past(profiles: Profiles, name: str, rows: Sequence[int]) -> list[bool]:
    """By row: whether ``find_broken_checks`` finds a check but ``stuck`` to break on the day before if none did before.

    A check that begins to break on no followed day is not broken, so one pass serves the windows of many days.
    """
    days = [profile for _, profile in profiles]
    checks = _checks(days, name).values()
    is_possible = _has_new_extremes(days, name) | _has_new_categories(days, name)
    return [
        bool(is_possible[row]) and any(_begins(check, days, name, row, set()) is not None for check in checks)
        for row in rows
    ]


def _has_new_extremes(days: Sequence[TableProfile | None], name: str) -> NDArray[np.bool_]:
    """By row: whether it and the day before have more nulls, or a smaller or larger value, than all days of their past.

    Without that neither the check of nulls nor that of the range breaks.
    """
    numeric = [profile.numeric.get(name) if profile is not None else None for profile in days]
    lowest = [-column.minimum if column is not None and column.minimum is not None else -np.inf for column in numeric]
    highest = [column.maximum if column is not None and column.maximum is not None else -np.inf for column in numeric]
    nulls = [share if share > SMALLEST_NULL_SHARE else -np.inf for share in (null_share(day, name) for day in days)]
    is_new = np.zeros((3, len(days)), dtype=bool)
    for series, of_series in zip(np.array([lowest, highest, nulls]), is_new, strict=True):
        past = np.concatenate([np.full(PAST_DAYS + 1, -np.inf), series])
        # The past of a row and of the day before it: the days from PAST_DAYS + 1 to 2 before it.
        most = np.lib.stride_tricks.sliding_window_view(past, PAST_DAYS)[: len(days)].max(axis=1)
        of_series[1:] = (series[:-1] > most[1:]) & (series[1:] > most[1:])
    lower, higher, emptier = is_new
    return lower | higher | emptier


def _has_new_categories(days: Sequence[TableProfile | None], name: str) -> NDArray[np.bool_]:
    """By row: whether it and the day before have a category that no day of their past has; else none is renamed."""
    counts = [profile.categorical[name].counts if profile and name in profile.categorical else {} for profile in days]
    is_new = np.zeros(len(days), dtype=bool)
    last_seen: dict[str, int] = {}
    for row in range(1, len(days)):
        if row >= 2:
            last_seen.update(dict.fromkeys(counts[row - 2], row - 2))
        start = row - 1 - PAST_DAYS
        is_new[row] = all(
            any(last_seen.get(value, -1) < max(start, 0) for value in counts[on]) for on in (row - 1, row)
        )
    return is_new


def is_stuck(shares: Sequence[float | None]) -> bool:
    """Whether the column of these ``top_shares`` is stuck on the last day."""
    return _stuck(shares) is not None


def top_shares(days: Sequence[TableProfile | None], name: str) -> list[float | None]:
    """By day, the share of the most frequent value among the rows that have one."""
    return [_top_share(find_column(profile, name)) for profile in days]


def _checks(days: Sequence[TableProfile | None], name: str) -> dict[str, Check]:
    is_numeric = any(profile is not None and name in profile.numeric for profile in days)
    return {"null_share": _many_nulls, **({"range": _outside} if is_numeric else {"renamed": _renamed})}


def _follow(check: Check, days: Sequence[TableProfile | None], name: str) -> tuple[int, str] | None:
    """The first day of a check that is broken up to the last day, and its text there."""
    since: int | None = None
    text: str | None = None
    faulty: set[int] = set()
    past: list[TableProfile] = []
    for row in range(max(len(days) - FOLLOWED_DAYS, 1), len(days)):
        today = days[row]
        if today is None:
            continue
        if since is not None:
            text = check(past, today, name)
            if text is not None:
                faulty.add(row)
                continue
            since = None
        begins = _begins(check, days, name, row, faulty)
        if begins is not None:
            past, text = begins
            since = row - 1
            faulty |= {row - 1, row}
    return (since, text) if since is not None and text is not None else None


def _begins(
    check: Check, days: Sequence[TableProfile | None], name: str, row: int, faulty: Set[int]
) -> tuple[list[TableProfile], str] | None:
    """The past of a day and the one before it, and the day's text, where the check breaks on both."""
    before, today = days[row - 1], days[row]
    if before is None or today is None:
        return None
    start = max(row - 1 - PAST_DAYS, 0)
    past = [day for place, day in enumerate(days[start : row - 1], start) if day is not None and place not in faulty]
    if len(past) < MINIMUM_HISTORY_DAYS or check(past, before, name) is None:
        return None
    text = check(past, today, name)
    return (past, text) if text is not None else None


def _many_nulls(past: Sequence[TableProfile], day: TableProfile, name: str) -> str | None:
    share = null_share(day, name)
    if not share > SMALLEST_NULL_SHARE:  # or none is known: no past need be read
        return None
    known = [value for value in (null_share(profile, name) for profile in past) if not np.isnan(value)]
    if not known:
        return None
    # Where half of the rows have no value anyway, halfway from the most there were to all of them.
    limit = max(SMALLEST_NULL_SHARE, min(NULL_FACTOR * max(known), (1 + max(known)) / 2))
    return f"{share:.1%} of the rows have no value, at most {max(known):.1%} before" if share > limit else None


def _outside(past: Sequence[TableProfile], day: TableProfile, name: str) -> str | None:
    """More than 1 % of the rows beyond all values seen, by half of their range."""
    column = day.numeric.get(name)
    known = [profile.numeric[name] for profile in past if name in profile.numeric]
    lowest = [profile.minimum for profile in known if profile.minimum is not None]
    highest = [profile.maximum for profile in known if profile.maximum is not None]
    if column is None or column.minimum is None or column.maximum is None or not lowest:
        return None
    low, high = min(lowest), max(highest)
    margin = RANGE_MARGIN * (high - low)
    if column.minimum >= low - margin and column.maximum <= high + margin:
        return None
    sketch = QuantileSketch.of(column)
    under, _ = sketch.rank_bounds(np.array([low - margin]), side="left")
    _, within = sketch.rank_bounds(np.array([high + margin]))
    share = float(under[0] + column.count - within[0]) / column.count
    if share <= LARGEST_OUTSIDE_SHARE:
        return None
    usual = f"{significant(low, 6)} to {significant(high, 6)}"
    return f"{share:.1%} of the rows lie far outside of {usual}, where all were before"


def _renamed(past: Sequence[TableProfile], day: TableProfile, name: str) -> str | None:
    """Values never seen, while known ones that were due are gone, in like numbers."""
    column = day.categorical.get(name)
    known = [profile.categorical[name] for profile in past if name in profile.categorical]
    rows = rows_of(column)
    if column is None or not rows or not known:
        return None
    if column.other or any(profile.other for profile in known):
        return None  # which values were seen is not known
    known_categories = set[str]().union(*(profile.counts for profile in known))
    new = {value: count / rows for value, count in column.counts.items() if value not in known_categories}
    if sum(new.values()) <= SMALLEST_NEW_SHARE:
        return None
    counts = Counter[str]()
    for profile in known:
        counts.update(profile.counts)
    total = sum(rows_of(profile) for profile in known)
    gone = {
        value: count / total
        for value, count in counts.items()
        if value not in column.counts and count / total * rows >= EXPECTED_ROWS
    }
    appeared, vanished = sum(new.values()), sum(gone.values())
    if not RENAME_RATIO[0] <= appeared / max(vanished, 1e-12) <= RENAME_RATIO[1]:
        return None
    return (
        f"values never seen ({_names(new)}) have {appeared:.1%} of the rows, while known ones are gone "
        f"({_names(gone)}, {vanished:.1%} before)"
    )


def _names(shares: dict[str, float]) -> str:
    ordered = sorted(shares, key=lambda value: (-shares[value], value))
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")


def _stuck(shares: Sequence[float | None]) -> tuple[int, str] | None:
    """One value has almost all rows for longer than it ever did, in a column for which that is rare."""
    stuck_days = [share is not None and share >= STUCK_SHARE for share in shares]
    length = _trailing_run(stuck_days)
    since = len(shares) - length
    past = [
        stuck
        for stuck, share in zip(
            stuck_days[max(since - PAST_DAYS, 0) : since], shares[max(since - PAST_DAYS, 0) : since], strict=True
        )
        if share is not None
    ]
    if len(past) < MINIMUM_HISTORY_DAYS or sum(past) > LARGEST_STUCK_PAST * len(past):
        return None
    if length < 2 * _longest_run(past) + STUCK_DAYS:
        return None
    return (
        since,
        f"one value has {shares[-1] or 0:.0%} of the rows for {length} days, for at most {_longest_run(past)} before",
    )


def _top_share(column: NumericProfile | CategoricalProfile | None) -> float | None:
    """Share of the most frequent value among the rows that have one."""
    if column is None:
        return None
    counts = column.ties if isinstance(column, NumericProfile) else list(column.counts.values())
    valued = column.count if isinstance(column, NumericProfile) else column.valued
    return max(counts) / valued if valued else None


def _trailing_run(stuck: Sequence[bool]) -> int:
    length = 0
    for value in reversed(stuck):
        if not value:
            break
        length += 1
    return length


def _longest_run(stuck: Sequence[bool]) -> int:
    longest = length = 0
    for value in stuck:
        length = length + 1 if value else 0
        longest = max(longest, length)
    return longest
