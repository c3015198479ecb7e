"""Makes a value null where there is none, without a query of polars: these are small and many."""

from __future__ import annotations

import polars as pl

from pipelines.steps.features.aggregates.timeline import Flags


def null_where_not(there: Flags, values: pl.Series) -> pl.Series:
    """The values, null where ``there`` is false."""
    if there.all():
        return values
    return values.zip_with(pl.Series(there), pl.Series([None], dtype=values.dtype))
