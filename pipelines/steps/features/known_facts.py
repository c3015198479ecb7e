"""Means and last values over other rows of the entity source, as they were known at each row's prediction time."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from pipelines.spec.features import FeatureView, LastValue, WindowMean
from pipelines.steps.features.aggregates.answers import Aggregation
from pipelines.steps.features.aggregates.compute import EVENT, KNOWN, TIME, aggregate
from pipelines.tables.entity_id import duration_of


class KnownEvents:
    """Rows of the entity source, each known from its actual event: scheduled plus delay.

    Rows that never happened (null delay), and those with a delay outside ``(-lead_hours, max_delay_hours]``, are left
    out, which limits how many days a window reaches.
    """

    def __init__(self, view: FeatureView, entities: pl.DataFrame) -> None:
        """``entities`` with their ``__scheduled`` time and the number ``ROW`` of each."""
        delay = pl.col(view.delay_column)
        within = (delay > -60 * view.lead_hours) & (delay <= 60 * view.max_delay_hours)
        self._key = view.key
        self._events = entities.filter(within).with_columns(
            pl.col("__scheduled").alias(EVENT), (pl.col("__scheduled") + duration_of(delay)).alias(KNOWN)
        )

    def features(self, rows: pl.DataFrame, features: dict[str, WindowMean | LastValue]) -> dict[str, pl.Series]:
        """Each feature of the ``rows``, which have a ``prediction_time`` and their own ``ROW``."""
        questions = rows.with_columns(pl.col("prediction_time").alias(TIME))
        columns: dict[str, pl.Series] = {}
        for by in dict.fromkeys(tuple(spec.by) for spec in features.values()):
            aggregations = [_aggregation(name, spec) for name, spec in features.items() if tuple(spec.by) == by]
            answers = aggregate(questions, self._events, by, aggregations, clock="known", ties=self._key)
            columns |= {answer.name: answer for answer in answers}
        return columns


def _aggregation(name: str, spec: WindowMean | LastValue) -> Aggregation:
    function = "mean" if isinstance(spec, WindowMean) else "last"
    return Aggregation(name, function, spec.column, timedelta(hours=spec.window_hours))  # type: ignore[arg-type]
