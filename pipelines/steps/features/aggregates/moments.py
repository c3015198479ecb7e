"""Sum, mean and standard deviation of what each question sees, each rounded once from exact sums."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.steps.features.aggregates.exact_sum import Digits, Numbers, carried, rounded, spread
from pipelines.steps.features.aggregates.timeline import Flags, Integers, RunningSums, Timeline, Visible

CHUNK = 1 << 16
"""Questions answered at a time, so that what is computed of them stays in the processor's cache."""


@dataclass(frozen=True)
class Sums:
    """Running sums of a column and of its squares, a place of their digits each."""

    digits: Digits
    places: list[RunningSums]
    squares: Digits | None
    square_places: list[RunningSums]
    whole: bool
    """Whether the column is of integers."""


def sums_of(timeline: Timeline, digits: Digits, squares: Digits | None, *, whole: bool) -> Sums:
    """``digits``, ``squares``: one entry per event of the timeline; squares only where deviations are needed."""
    square_places = [RunningSums(timeline, place) for place in squares.places] if squares else []
    return Sums(digits, [RunningSums(timeline, place) for place in digits.places], squares, square_places, whole)


def moments(visible: Visible, sums: Sums, counts: Integers, functions: Collection[str]) -> dict[str, pl.Series]:
    """``sum``, ``mean`` and ``std`` as far as named, one value per question.

    ``counts``: of each question the number of values that it sees. Of no value the sum is 0, the mean null; the
    standard deviation (of a sample: divided by ``n - 1``) of fewer than two is null. The sum of integers is an integer.
    """
    digits, squares = sums.digits, sums.squares
    results: dict[str, list[pl.Series]] = {name: [] for name in functions}
    for start in range(0, max(len(counts), 1), CHUNK):
        part = slice(start, start + CHUNK)
        count = counts[part]
        places = [place.of(visible, part) for place in sums.places]
        total = carried(places, digits.width)
        number = _number(places, total)
        if "sum" in functions:
            whole = sums.whole
            results["sum"].append(_whole_sum(places, digits) if whole else _double(number, digits, 1, count >= 0))
        if "mean" in functions:
            results["mean"].append(_double(number, digits, np.maximum(count, 1), count > 0))
        if squares is not None and "std" in functions:
            square = carried([place.of(visible, part) for place in sums.square_places], squares.width)
            results["std"].append(_double_or_null(_deviation(count, total, square, digits.lowest), count > 1))
    return {name: pl.concat(parts) for name, parts in results.items()}


def _number(places: list[Integers], total: list[Integers]) -> tuple[Numbers, Integers]:
    """The sum as ``value * 2 ** exponent``, times two to the digits' lowest place. ``total``: ``places``, carried."""
    if len(places) == 1:
        return places[0].astype(np.float64), np.zeros(len(places[0]), dtype=np.int64)
    return rounded(total)


def _double(number: tuple[Numbers, Integers], digits: Digits, divisor: Integers | int, there: Flags) -> pl.Series:
    """The number over the divisor; null where there is none, and where it is beyond a double."""
    value, exponent = number
    with np.errstate(over="ignore"):
        return _double_or_null(np.ldexp(value / divisor, exponent + digits.lowest), there)


def _double_or_null(values: Numbers, there: Flags) -> pl.Series:
    return pl.select(pl.when(pl.Series(there & np.isfinite(values))).then(pl.Series(values))).to_series()


def _whole_sum(places: list[Integers], digits: Digits) -> pl.Series:
    """Int64 where no sum can leave it, else Int128."""
    if len(places) == 1 and digits.lowest == 0:
        return pl.Series(places[0])
    weights = [1 << (digits.lowest + number * digits.width) for number in range(len(places))]
    parts = [
        pl.lit(pl.Series(place)).cast(pl.Int128) * pl.lit(weight).cast(pl.Int128)
        for place, weight in zip(places, weights, strict=True)
    ]
    return pl.select(pl.sum_horizontal(parts)).to_series()


def _deviation(count: Integers, total: list[Integers], square: list[Integers], lowest: int) -> Numbers:
    """Square root of ``(n * sum of squares - sum ** 2) / (n * (n - 1))``."""
    pairs = np.maximum(count, 2).astype(np.float64) * np.maximum(count - 1, 1)
    variance, exponent = rounded(spread(count, total, square))
    odd = exponent & 1
    root = np.sqrt(np.ldexp(np.maximum(variance, 0.0), odd) / pairs)
    with np.errstate(over="ignore"):
        deviation: Numbers = np.ldexp(root, (exponent - odd) // 2 + lowest)
    return deviation
