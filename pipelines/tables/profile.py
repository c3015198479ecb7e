"""The profile of a table's columns: up to 512 points of each numeric one, 500 values of each categorical one.

A numeric column is a step function: ``weights[i]`` rows lie in ``(points[i-1], points[i]]``, and ``ties[i]`` of them at
``points[i]`` itself. It is exact up to 512 distinct values; beyond, 512 points at near-equal frequency are kept. Then
the share of rows below, and at or below, a kept point is exact, and strictly between two of them lies at most 1/512 of
the rows, whatever values are tied. The rows of a column's further categories are counted by a hash of their value, so
that a change of many rare ones is seen. Profiles of many days can be merged without their rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Literal, TypeVar
from zlib import crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from pipelines.messages.monitoring import DayValue

PROFILE_VERSION: Final = 3
MAX_SKETCH_POINTS = 512
MAX_CATEGORIES = 500
BUCKETS = 1024
"""Hash values by which the rows of further categories are counted: crc32 of the value in UTF-8, modulo this."""
FORMER_OTHER = "__other__"
"""The name under which profiles of version 1 and 2 count the rows of further categories."""

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Column = TypeVar("Column")


class NumericProfile(BaseModel):
    """One numeric column. ``nulls`` counts missing, NaN and infinite values; all other fields exclude them.

    ``std`` is the population's (divided by ``count``). Mean, std, minimum and maximum are None if ``count`` is 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    nulls: int
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    points: list[float]
    weights: list[int]
    ties: list[int]
    """Rows at each point itself; of a stored profile of version 1, which has none, the fewest that there can be."""

    @model_validator(mode="before")
    @classmethod
    def read_version_1(cls, stored: Any) -> Any:
        if isinstance(stored, dict) and "ties" not in stored and "weights" in stored:
            return {**stored, "ties": _fewest_ties(stored["weights"])}
        return stored

    @model_validator(mode="after")
    def check_weights_sum(self) -> NumericProfile:
        if len(self.points) != len(self.weights) or sum(self.weights) != self.count:
            raise ValueError(f"weights of {sum(self.weights)} rows on {len(self.points)} points, not {self.count} rows")
        if len(self.ties) != len(self.weights):
            raise ValueError(f"ties of {len(self.ties)} points, not of {len(self.weights)}")
        if any(not 0 <= tied <= rows for tied, rows in zip(self.ties, self.weights, strict=True)):
            raise ValueError("ties of a point are fewer than 0 or more than its rows")
        return self


class CategoricalProfile(BaseModel):
    """One categorical column: rows per value, most frequent first, of at most 500 values, and rows of all others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nulls: int
    counts: dict[str, int]
    other: int = 0
    """Rows of all further values."""
    buckets: dict[int, int] = {}
    """``other`` by the hash of the value; empty in a stored profile of version 1 or 2, whose values are not known."""

    @model_validator(mode="before")
    @classmethod
    def read_version_2(cls, stored: Any) -> Any:
        if isinstance(stored, dict) and "other" not in stored and FORMER_OTHER in stored.get("counts", {}):
            counts = dict(stored["counts"])
            return {**stored, "other": counts.pop(FORMER_OTHER), "counts": counts}
        return stored

    @cached_property
    def valued(self) -> int:
        """Rows with a value."""
        return sum(self.counts.values()) + self.other


class TableProfile(BaseModel):
    """Rows and columns of one partition, or of several merged. JSON by ``model_dump_json`` and back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1, 2, 3] = 1
    """2 since ``ties`` are counted, 3 since further categories are counted by hash. A stored profile that names no
    version is of version 1; all are read."""
    rows: int
    numeric: dict[str, NumericProfile] = {}
    categorical: dict[str, CategoricalProfile] = {}


class TrainingProfile(TableProfile):
    """What monitoring compares a version with: the rows it was fitted on, and its answers about unseen rows."""

    out_of_sample: bool = False
    """Whether ``prediction`` is of rows that the model was not fitted on. False in a stored profile of version 1."""
    influence: dict[str, float] = {}
    """By feature: mean absolute change of the answer if the feature is drawn at random from the fitted rows.

    Of a regression in standard deviations of its answers. Empty in a stored profile of version 1.
    """
    test_days: list[DayValue] = []
    """The metrics within each day of the test part. Empty in a stored profile of version 1."""


def profile_frame(frame: pl.DataFrame, *, categorical: Sequence[str], numeric: Sequence[str]) -> TableProfile:
    """Profile the named columns of ``frame``. Booleans may be categorical: ``true`` and ``false``."""
    return TableProfile(
        version=PROFILE_VERSION,
        rows=frame.height,
        numeric={name: _numeric(frame[name]) for name in numeric},
        categorical={name: _categorical(frame[name]) for name in categorical},
    )


def profile_features(rows: pl.DataFrame, types: Mapping[str, str]) -> TableProfile:
    """Profile the features of ``rows``; ``types``: name to ``categorical`` or ``numeric``."""
    return profile_frame(
        rows,
        categorical=[name for name, kind in types.items() if kind == "categorical"],
        numeric=[name for name, kind in types.items() if kind == "numeric"],
    )


def merge_profiles(profiles: Sequence[TableProfile]) -> TableProfile:
    """The profile of all rows together, for the columns that any of the profiles has.

    If no column was compressed the result equals ``profile_frame`` on all rows. Where some were, the rows of a gap are
    counted just below its upper point: the share of rows at or below any number is then too small by at most 1/512, and
    a gap of the result has at most 2/512 of the rows.
    """
    numeric = _group_by_name((name, column) for profile in profiles for name, column in profile.numeric.items())
    categorical = _group_by_name((name, column) for profile in profiles for name, column in profile.categorical.items())
    return TableProfile(
        version=PROFILE_VERSION,
        rows=sum(profile.rows for profile in profiles),
        numeric={name: _merge_numeric(columns) for name, columns in numeric.items()},
        categorical={name: _merge_categorical(columns) for name, columns in categorical.items()},
    )


def histogram(column: NumericProfile, edges: Sequence[float]) -> list[int]:
    """Rows in each ``[edges[i], edges[i+1])``, the last bin closed; rows outside the edges are not counted.

    A row counts in the bin of the kept point at or above it, which is exact if every distinct value was kept.
    """
    counts, _ = np.histogram(column.points, bins=np.asarray(edges, dtype=float), weights=column.weights)
    return [int(count) for count in counts]


def _numeric(values: pl.Series) -> NumericProfile:
    numbers = values.cast(pl.Float64).to_numpy()  # null is NaN there
    known = np.sort(numbers[np.isfinite(numbers)])
    nulls = len(values) - len(known)
    if not len(known):
        return _empty_profile(nulls)
    points, weights, ties = _sketch(known)
    return NumericProfile(
        count=len(known),
        nulls=nulls,
        mean=float(known.mean()),
        std=float(known.std()),
        minimum=float(known[0]),
        maximum=float(known[-1]),
        points=points.tolist(),
        weights=weights.tolist(),
        ties=ties.tolist(),
    )


def _empty_profile(nulls: int) -> NumericProfile:
    return NumericProfile(
        count=0, nulls=nulls, mean=None, std=None, minimum=None, maximum=None, points=[], weights=[], ties=[]
    )


def _fewest_ties(weights: Sequence[int]) -> list[int]:
    """Rows that must lie at each point: all where no value was merged, else all but what a merged gap can hold."""
    if len(weights) < MAX_SKETCH_POINTS:
        return list(weights)
    gap = 2 * math.ceil(sum(weights) / MAX_SKETCH_POINTS)
    return [max(0, rows - gap) for rows in weights]


def _sketch(ascending: Floats) -> tuple[Floats, Counts, Counts]:
    last = np.flatnonzero(np.append(ascending[1:] != ascending[:-1], True))
    rows = np.diff(last, prepend=-1).astype(np.int64)
    return _compress_sketch(ascending[last], rows, rows)


def _compress_sketch(points: Floats, weights: Counts, ties: Counts) -> tuple[Floats, Counts, Counts]:
    """Keep the points at which the cumulated rows first reach each 512th of all rows, then the heaviest up to 512."""
    if len(points) <= MAX_SKETCH_POINTS:
        return points, weights, ties
    below = np.cumsum(weights)
    ranks = np.ceil(below[-1] * np.arange(1, MAX_SKETCH_POINTS + 1) / MAX_SKETCH_POINTS)
    chosen = np.zeros(len(points), dtype=bool)
    chosen[np.searchsorted(below, ranks, side="left")] = True
    if (lacking := MAX_SKETCH_POINTS - int(chosen.sum())) > 0:
        heaviest = np.argsort(np.where(chosen, 0, -weights), kind="stable")
        chosen[heaviest[:lacking]] = True
    places = np.flatnonzero(chosen)
    return points[places], np.diff(below[places], prepend=0), ties[places]


def _categorical(values: pl.Series) -> CategoricalProfile:
    known = values.cast(pl.String).drop_nulls()
    counted = known.value_counts().rows()
    return _most_frequent(len(values) - len(known), Counter(dict(counted)), 0, Counter())


def bucket_of(value: str) -> int:
    return crc32(value.encode()) % BUCKETS


def _most_frequent(nulls: int, counts: Counter[str], other: int, buckets: Counter[int]) -> CategoricalProfile:
    """Ties are broken by name, so that the same rows give the same profile."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    is_known = other == buckets.total()
    for value, rows in ordered[MAX_CATEGORIES:]:
        other += rows
        buckets[bucket_of(value)] += rows
    known = dict(sorted(buckets.items())) if is_known else {}
    return CategoricalProfile(nulls=nulls, counts=dict(ordered[:MAX_CATEGORIES]), other=other, buckets=known)


def _group_by_name(items: Iterable[tuple[str, Column]]) -> dict[str, list[Column]]:
    columns: dict[str, list[Column]] = {}
    for name, column in items:
        columns.setdefault(name, []).append(column)
    return columns


def _merge_numeric(columns: Sequence[NumericProfile]) -> NumericProfile:
    nulls = sum(column.nulls for column in columns)
    measured = [column for column in columns if column.count]
    if not measured:
        return _empty_profile(nulls)
    points, where = np.unique(np.concatenate([column.points for column in measured]), return_inverse=True)
    weights, ties = np.zeros(len(points), dtype=np.int64), np.zeros(len(points), dtype=np.int64)
    np.add.at(weights, where, np.concatenate([column.weights for column in measured]))
    np.add.at(ties, where, np.concatenate([column.ties for column in measured]))
    points, weights, ties = _compress_sketch(points, weights, ties)
    count = sum(column.count for column in measured)
    mean = sum(column.count * (column.mean or 0.0) for column in measured) / count
    squares = sum(column.count * ((column.std or 0.0) ** 2 + ((column.mean or 0.0) - mean) ** 2) for column in measured)
    return NumericProfile(
        count=count,
        nulls=nulls,
        mean=mean,
        std=math.sqrt(squares / count),
        minimum=min(column.minimum for column in measured if column.minimum is not None),
        maximum=max(column.maximum for column in measured if column.maximum is not None),
        points=points.tolist(),
        weights=weights.tolist(),
        ties=ties.tolist(),
    )


def _merge_categorical(columns: Sequence[CategoricalProfile]) -> CategoricalProfile:
    counts: Counter[str] = Counter()
    buckets: Counter[int] = Counter()
    for column in columns:
        counts.update(column.counts)
        buckets.update(column.buckets)
    nulls, other = sum(column.nulls for column in columns), sum(column.other for column in columns)
    return _most_frequent(nulls, counts, other, buckets)
