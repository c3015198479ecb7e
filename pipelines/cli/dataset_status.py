"""Tells what landed of a dataset, what of it was ingested and validated, and how many rows were quarantined and why."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any

from pipelines import store_paths
from pipelines.ports import Ports, Store
from pipelines.rules.complete_delivery import complete_partitions
from pipelines.spec.dataset import DatasetSpec


def dataset_facts(dataset: DatasetSpec, ports: Ports) -> dict[str, dict[str, Any]]:
    """Source to ``partitions`` (validated; their number), ``first``, ``last``, ``accepted``, ``quarantined`` (rows of
    the tables), ``reasons`` (rows per reason; a row with two reasons counts under both) and keys of partitions:

    ``not_ingested``: landed completely, ``refused``: those of them that were refused, ``not_validated``:
    ingested, ``outside``: landed and no partition of the dataset, so that nothing reads them.
    """
    return {source: _source_facts(dataset, source, ports.store, ports.clock()) for source in dataset.sources}


def delivered_partitions(dataset: DatasetSpec, source: str, store: Store, now: datetime) -> set[str]:
    """Keys of the partitions that landed, or were ingested and their landed files removed since."""
    return _landed(dataset, source, store, now) | _ingested(dataset.dataset, source, store)


def _source_facts(dataset: DatasetSpec, source: str, store: Store, now: datetime) -> dict[str, Any]:
    table, bad = store_paths.validated(dataset.dataset, source), store_paths.quarantine(dataset.dataset, source)
    keys = store.partitions(table)
    accepted = store.read(table, columns=[]).height if keys else 0
    reasons: Counter[str] = Counter()
    quarantined = 0
    if store.partitions(bad):
        rows = store.read(bad, columns=["reasons"])["reasons"]
        quarantined = len(rows)
        for row_reasons in rows.to_list():
            reasons.update(set(row_reasons or ["no reason given"]))
    return {
        "partitions": len(keys),
        "first": keys[0] if keys else None,
        "last": keys[-1] if keys else None,
        "accepted": accepted,
        "quarantined": quarantined,
        "reasons": dict(reasons.most_common()),
        **_waiting(dataset, source, store, keys, now),
    }


def _waiting(
    dataset: DatasetSpec, source: str, store: Store, validated: list[str], now: datetime
) -> dict[str, list[str]]:
    landed = sorted(_landed(dataset, source, store, now))
    ingested = _ingested(dataset.dataset, source, store)
    outside = [key for key in landed if dataset.partition_calendar.partition(key) is None]
    not_ingested = [key for key in landed if key not in ingested and key not in outside]
    return {
        "not_ingested": not_ingested,
        "refused": [key for key in not_ingested if _was_refused(dataset.dataset, key, store)],
        "not_validated": sorted(ingested - set(validated)),
        "outside": outside,
    }


def _landed(dataset: DatasetSpec, source: str, store: Store, now: datetime) -> set[str]:
    """Folders whose delivery is complete."""
    stamps = store.stamps(store_paths.landing_of(dataset.dataset, source))
    return complete_partitions(dataset.sources[source].files, stamps, now)


def _ingested(dataset: str, source: str, store: Store) -> set[str]:
    return set(map(store_paths.partition_of_file, store.list(store_paths.raw_receipts_of(dataset, source))))


def _was_refused(dataset: str, key: str, store: Store) -> bool:
    path = store_paths.receipt(dataset, key)
    return store.exists(path) and json.loads(store.get(path)).get("outcome") == "refused"
