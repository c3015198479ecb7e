"""Reference rows of a bundle that stand in for callers' requests, in a load test and in a drill."""

from __future__ import annotations

import json
from collections.abc import Callable

import polars as pl


def sendable_rows(rows: pl.DataFrame, read: Callable[[str], bytes]) -> pl.DataFrame:
    """Those that a gateway takes however strict its declared checks of ranges, categories and missing values are.

    ``rows``: one reference row each, a column per feature. ``read`` returns a file of their bundle by name. Rows with a
    missing value are returned only where no complete row is left. Empty if no row is within the bundle's own ranges and
    categories.
    """
    manifest = json.loads(read("bundle.json"))
    learnt = json.loads(read("categories.json")) if "categories.json" in manifest.get("files", {}) else {}
    for feature in manifest["features"]:
        low, high, column = feature.get("minimum"), feature.get("maximum"), pl.col(feature["name"])
        if low is not None:
            rows = rows.filter(column.is_null() | (column >= low))
        if high is not None:
            rows = rows.filter(column.is_null() | (column <= high))
        known = feature.get("allowed", learnt.get(feature["name"]))
        if known is not None:
            rows = rows.filter(column.is_null() | column.is_in(known))
    complete = rows.drop_nulls()
    return rows if complete.is_empty() else complete
