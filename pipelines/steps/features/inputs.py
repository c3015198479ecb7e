"""Reads the validated tables of a view by day, and finds the days that a change of them affects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

import polars as pl

from pipelines.ports import Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView
from pipelines.steps.features.source_days import days_read, is_affected, is_looked_up, sources_of
from pipelines.steps.features.validated_table import ValidatedTable
from pipelines.tables.column_types import no_rows

Versions = dict[str, int | None]


class ViewInputs:
    """The validated tables that one view reads."""

    def __init__(self, store: Store, view: FeatureView, dataset: DatasetSpec) -> None:
        self._store, self._view, self._dataset = store, view, dataset
        self._sources = sources_of(view)

    def versions(self) -> Versions:
        """Newest version per source; None where nothing is validated yet."""
        return {source: self._table(source).version() for source in self._sources}

    def frames(self, days: Sequence[date]) -> Iterator[tuple[date, dict[str, pl.DataFrame]]]:
        """Each of ``days`` with, per source, exactly the rows that its features read, each with its ``day``.

        Every table is read once, before the first day is yielded.
        """
        needed = {source: self._needed_days(source, days) for source in self._sources}
        tables = {source: self._read(source, needed[source]) for source in self._sources}
        for day in days:
            yield (day, {source: tables[source].filter(pl.col("day").is_in(needed[source][day])) for source in tables})

    def partitions(self, day: date) -> dict[str, list[date]]:
        """Table of each source to those of its days that the features of ``day`` read."""
        return {self._table(source).name: self._needed_days(source, [day])[day] for source in self._sources}

    def days_affected_by(self, day: date, candidates: Iterable[date]) -> list[date]:
        """Those candidates later than ``day`` whose features read something that landed on ``day``, ascending.

        Of a panel candidates are periods, and also that of ``day``.
        """
        published = {source: self._days(source) for source in self._sources}
        for source, days in published.items():
            if not is_looked_up(self._view, source):
                days.append(day)  # a day that lost all of its rows has no partition any more
        return [
            later
            for later in sorted(candidates)
            if (later > day or self._view.panel is not None)
            and any(
                day in days_read(self._view, source, later, published[source], self._dataset) for source in published
            )
        ]

    def days_changed_since(self, versions: Versions, built: Iterable[date]) -> list[date]:
        """The ``built`` days with an input that was replaced after ``versions`` were read, ascending."""
        changed = {
            source: self._table(source).changed_days(version)
            for source, version in versions.items()
            if self._table(source).version() != version
        }
        published = {source: self._days(source) for source in changed}
        return [
            day
            for day in sorted(built)
            if any(
                is_affected(self._view, source, day, other, published[source], self._dataset)
                for source, others in changed.items()
                for other in others
            )
        ]

    def _table(self, source: str) -> ValidatedTable:
        return ValidatedTable(self._store, self._view, source)

    def _days(self, source: str) -> list[date]:
        return self._table(source).days()

    def _needed_days(self, source: str, days: Sequence[date]) -> dict[date, list[date]]:
        present = self._days(source)
        return {day: days_read(self._view, source, day, present, self._dataset) for day in days}

    def _read(self, source: str, needed: dict[date, list[date]]) -> pl.DataFrame:
        days = sorted({other for others in needed.values() for other in others})
        if not days:
            return no_rows(self._dataset.sources[source])
        return self._table(source).read(days)
