"""Seeded streams of a model's rows: the season and the memory of the real days are kept, and harm can be planted.

Each week of a stream is a real week of the same season, weekday by weekday, of which rows are drawn with replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl

from pipelines.prove.ground import WEEK, Ground
from pipelines.spec.aggregate import Aggregate
from pipelines.spec.features import LatestObservation, Lookup

HarmlessKind = Literal["calm", "more rows", "fewer rows", "other mix"]
HarmfulKind = Literal[
    "unit change", "stuck sensor", "renamed category", "missing source", "label shift", "concept change"
]
Kind = HarmlessKind | HarmfulKind
HARMLESS: tuple[Kind, ...] = get_args(HarmlessKind)
HARMFUL: tuple[Kind, ...] = get_args(HarmfulKind)
SEASON_WEEKS = 2
"""A week is taken from at most so many weeks before or after."""
STREAM_HALF = 1
FACTORS = (0.01, 0.1, 0.3048, 1.609, 25.4, 60.0)
"""Of a unit change: centimetres and millimetres, feet, miles, inches, minutes."""
LEAST_SHARE_OF_CATEGORY = 0.02
Plant = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


@dataclass(frozen=True)
class Stream:
    """``onset``: the virtual day from which something is planted. ``columns``: the features that it is planted in."""

    ground: Ground
    seed: tuple[int, int]
    kind: Kind
    onset: int
    columns: tuple[str, ...]
    plant: Plant

    @property
    def is_harmful(self) -> bool:
        return self.kind in HARMFUL

    @property
    def name(self) -> str:
        return f"{self.kind} {', '.join(self.columns)}".strip()

    def rows_of(self, number: int, *, planted: bool = True) -> pl.DataFrame:
        """The rows of a virtual day, the same at each call."""
        week = np.random.default_rng([*self.seed, 1, number // WEEK])
        source = number + WEEK * int(week.integers(-SEASON_WEEKS, SEASON_WEEKS + 1))
        rows = self.ground.rows_of(number, STREAM_HALF, source)
        if rows.is_empty():
            return rows
        day = np.random.default_rng([*self.seed, 2, number])
        drawn = rows[np.sort(day.integers(0, rows.height, rows.height))]
        return self.plant(drawn, day) if planted and number >= self.onset else drawn


def draw_stream(ground: Ground, seed: tuple[int, int], kind: Kind, onset: int) -> Stream:
    """``seed``: of the run, and the number of the stream."""
    rng = np.random.default_rng([*seed, 0])
    columns, plant = _plant(ground, kind, rng, onset)
    return Stream(ground, seed, kind, onset, columns, plant)


def possible_kinds(ground: Ground, kinds: Sequence[Kind]) -> list[Kind]:
    """Those that the model has columns for."""
    types = set(ground.kinds.values())
    needs: dict[Kind, bool] = {
        "other mix": "categorical" in types,
        "renamed category": "categorical" in types,
        "unit change": "numeric" in types,
        "stuck sensor": "numeric" in types,
        "missing source": bool(features_by_source(ground)),
    }
    return [kind for kind in kinds if needs.get(kind, True)]


def _plant(ground: Ground, kind: Kind, rng: np.random.Generator, onset: int) -> tuple[tuple[str, ...], Plant]:
    numeric = [name for name, kind_of in ground.kinds.items() if kind_of == "numeric"]
    categorical = [name for name, kind_of in ground.kinds.items() if kind_of == "categorical"]
    if kind == "calm":
        return (), lambda rows, _: rows
    if kind == "more rows":
        return (), lambda rows, day: rows[np.sort(day.integers(0, rows.height, 2 * rows.height))]
    if kind == "fewer rows":
        return (), lambda rows, day: rows[np.sort(day.integers(0, rows.height, rows.height // 2 + 1))]
    if kind == "other mix":
        return _other_mix(ground, categorical, rng, onset)
    if kind == "unit change":
        name, factor = str(rng.choice(numeric)), float(rng.choice(FACTORS))
        return (name,), lambda rows, _: rows.with_columns(pl.col(name) * factor)
    if kind == "stuck sensor":
        name = str(rng.choice(numeric))
        known = ground.rows[name].drop_nulls()
        number = float(known[int(rng.integers(known.len()))])
        stuck = pl.when(pl.col(name).is_not_null()).then(pl.lit(number)).alias(name)
        return (name,), lambda rows, _: rows.with_columns(stuck)
    if kind == "renamed category":
        name, value = _category(ground, categorical, rng)
        renamed = pl.when(pl.col(name) == value).then(pl.lit(f"{value}*")).otherwise(pl.col(name)).alias(name)
        return (name,), lambda rows, _: rows.with_columns(renamed)
    if kind == "missing source":
        by_source = features_by_source(ground)
        names = by_source[str(rng.choice(sorted(by_source)))]
        return tuple(names), lambda rows, _: rows.with_columns(pl.lit(None, rows.schema[n]).alias(n) for n in names)
    share = float(rng.uniform(0.2, 0.6))
    return (), _shifted_labels(share) if kind == "label shift" else _other_concept(share)


def features_by_source(ground: Ground) -> dict[str, list[str]]:
    """Source to the features that are read from it, without those of the row itself."""
    by_source: dict[str, list[str]] = {}
    for name in ground.kinds:
        how = ground.view.features[name].transformation
        if isinstance(how, Lookup | LatestObservation):
            by_source.setdefault(how.source, []).append(name)
        elif isinstance(how, Aggregate):
            by_source.setdefault(how.of, []).append(name)
    return by_source


def _category(ground: Ground, categorical: list[str], rng: np.random.Generator) -> tuple[str, str]:
    """A column and one of its values that has at least 2 % of the rows."""
    name = str(rng.choice(categorical))
    counts = ground.rows[name].drop_nulls().value_counts(sort=True)
    frequent = counts.filter(pl.col("count") >= LEAST_SHARE_OF_CATEGORY * ground.rows.height)[name].to_list()
    return name, str(rng.choice(sorted(frequent or counts[name].to_list()[:1])))


def _other_mix(
    ground: Ground, categorical: list[str], rng: np.random.Generator, onset: int
) -> tuple[tuple[str, ...], Plant]:
    """Rows of one category become up to twice as frequent, a little more each day for eight weeks."""
    name, value = _category(ground, categorical, rng)

    def plant(rows: pl.DataFrame, day: np.random.Generator) -> pl.DataFrame:
        age = (rows["day"][0] - ground.day(onset)).days
        weight = np.where((rows[name] == value).fill_null(value=False).to_numpy(), 1 + min(age / 56, 1.0), 1.0)
        return rows[np.sort(day.choice(rows.height, rows.height, p=weight / weight.sum()))]

    return (name,), plant


def _shifted_labels(share: float) -> Plant:
    """A share of the rows with the lower outcome gets the higher one, whatever their features say."""

    def plant(rows: pl.DataFrame, day: np.random.Generator) -> pl.DataFrame:
        target = rows["target"].to_numpy().copy()
        high = float(target.max())
        target[(day.random(len(target)) < share) & (target < high)] = high
        return rows.with_columns(target=pl.Series(target))

    return plant


def _other_concept(share: float) -> Plant:
    """A share of the rows has the outcome of another row of the day: the features say nothing of it any more."""

    def plant(rows: pl.DataFrame, day: np.random.Generator) -> pl.DataFrame:
        target = rows["target"].to_numpy().copy()
        moved = day.random(len(target)) < share
        target[moved] = day.permutation(target)[moved]
        return rows.with_columns(target=pl.Series(target))

    return plant
