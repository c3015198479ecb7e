"""Guesses which columns tell the rows of a table apart, and not by chance alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import prod

import polars as pl

from pipelines.steps.drafting.column_guess import ColumnGuess

KEY_TYPES = ("integer", "string", "date", "timestamp")
LEAST_COLLISIONS = 5.0
"""Pairs of rows that would share their values by chance, from which it means something that none does."""
MOST_COLUMNS, LARGEST_KEY = 10, 3
LONGEST_TEXT = 64
FIRST_ROWS = 20_000
NAMED = re.compile(r"(?:^|_)(id|key|code|no|nr|num|number|uuid|sku|ref)(?:_|$|[0-9])|Id$|ID$", re.IGNORECASE)

PARTS_OF_A_TIME = re.compile(
    r"(?:^|_)(year|yr|quarter|month|mon|week|weekday|dayofweek|day|dom|doy|hour|hr|minute|min|second|sec)(?:_|$)",
    re.IGNORECASE,
)
"""Names of numbers that come again, every year or every hour."""


def collisions_by_chance(rows: int, distinct: Sequence[int]) -> float:
    """Pairs of rows expected to share a cell if values met at random: n² / (2 · ∏ distinct), the birthday problem."""
    return rows * rows / (2 * prod(distinct)) if rows else 0.0


def guess_key(columns: Mapping[str, ColumnGuess], rows: int, exclude: Sequence[str] = ()) -> list[str]:
    """The fewest columns without a null that tell all rows apart; empty: none do, or only by chance.

    Of several the one that has a name of a key, and then the one that would have had the most collisions by chance.
    """
    usable = [column for name, column in columns.items() if name not in exclude and _can_be_key(column)]
    distinct = {column.name: column.values.n_unique() for column in usable}
    usable = [column for column in usable if distinct[column.name] > 1]
    usable.sort(key=lambda column: NAMED.search(column.name) is None)
    usable = usable[:MOST_COLUMNS]
    frame = pl.DataFrame([column.values for column in usable])
    first = frame.head(FIRST_ROWS)
    for size in range(1, LARGEST_KEY + 1):
        candidates: list[list[str]] = [[*names] for names in combinations([column.name for column in usable], size)]
        unique = [
            names
            for names in candidates
            if prod(distinct[name] for name in names) >= rows
            and collisions_by_chance(rows, [distinct[name] for name in names]) >= LEAST_COLLISIONS
            and not first.select(names).is_duplicated().any()
            and not frame.select(names).is_duplicated().any()
        ]
        if unique:
            return min(unique, key=lambda names: _preference(names, columns, distinct, rows))
    return []


def _preference(
    names: Sequence[str], columns: Mapping[str, ColumnGuess], distinct: Mapping[str, int], rows: int
) -> tuple[int, int, float]:
    unnamed = sum(NAMED.search(name) is None for name in names)
    times = sum(columns[name].type in ("date", "timestamp") for name in names) if len(names) == 1 else 0
    return unnamed, times, -collisions_by_chance(rows, [distinct[name] for name in names])


def _can_be_key(column: ColumnGuess) -> bool:
    if column.type not in KEY_TYPES or column.is_nullable or column.is_personal:
        return False
    if column.type == "integer" and PARTS_OF_A_TIME.search(column.name):
        return False
    if column.type == "string":
        return int(str(column.values.str.len_chars().max() or 0)) <= LONGEST_TEXT
    return True
