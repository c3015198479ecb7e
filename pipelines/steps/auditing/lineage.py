"""Tells from which delivered files the rows of a raw partition were made, also after it was delivered again."""

from __future__ import annotations

from pipelines import store_paths
from pipelines.messages.delivery import RawReceipt
from pipelines.ports import Store


def delivery_of(store: Store, dataset: str, source: str, key: str, raw_version: int) -> RawReceipt | None:
    """The delivery that the partition held at a version of the raw table; None if none is recorded.

    ``raw_version`` of a validated partition is its ``input_version``.
    """
    paths = store.list(store_paths.delivery(dataset, source, key))
    versions = {int(path.rpartition("/")[2].removesuffix(".json")): path for path in paths}
    newest = max((version for version in versions if version <= raw_version), default=None)
    return None if newest is None else RawReceipt.model_validate_json(store.get(versions[newest]))
