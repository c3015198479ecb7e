"""Writes and checks receipts: a delivery that was ingested or refused is not ingested again until its files change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from pipelines import store_paths
from pipelines.errors import Refused
from pipelines.ports import Store
from pipelines.spec.dataset import DatasetSpec
from practices._arrivals.deliveries import delivery_digest

MAX_PARALLEL_READS = 16
"""Receipts that are read in parallel: each costs a few requests, and a dataset may have years of them."""


@contextmanager
def write_receipt(store: Store, spec: DatasetSpec, key: str) -> Iterator[None]:
    """Write a receipt after the body: "taken" if it succeeds, "refused" if it raises ``Refused``.

    After any other error (the store is unavailable, the worker dies) no receipt is written.
    """
    note = {"delivery": delivery_digest(store, spec, key), "whole": delivery_digest(store, spec, key, with_files=True)}
    refusal = None
    try:
        yield
    except Refused as error:
        refusal = error
    note["outcome"] = "refused" if refusal else "taken"
    store.put(store_paths.receipt(spec.dataset, key), json.dumps(note).encode())
    if refusal:
        raise refusal


def has_valid_receipt(store: Store, spec: DatasetSpec, key: str) -> bool:
    """Whether the present delivery of a partition was ingested or refused already.

    An ingested delivery is identified by its manifests, a refused one by all files, so that a corrected one is tried.
    """
    path = store_paths.receipt(spec.dataset, key)
    if not store.exists(path):
        return False
    note = json.loads(store.get(path))
    if note["delivery"] != delivery_digest(store, spec, key):
        return False
    return bool(note["outcome"] == "taken" or note["whole"] == delivery_digest(store, spec, key, with_files=True))


def partitions_without_receipt(store: Store, spec: DatasetSpec, keys: Iterable[str]) -> list[str]:
    """Those of ``keys`` whose present delivery was neither ingested nor refused yet, ascending."""
    ascending = sorted(keys)
    with ThreadPoolExecutor(MAX_PARALLEL_READS) as pool:
        settled = list(pool.map(lambda key: has_valid_receipt(store, spec, key), ascending))
    return [key for key, has_receipt in zip(ascending, settled, strict=True) if not has_receipt]
