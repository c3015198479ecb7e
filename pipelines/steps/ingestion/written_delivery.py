"""Writes the files of a delivery and then its manifest: a reader sees a whole delivery or none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pipelines import store_paths
from pipelines.messages.delivery import DeliveryManifest, Extraction, LandedFile
from pipelines.ports import Store
from pipelines.spec.dataset import DatasetSpec
from pipelines.store_paths import MANIFEST


def write_delivery(
    spec: DatasetSpec,
    source: str,
    partition: str,
    files: Mapping[str, tuple[bytes, int]],
    store: Store,
    extraction: Extraction | None = None,
) -> DeliveryManifest:
    """Land files, name to content and number of rows, for one partition; returns the manifest written.

    Deletes an earlier manifest first, so that no manifest ever lies beside a file that it does not describe. Raises
    ``Refused`` for a partition that the dataset does not have.
    """
    key = spec.partition_calendar.require(partition, spec.dataset).key
    landed = [
        LandedFile(name=name, rows=rows, sha256=hashlib.sha256(content).hexdigest())
        for name, (content, rows) in sorted(files.items())
    ]
    manifest = DeliveryManifest(dataset=spec.dataset, source=source, partition=key, files=landed, extraction=extraction)
    store.delete(store_paths.landing(spec.dataset, source, key, MANIFEST))
    for name, (content, _) in files.items():
        store.put(store_paths.landing(spec.dataset, source, key, name), content)
    content = manifest.model_dump_json(by_alias=True, exclude_none=True).encode()
    store.put(store_paths.landing(spec.dataset, source, key, MANIFEST), content)
    return manifest
