"""Guesses which column says when the event of a row happened, and which times of a row come after it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime

import polars as pl

from pipelines.spec.event_time import EventTime
from pipelines.steps.drafting.column_guess import ColumnGuess
from pipelines.tables.event_instants import event_instants

TIME_TYPES = ("date", "timestamp")
LATER_WORDS = re.compile(
    r"(?:^|_)(updated?|modified|changed|ended?|closed|finished|returned|delivered|shipped|paid|cancelled|birth\w*|dob"
    r"|expires?|due|arrived|arrival|loaded|inserted)(?:_|$)",
    re.IGNORECASE,
)
"""Words of times that come after an event, or have nothing to do with it."""
LATER_SHARE = 0.01
"""Of the rows with both times in which one comes after the event, from which it tells of what followed."""


def time_columns(columns: Mapping[str, ColumnGuess]) -> list[str]:
    """Columns that may be the time of a row."""
    return [name for name, column in columns.items() if column.type in TIME_TYPES and not column.is_nullable]


def guess_event_time(columns: Mapping[str, ColumnGuess], timezone: str) -> tuple[str | None, list[str]]:
    """The time that comes first in most rows, timestamps before dates; and the others that could be it."""
    candidates = [name for name in time_columns(columns) if not columns[name].is_personal]
    if not candidates:
        return None, []
    plausible = [name for name in candidates if not LATER_WORDS.search(name)] or candidates
    exact = [name for name in plausible if columns[name].type == "timestamp"] or plausible
    earliest = {name: _mean(instants_of(columns[name], timezone)) for name in exact}
    chosen = min(exact, key=lambda name: earliest[name])
    return chosen, [name for name in candidates if name != chosen]


def later_times(columns: Mapping[str, ColumnGuess], event_time: str, timezone: str) -> list[str]:
    """Other times that come after the event in some rows: they tell what followed."""
    event = instants_of(columns[event_time], timezone)
    later = []
    for name, column in columns.items():
        if name == event_time or column.type not in TIME_TYPES:
            continue
        is_later = (instants_of(column, timezone) > event).drop_nulls()
        share = is_later.mean()
        if share is not None and float(str(share)) >= LATER_SHARE:
            later.append(name)
    return later


def instants_of(column: ColumnGuess, timezone: str) -> pl.Series:
    """Each row's instant (UTC); of a date the end of its day."""
    return event_instants(column.values.to_frame(), EventTime(column.name), timezone)


def local_dates(instants: pl.Series, timezone: str) -> list[date]:
    """The different dates of the instants in a zone, ascending."""
    return sorted(instants.drop_nulls().dt.convert_time_zone(timezone).dt.date().unique().to_list())


def has_gaps(days: Sequence[date]) -> bool:
    """Whether a day between the first and the last is missing."""
    return bool(days) and (days[-1] - days[0]).days + 1 > len(days)


def _mean(instants: pl.Series) -> datetime:
    mean = instants.mean()
    assert isinstance(mean, datetime)
    return mean
