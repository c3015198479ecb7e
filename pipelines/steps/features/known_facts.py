"""Means and last values over rows known in a window before a moment: exact sums, in any order of the rows."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.errors import Refused
from pipelines.spec.features import FeatureView, LastValue, WindowMean
from pipelines.tables.entity_id import duration_of

FIXED_POINT_SCALE = 1 << 20
"""Values that are no integers are summed as whole multiples of 1/FRACTION: exact, and the same in any order."""
MAX_EXACT_SUM = 1 << 62


def join_newest(left: pl.DataFrame, moment: str, right: pl.DataFrame, known: str, by: Sequence[str]) -> pl.DataFrame:
    """``left`` in its order, each row with the newest row of ``right`` of its group where ``known <= moment``.

    Both are sorted by their moment. Rows of ``right`` have no null group, so a null group of ``left`` matches nothing.
    """
    return left.join_asof(
        right, left_on=moment, right_on=known, by=list(by) or None, strategy="backward", check_sortedness=False
    )


class KnownEvents:
    """Rows of the entity source, each known from its actual event: scheduled plus delay.

    Rows that never happened (null delay), and those with a delay outside ``(-lead_hours, max_delay_hours]``, are left
    out; so a row is never known at its own prediction time, which keeps it out of its own features.
    """

    def __init__(self, view: FeatureView, entities: pl.DataFrame) -> None:
        self._key = view.key
        delay = pl.col(view.delay_column)
        within = (delay > -60 * view.lead_hours) & (delay <= 60 * view.max_delay_hours)
        self._facts = entities.filter(within).with_columns(
            (pl.col("__scheduled") + duration_of(delay)).alias("__known")
        )

    def mean(self, rows: pl.DataFrame, spec: WindowMean) -> pl.Series:
        """Mean of ``how.column`` over the group's rows known in ``(t - window, t]``; Float64, null when none.

        The difference of two running sums of integers (``sum(<= t) - sum(<= t - window)``), so nothing cancels.
        """
        values = self._facts.drop_nulls([*spec.by, spec.column])
        integer = values.schema[spec.column].is_integer()
        scale = 1 if integer else FIXED_POINT_SCALE
        exact = pl.col(spec.column) if integer else (pl.col(spec.column) * FIXED_POINT_SCALE).round()
        _refuse_overflow(values, spec.column, scale)
        running = (
            values.group_by(*spec.by, "__known")
            .agg(exact.cast(pl.Int64).sum().alias("__sum"), pl.len().cast(pl.Int64).alias("__count"))
            .sort("__known")
            .with_columns(pl.col("__sum", "__count").cum_sum().over(spec.by))
        )
        window = duration_of(pl.lit(spec.window_hours * 60))
        windows = rows.select(*spec.by, "prediction_time", (pl.col("prediction_time") - window).alias("__start"))
        upper = join_newest(windows, "prediction_time", running, "__known", spec.by)
        lower = join_newest(windows, "__start", running, "__known", spec.by)
        count, total = (upper[column].fill_null(0) - lower[column].fill_null(0) for column in ("__count", "__sum"))
        frame = pl.DataFrame({"count": count, "total": total})
        mean = pl.col("total").cast(pl.Float64) / pl.col("count") / scale
        return frame.select(pl.when(pl.col("count") > 0).then(mean)).to_series()

    def last(self, rows: pl.DataFrame, spec: LastValue) -> pl.Series:
        """``how.column`` of the group's row known last in ``(t - window, t]``; of several at once, the last by key."""
        newest = (
            self._facts.drop_nulls(spec.by)
            .sort("__known", *self._key)
            .select(*spec.by, "__known", pl.col(spec.column).alias("__value"))
            .unique([*spec.by, "__known"], keep="last", maintain_order=True)
        )
        moments = rows.select(*spec.by, "prediction_time")
        joined = join_newest(moments, "prediction_time", newest, "__known", spec.by)
        window = duration_of(pl.lit(spec.window_hours * 60))
        inside = pl.col("__known") > pl.col("prediction_time") - window
        return joined.select(pl.when(inside).then(pl.col("__value"))).to_series()


def _refuse_overflow(values: pl.DataFrame, column: str, scale: int) -> None:
    largest = values[column].abs().max()
    if isinstance(largest, int | float) and largest * values.height * scale >= MAX_EXACT_SUM:
        raise Refused(
            f"the window mean of {column!r} cannot be summed exactly",
            [f"largest value {largest:g} in {values.height} rows; bound the column in the data contract"],
        )
