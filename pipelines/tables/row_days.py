"""The day of each row of a view: that of its event, or the first date of its period."""

from __future__ import annotations

from datetime import date

import polars as pl

from pipelines.spec.dataset import DatasetSpec
from pipelines.spec.features import FeatureView


def row_days(view: FeatureView, dataset: DatasetSpec, moments: pl.Series) -> pl.Series:
    """One date per prediction time; of a panel the newest period whose moment has come, null outside of its calendar.

    A series called ``day``.
    """
    if view.panel is None:
        return (moments + view.lead).dt.convert_time_zone(dataset.partition.timezone).dt.date().alias("day")
    periods: dict[object, date | None] = {moment: view.panel.period_of(moment) for moment in moments.unique() if moment}
    return moments.replace_strict(periods, default=None, return_dtype=pl.Date).alias("day")
