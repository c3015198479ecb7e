"""Stages the accepted and quarantined rows of an audit by their digest, so that no other audit replaces them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import polars as pl

from pipelines.ports import Store
from pipelines.tables.parquet_bytes import parquet_bytes
from pipelines.tables.partition import with_partition


def stage_rows(
    store: Store, prefix: str, version: int, landed: str, parts: Mapping[str, pl.DataFrame]
) -> dict[str, str]:
    """Part (accepted, quarantined) to the path of its rows, which names the version of the raw table and their digest:
    what a newer audit supersedes can be told."""
    paths = {}
    for part, rows in parts.items():
        content = parquet_bytes(with_partition(rows, landed))
        paths[part] = f"{prefix}.{part}.{version}.{hashlib.sha256(content).hexdigest()}.parquet"
        store.put(paths[part], content)
    return paths
