"""The rows of the parity check: real ones, and nulls, unseen categories and extremes in every column."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.errors import Refused
from pipelines.tables.encoding import FeatureInput

MINIMUM_ROWS = 1000
SAMPLE_ROWS = 2000
UNSEEN_CATEGORY = "never seen ✈"
EXTREME_NUMBERS = (0.0, -1.0, 1e-30, -1e30, 1e30)
"""Far outside of any training range, and inside of 32-bit floats."""


def reference_rows(frame: pl.DataFrame, features: Sequence[FeatureInput]) -> pl.DataFrame:
    """At least 1,000 rows of the features alone: the edge rows first, then up to 2,000 rows spread over ``frame``.

    An edge row is a real row with one column altered; one row is all null. The same frame gives the same rows.
    Raises ``Refused`` for an empty frame.
    """
    names = [feature.name for feature in features]
    if frame.is_empty():
        raise Refused("the snapshot has no rows to compare bundle and model on; take one with rows")
    real = frame.select(
        pl.col(feature.name).cast(pl.String if feature.type == "categorical" else pl.Float64) for feature in features
    )
    sample = real.gather_every(max(1, real.height // SAMPLE_ROWS)).head(SAMPLE_ROWS)
    parts = [pl.DataFrame({name: [None] for name in names}, schema=real.schema)]
    base_count = max(1, -(-(MINIMUM_ROWS - sample.height) // max(1, _edge_row_count(features))))
    for base in range(min(base_count, real.height) if base_count > 1 else 1):
        parts += _altered_rows(real.slice(base * real.height // base_count, 1), real, features)
    rows = pl.concat([*parts, sample])
    while rows.height < MINIMUM_ROWS:  # a small snapshot: repeat its rows
        rows = pl.concat([rows, rows.head(MINIMUM_ROWS - rows.height)])
    return rows


def _edge_row_count(features: Sequence[FeatureInput]) -> int:
    return sum(2 if feature.type == "categorical" else 3 + len(EXTREME_NUMBERS) for feature in features)


def _altered_rows(row: pl.DataFrame, real: pl.DataFrame, features: Sequence[FeatureInput]) -> list[pl.DataFrame]:
    """The row with each column in turn null, unseen, at its smallest, at its largest, and extreme."""
    altered = []
    for feature in features:
        values: list[object] = [None]
        if feature.type == "categorical":
            values.append(UNSEEN_CATEGORY)
        else:
            column = real[feature.name]
            values += [column.min(), column.max(), *EXTREME_NUMBERS]
        altered += [
            row.with_columns(pl.lit(value, dtype=real.schema[feature.name]).alias(feature.name)) for value in values
        ]
    return altered
