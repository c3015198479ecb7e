"""A validated table as views read it: by day, and a table without dates as one whose rows are all of one day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from pipelines import store_paths
from pipelines.ports import Store
from pipelines.spec.features import FeatureView
from pipelines.spec.partitions import FIRST_DATE, ONCE
from pipelines.tables.partition import DAY_COLUMN, KEY_COLUMN


class ValidatedTable:
    """The table of one source of a view's dataset."""

    def __init__(self, store: Store, view: FeatureView, source: str) -> None:
        self._store, self._has_dates = store, not view.is_table
        self.name = store_paths.validated(view.dataset, source)

    def version(self) -> int | None:
        """The newest; None where nothing is validated yet."""
        return self._store.version(self.name)

    def days(self) -> list[date]:
        """Those with rows, ascending."""
        return self._store.days(self.name) if self._has_dates else _days(self._store.partitions(self.name))

    def changed_days(self, since: int | None) -> set[date]:
        """Those whose rows another version than ``since`` holds."""
        if self._has_dates:
            return self._store.changed_days(self.name, since)
        return set(_days(self._store.changed_partitions(self.name, since)))

    def written(self) -> dict[date, int]:
        """Each day that has or had rows to the version that wrote it last."""
        records = self._store.partition_records(self.name)
        return {
            date.fromisoformat(key) if self._has_dates else FIRST_DATE: commit.version
            for key, commit in records.items()
        }

    def has_been_audited(self, day: date) -> bool:
        """Whether the day was published, be it without a row."""
        key = f"{day}" if self._has_dates else ONCE
        return self._store.exists(store_paths.profile(self.name, key))

    def read(
        self, days: Sequence[date] | None, columns: Sequence[str] | None = None, version: int | None = None
    ) -> pl.DataFrame:
        """The rows of these days (None: all), each with its ``day``."""
        if self._has_dates:
            return self._store.read(self.name, days=days, columns=columns, version=version)
        rows = self._store.read(self.name, columns=columns, version=version)
        return rows.drop(KEY_COLUMN).with_columns(pl.lit(FIRST_DATE).alias(DAY_COLUMN))


def _days(keys: Sequence[str] | set[str]) -> list[date]:
    return [FIRST_DATE for key in keys if key == ONCE]
