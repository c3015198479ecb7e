"""The real rows of a model on a virtual calendar: what its versions are trained on, and what streams are drawn from.

The rows of a day are divided by their key: versions learn from one half, streams are drawn from the other, so that no
answer of a stream is about a row that its version has seen. The calendar repeats after the whole weeks that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import polars as pl

from pipelines.errors import Refused
from pipelines.ports import Ports
from pipelines.spec.features import FeatureView
from pipelines.spec.model import ModelSpec
from pipelines.steps.labels.read_labels import read_labels
from pipelines.store_paths import features as feature_table
from pipelines.tables.entity_id import entity_id

WEEK = 7
LEAST_WEEKS = 20
HALVES = 2


@dataclass(frozen=True)
class Ground:
    """``rows``: features, ``prediction_time``, ``label_time``, ``target``, ``place`` (day from 0) and ``half``."""

    spec: ModelSpec
    view: FeatureView
    rows: pl.DataFrame
    first: date

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """Feature to ``categorical`` or ``numeric``, in the order of training."""
        names = self.spec.training.features or list(self.view.features)
        return {name: self.view.features[name].type for name in names}

    @cached_property
    def length(self) -> int:
        """Days until the calendar repeats: whole weeks."""
        return (int(self.rows["place"].max()) + 1) // WEEK * WEEK  # type: ignore[arg-type]

    @cached_property
    def _by_day(self) -> dict[tuple[int, int], pl.DataFrame]:
        parts = self.rows.partition_by("half", "place", as_dict=True, maintain_order=True)
        return {(int(half), int(place)): rows for (half, place), rows in parts.items()}

    def day(self, number: int) -> date:
        return self.first + timedelta(days=number)

    def rows_of(self, number: int, half: int, source: int | None = None) -> pl.DataFrame:
        """One half of the rows of a virtual day, at its times. ``source``: the day they are taken from."""
        place = (number if source is None else source) % self.length
        rows = self._by_day.get((half, place), self.rows.clear())
        moved = timedelta(days=number - place)
        times = [pl.col(name) + moved for name in ("prediction_time", "label_time")]
        return rows.with_columns(*times, day=pl.lit(self.day(number)))


def read_ground(model: str, ports: Ports) -> Ground:
    """From the feature table and the labels that the store holds. ``Refused`` if they are of too few days."""
    spec, view, dataset = ports.catalog.model(model), ports.catalog.view_of(model), ports.catalog.dataset_of(model)
    if view.days_apart > 1:
        raise Refused(f"{model} has rows by {view.days_apart} days; only models with rows of each day are simulated")
    table = feature_table(view.view)
    days = sorted(ports.store.days(table))
    if len(days) < LEAST_WEEKS * WEEK:
        raise Refused(f"{table} has {len(days)} days; a simulation needs {LEAST_WEEKS * WEEK}, a year is better")
    labels = read_labels(ports.store, view, dataset, spec.target.expression, days).drop("day")
    rows = ports.store.read(table, days=days)
    joined = rows.join(labels, on=list(view.key), how="inner", maintain_order="left")
    return make_ground(spec, view, joined.rename({"label": "target"}, strict=False))


def make_ground(spec: ModelSpec, view: FeatureView, rows: pl.DataFrame) -> Ground:
    """``rows``: key, ``day``, ``prediction_time``, ``label_time``, ``target`` and the features; labelled ones count."""
    first = rows["day"].min()
    assert isinstance(first, date)
    known = rows.filter(pl.col("target").is_not_null()).sort("prediction_time", *view.key)
    place = (pl.col("day") - pl.lit(first)).dt.total_days()
    half = entity_id(view).hash(seed=1) % HALVES
    known = known.with_columns(
        entity_id(view), place=place, half=half.cast(pl.Int64), target=pl.col("target").cast(pl.Float64)
    )
    return Ground(spec, view, known, first)
