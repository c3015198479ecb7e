"""Sum, mean and standard deviation of what each question sees, each rounded once from exact sums."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl

from pipelines.steps.features.aggregates.exact_sum import (
    Digits,
    Numbers,
    carried,
    digits_of,
    rounded,
    spread,
    squares_of,
)
from pipelines.steps.features.aggregates.timeline import Flags, Integers, RunningSums, Visible

CHUNK = 1 << 16
"""Questions answered at a time, so that what is computed of them stays in the processor's cache."""


def moments(
    visible: Visible, values: Numbers, present: Flags, counts: Integers, functions: Collection[str]
) -> dict[str, pl.Series]:
    """``sum``, ``mean`` and ``std`` as far as named, one value per question.

    ``values``, ``present``: one entry per event of ``visible.timeline``; ``counts``: of each question the number of
    values that it sees. Of no value the sum is 0, the mean null; the
    standard deviation (of a sample: divided by ``n - 1``) of fewer than two is null. The sum of integers is an integer.
    """
    size, most = len(visible.questions), visible.timeline.largest_entity
    digits = digits_of(values, present, most)
    squares = squares_of(values, present, most, digits.lowest) if "std" in functions else None
    sums = [RunningSums(visible, place) for place in digits.places]
    square_sums = [RunningSums(visible, place) for place in squares.places] if squares else []
    whole = values.dtype == np.int64
    results: dict[str, list[pl.Series]] = {name: [] for name in functions}
    for start in range(0, max(size, 1), CHUNK):
        part = slice(start, start + CHUNK)
        count = counts[part]
        places = [place.of(part) for place in sums]
        if "sum" in functions:
            results["sum"].append(_whole_sum(places, digits) if whole else _double(places, digits, 1, count >= 0))
        if "mean" in functions:
            results["mean"].append(_double(places, digits, np.maximum(count, 1), count > 0))
        if squares is not None:
            deviation = _deviation(count, places, digits, [place.of(part) for place in square_sums], squares)
            results["std"].append(_double_or_null(deviation, count > 1))
    return {name: pl.concat(parts) for name, parts in results.items()}


def _double(places: list[Integers], digits: Digits, divisor: Integers | int, there: Flags) -> pl.Series:
    """The sum over the divisor; null where there is none, and where it is beyond a double."""
    if len(places) == 1:
        value, exponent = places[0].astype(np.float64), np.zeros(len(places[0]), dtype=np.int64)
    else:
        value, exponent = rounded(carried(places, digits.width))
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


def _deviation(
    count: Integers, places: list[Integers], digits: Digits, square_places: list[Integers], squares: Digits
) -> Numbers:
    """Square root of ``(n * sum of squares - sum ** 2) / (n * (n - 1))``."""
    total, square = carried(places, digits.width), carried(square_places, squares.width)
    pairs = np.maximum(count, 2).astype(np.float64) * np.maximum(count - 1, 1)
    variance, exponent = rounded(spread(count, total, square))
    odd = exponent & 1
    root = np.sqrt(np.ldexp(np.maximum(variance, 0.0), odd) / pairs)
    with np.errstate(over="ignore"):
        deviation: Numbers = np.ldexp(root, (exponent - odd) // 2 + digits.lowest)
    return deviation
