"""The type in which each declared type of a column is stored."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

UTC_TIMESTAMP = pl.Datetime("us", "UTC")
TYPES: Mapping[str, pl.DataType] = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "string": pl.String(),
    "timestamp": UTC_TIMESTAMP,
}
