"""Guesses which columns of one table are the keys of another, by what they hold and what they are called."""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from pipelines.steps.drafting.column_guess import ColumnGuess

SAME_NAME_SHARE, OTHER_NAME_SHARE = 0.5, 0.9
"""Share of the different values that the key must hold: where the names match, and where they do not."""
SMALL_INTEGERS = 1_000
"""Integers below it (months, hours, counts) are in any numbering."""
MOST_VALUES = 20_000


def guess_joins(
    columns: Mapping[str, ColumnGuess], other: str, other_columns: Mapping[str, ColumnGuess], key: list[str]
) -> list[list[str]]:
    """Each way in which columns equal the key of the table ``other``, in its order, the surest first.

    Several columns may hold a key of one column, as sender and recipient hold a customer.
    """
    fits = [
        {column.name: fit for column in columns.values() if (fit := _fit(column, other, other_columns[name])) > 0}
        for name in key
    ]
    if len(key) == 1:
        return [[name] for name in sorted(fits[0], key=lambda name: -fits[0][name])]
    best = [max(fit, key=lambda name: fit[name]) for fit in fits if fit]
    return [best] if len({*best}) == len(key) else []


def containment(values: pl.Series, key: pl.Series) -> float:
    """Share of the different values that are among those of the key."""
    different = values.drop_nulls().unique().head(MOST_VALUES)
    return float(str(different.is_in(key.unique().implode()).mean() or 0.0)) if len(different) else 0.0


def _fit(column: ColumnGuess, other: str, key: ColumnGuess) -> float:
    """Above 0 if the column is one that holds the key; the larger, the surer."""
    if column.type != key.type or column.is_personal or column.type not in ("integer", "string"):
        return 0.0
    named = names_match(column.name, other, key.name)
    if not named and column.type == "integer" and _is_small(column.values):
        return 0.0
    share = containment(column.values, key.values)
    return share + named if share >= (SAME_NAME_SHARE if named else OTHER_NAME_SHARE) else 0.0


def names_match(column: str, other: str, key: str) -> bool:
    """``customer_id``, ``customer`` and ``customerId`` are the key ``id`` or ``customer_id`` of ``customers``."""
    plain = _plain(column)
    singular = _plain(other).removesuffix("s")
    return plain in {_plain(key), singular, singular + _plain(key)}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_small(values: pl.Series) -> bool:
    largest = values.max()
    return isinstance(largest, int) and largest < SMALL_INTEGERS
